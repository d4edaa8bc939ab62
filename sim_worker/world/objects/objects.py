"""What an object is, and how it enters the simulation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pybullet

from sim_worker.world.simulation.physics import CAN_SLEEP, HULL_SKIN, OBJECT_FRICTION, Physics, Vector

ROLLING_FRICTION = 1e-3
"""m, for round things only, as on a rubber mat: a can that comes free rolls a hand's breadth and not off the table. Doubles the
cost of a contact."""
PartShape = Literal["box", "cylinder", "capsule", "sphere"]
_GEOMETRY = {
    "box": pybullet.GEOM_BOX,
    "cylinder": pybullet.GEOM_CYLINDER,
    "capsule": pybullet.GEOM_CAPSULE,
    "sphere": pybullet.GEOM_SPHERE,
}


class ObjectModel(Protocol):
    """Anything that can be put into the world. `skin`: m by which its contact surface lies outside the drawn one; `rolls`: it
    would roll away but for rolling friction."""

    @property
    def name(self) -> str: ...

    @property
    def skin(self) -> float: ...

    @property
    def rolls(self) -> bool: ...

    def scaled(self, factor: float) -> "ObjectModel":
        """The same, larger by a factor; but no heavier."""

    def spawn(self, physics: Physics, position: Vector, orientation: Vector) -> int: ...


@dataclass(frozen=True)
class UrdfModel:
    """A single-link URDF whose collision mesh is a set of convex hulls. `own_inertia`: as in the file."""

    name: str
    path: Path
    scale: float = 1.0
    skin: float = HULL_SKIN
    rolls: bool = False
    own_inertia: bool = False

    def scaled(self, factor: float) -> "UrdfModel":
        return replace(self, scale=self.scale * factor)

    def spawn(self, physics: Physics, position: Vector, orientation: Vector) -> int:
        flags = pybullet.URDF_USE_INERTIA_FROM_FILE if self.own_inertia else 0
        result: int = physics.client.loadURDF(str(self.path), position, orientation, globalScaling=self.scale, flags=flags)
        return result


@dataclass(frozen=True)
class Part:
    """A primitive of a rigid object. `size`, m: box extents; cylinder, capsule (radius, length along z); ball (radius,)."""

    shape: PartShape
    size: tuple[float, ...]
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    @property
    def volume(self) -> float:
        if self.shape == "box":
            return float(np.prod(self.size))
        radius = self.size[0]
        ball = 4 / 3 * np.pi * radius**3
        if self.shape == "sphere":
            return float(ball)
        rod = np.pi * radius**2 * self.size[1]
        return float(rod + ball if self.shape == "capsule" else rod)


@dataclass(frozen=True)
class PartsModel:
    """A rigid object of primitives: drawn and touched surfaces are the same."""

    name: str
    parts: tuple[Part, ...]
    density: float = 400.0
    skin: float = 0.0

    def scaled(self, factor: float) -> "PartsModel":
        parts = []
        for part in self.parts:
            x, y, z = part.position
            size = tuple(factor * side for side in part.size)
            parts.append(replace(part, size=size, position=(factor * x, factor * y, factor * z)))
        return replace(self, parts=tuple(parts), density=self.density / factor**3)

    @property
    def rolls(self) -> bool:
        return all(part.shape != "box" for part in self.parts)

    @property
    def mass(self) -> float:
        """kg, between 20 g and 1 kg."""
        return float(np.clip(sum(part.volume for part in self.parts) * self.density, 0.02, 1.0))

    def spawn(self, physics: Physics, position: Vector, orientation: Vector) -> int:
        volumes = np.array([part.volume for part in self.parts])
        centre = np.average([part.position for part in self.parts], axis=0, weights=volumes)
        frames = [(np.asarray(part.position) - centre).tolist() for part in self.parts]
        turns = [list(part.orientation) for part in self.parts]
        shapes = {
            "shapeTypes": [_GEOMETRY[part.shape] for part in self.parts],
            "halfExtents": [[s / 2 for s in part.size] if part.shape == "box" else [0, 0, 0] for part in self.parts],
            "radii": [0 if part.shape == "box" else part.size[0] for part in self.parts],
        }
        lengths = [part.size[1] if part.shape in ("cylinder", "capsule") else 0 for part in self.parts]
        collision = physics.client.createCollisionShapeArray(
            **shapes, lengths=lengths, collisionFramePositions=frames, collisionFrameOrientations=turns
        )
        visual = physics.client.createVisualShapeArray(
            **shapes, lengths=lengths, visualFramePositions=frames, visualFrameOrientations=turns
        )
        result: int = physics.client.createMultiBody(self.mass, collision, visual, position, orientation)
        return result


def sides_of(model: ObjectModel) -> np.ndarray:
    """The sides (3,) of an object's bounding box in the simulation, along the axes it is modelled in, m."""
    apart = Physics()
    low, high = apart.client.getAABB(model.spawn(apart, (0, 0, 0), (0, 0, 0, 1)))
    apart.close()
    sides: np.ndarray = np.subtract(high, low)
    return sides


def middle_side(model: ObjectModel) -> float:
    """The middle one of an object's three sides, m: where it lies flat, a jaw closes on this one, or on the longest."""
    return float(np.sort(sides_of(model))[1])


def prepare(physics: Physics, body: int, model: ObjectModel, mass: float | None, colour: Vector | None) -> None:
    """Give a spawned object the surface, mass (kg; None keeps its own) and colour (RGBA, 0 to 1) of the scene."""
    client = physics.client
    rolling = ROLLING_FRICTION if model.rolls else 0.0
    client.changeDynamics(body, -1, lateralFriction=OBJECT_FRICTION, rollingFriction=rolling, restitution=0.0)
    if mass is not None:
        client.changeDynamics(body, -1, mass=mass)
    if physics.sleeping:
        client.changeDynamics(body, -1, activationState=CAN_SLEEP)
    if colour is not None:
        client.changeVisualShape(body, -1, rgbaColor=list(colour))
