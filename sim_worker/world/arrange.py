"""How objects come to lie: one dropped, several dropped in a pile or into a bin, or set upright close together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pybullet
from scipy.spatial.transform import Rotation

from sim_worker.world.objects import ObjectModel, prepare
from sim_worker.world.physics import AWAKE, TABLE_FRICTION, Physics
from sim_worker.world.spec import SceneSpec

WORKSPACE = 0.15
"""m: half side of the square around the origin in which an object's centre must come to rest."""
WALL = 0.01
SETTLE_SECONDS = 2.0
TOP_UPS = 3
"""Rounds in which what rolled away is set down again beside the rest."""
LEAST_SHARE = 0.6
"""Of the objects asked for that must end up in a pile or bin for the scene to count."""


@dataclass(frozen=True)
class Placed:
    """An object and where it is: position (m) and orientation (xyzw) of its centre-of-mass frame in the base frame."""

    name: str
    model: ObjectModel
    mass: float | None
    colour: tuple[float, float, float, float] | None
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    def spawn(self, physics: Physics) -> int:
        body = self.model.spawn(physics, (0, 0, 0), (0, 0, 0, 1))
        prepare(physics, body, self.model, self.mass, self.colour)
        physics.client.resetBasePositionAndOrientation(body, self.position, self.orientation)
        return body

    def moved_to(self, physics: Physics, body: int) -> Placed:
        position, orientation = physics.client.getBasePositionAndOrientation(body)
        return Placed(self.name, self.model, self.mass, self.colour, position, orientation)


def fixed_box(physics: Physics, half: Sequence[float], position: Sequence[float], drawn: bool) -> int:
    """A box that never moves. Not drawn: a speck out of sight stands for it, the camera computes the table itself."""
    client = physics.client
    collision = client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=list(half))
    if drawn:
        visual = client.createVisualShape(pybullet.GEOM_BOX, halfExtents=list(half), rgbaColor=[0.45, 0.5, 0.6, 1])
    else:
        visual = client.createVisualShape(pybullet.GEOM_SPHERE, radius=1e-4, visualFramePosition=[0, 0, -1])
    body = client.createMultiBody(0, collision, visual, list(position))
    client.changeDynamics(body, -1, lateralFriction=TABLE_FRICTION)
    return body


def walls(physics: Physics, length: float, width: float, height: float, drawn: bool) -> list[int]:
    """Four walls around an inner rectangle `length` (x) by `width` (y) m, standing on the table."""
    x, y, t = length / 2, width / 2, WALL / 2
    sides = (
        ((t, y + WALL, height / 2), (x + t, 0, height / 2)),
        ((t, y + WALL, height / 2), (-x - t, 0, height / 2)),
        ((x, t, height / 2), (0, y + t, height / 2)),
        ((x, t, height / 2), (0, -y - t, height / 2)),
    )
    return [fixed_box(physics, half, position, drawn) for half, position in sides]


def surroundings(physics: Physics, spec: SceneSpec) -> dict[int, str]:
    """Table, and the bin where the kind has one; names by body."""
    fixed = {fixed_box(physics, (1.0, 1.0, 0.05), (0, 0, -0.05), drawn=False): "table"}
    if spec.kind == "bin":
        fixed |= dict.fromkeys(walls(physics, *spec.bin_size, drawn=True), "bin")
    return fixed


def settled(physics: Physics, objects: dict[int, Placed]) -> list[Placed]:
    """Where the objects rest inside the workspace; strays, sunken and restless ones are left out."""
    physics.settle(list(objects), SETTLE_SECONDS)
    found = []
    for (body, placed), (linear, angular) in zip(objects.items(), physics.speeds(list(objects)), strict=True):
        now = placed.moved_to(physics, body)
        x, y, z = now.position
        if abs(x) < WORKSPACE and abs(y) < WORKSPACE and z > -0.01 and linear < 0.02 and angular < 0.5:
            found.append(now)
    return found


def arrange(physics: Physics, spec: SceneSpec, objects: list[Placed], random: np.random.Generator) -> list[Placed] | None:
    """Let the objects come to rest; None if too few of them do, in sight, for the scene to count."""
    physics.reset()
    surroundings(physics, spec)
    if spec.kind == "packed":
        bodies = _set_close(physics, objects, random)
    elif spec.kind == "single":
        bodies = {_drop(physics, objects[0], random.uniform(-0.06, 0.06, 2), random): objects[0]}
    else:
        bodies = _drop_all(physics, spec, objects, random)
    found = settled(physics, bodies)
    for _ in range(TOP_UPS):
        here = {placed.name for placed in found}
        lost = [placed for placed in objects if placed.name not in here]
        if not lost or spec.kind == "single":
            break
        found = settled(physics, _set_beside(physics, spec, found, lost, random))
    return found if len(found) >= max(1, math.ceil(LEAST_SHARE * len(objects))) else None


def _drop(physics: Physics, placed: Placed, xy: np.ndarray, random: np.random.Generator, floor: float = 0.0) -> int:
    """Release the object, turned at random, with its lowest point 1 cm above `floor` (m)."""
    body = placed.spawn(physics)
    turn = Rotation.random(rng=random).as_quat().tolist()
    physics.client.resetBasePositionAndOrientation(body, [0, 0, 0], turn)
    low, high = (np.array(corner) for corner in physics.client.getAABB(body))
    centre = (low + high) / 2
    position = [xy[0] - centre[0], xy[1] - centre[1], floor + 0.01 - low[2]]
    physics.client.resetBasePositionAndOrientation(body, position, turn)
    return body


def _drop_all(physics: Physics, spec: SceneSpec, objects: list[Placed], random: np.random.Generator) -> dict[int, Placed]:
    """Drop one after another inside walls; those of a pile are then taken away."""
    side = min(0.22 * math.sqrt(max(1.0, len(objects) / 6)), 0.28)
    inner = spec.bin_size[:2] if spec.kind == "bin" else (side, side)
    temporary = walls(physics, *inner, height=1.0, drawn=False)
    bodies: dict[int, Placed] = {}
    for placed in objects:
        top = max((physics.client.getAABB(body)[1][2] for body in bodies), default=0.0)
        spread = np.array([max(inner[0] / 2 - 0.07, 0.01), max(inner[1] / 2 - 0.07, 0.01)])
        bodies[_drop(physics, placed, random.uniform(-spread, spread), random, floor=top)] = placed
        physics.step(physics.steps_in(0.4))
    physics.settle(list(bodies), 1.0)
    for wall in temporary:
        physics.client.removeBody(wall)
    for body in bodies:
        physics.client.changeDynamics(body, -1, activationState=AWAKE)
    return bodies


def _set_close(physics: Physics, objects: list[Placed], random: np.random.Generator) -> dict[int, Placed]:
    """Stand each object, longest side up if that is stable enough, as near to the middle as 5 mm of air allow."""
    bodies: dict[int, Placed] = {}
    for placed in objects:
        body = placed.spawn(physics)
        low, high = (np.array(corner) for corner in physics.client.getAABB(body))
        upright = Rotation.from_euler("z", random.uniform(-math.pi, math.pi)) * _standing(high - low)
        _find_room(physics, body, upright.as_quat().tolist(), list(bodies), random)
        bodies[body] = placed
    return bodies


def _set_beside(
    physics: Physics, spec: SceneSpec, resting: list[Placed], lost: list[Placed], random: np.random.Generator
) -> dict[int, Placed]:
    """The scene as it rests, and the lost objects, turned at random, wherever the table is free near the middle."""
    physics.reset()
    fixed = [body for body, name in surroundings(physics, spec).items() if name != "table"]
    bodies = {placed.spawn(physics): placed for placed in resting}
    for placed in lost:
        body = placed.spawn(physics)
        _find_room(physics, body, Rotation.random(rng=random).as_quat().tolist(), [*bodies, *fixed], random)
        bodies[body] = placed
    return bodies


def _standing(extents: np.ndarray) -> Rotation:
    """Turn of an object with these extents (3,) that puts its longest side up, or its middle one if it would topple."""
    order = np.argsort(extents)
    up = int(order[2] if extents[order[0]] > 0.45 * extents[order[2]] else order[1])
    return (Rotation.from_euler("y", -math.pi / 2), Rotation.from_euler("x", math.pi / 2), Rotation.identity())[up]


def _find_room(physics: Physics, body: int, turn: list[float], others: list[int], random: np.random.Generator) -> None:
    """Move the body outwards from the middle until it has 5 mm of air around it."""
    client = physics.client
    client.resetBasePositionAndOrientation(body, [0, 0, 0], turn)
    low, high = (np.array(corner) for corner in client.getAABB(body))
    rest, centre = 0.001 - low[2], (low + high) / 2
    for radius in np.arange(0.0, WORKSPACE, 0.01):
        for angle in random.uniform(-math.pi, math.pi, 6):
            xy = radius * np.array([math.cos(angle), math.sin(angle)]) - centre[:2]
            client.resetBasePositionAndOrientation(body, [*xy.tolist(), rest], turn)
            if not any(client.getClosestPoints(body, other, 0.005) for other in others):
                return
