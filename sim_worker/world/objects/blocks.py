"""The eight toy blocks of published work on pushing to grasp, as procedural shapes `block/<number>`, and convex hulls.

Method: Zeng et al., Learning Synergies between Pushing and Grasping, IROS 2018; Xu et al., Efficient Learning of
Goal-Oriented Push-Grasping Synergy in Clutter, RA-L 2021. Sizes are those of their blocks, numbered as theirs are.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import pybullet
from scipy.spatial import ConvexHull

from sim_worker.world.objects.objects import ObjectModel, Part, PartsModel
from sim_worker.world.simulation.physics import HULL_SKIN, Physics, Vector

DENSITY = 400.0
"""kg/m3."""
ARCH_STRIPS = 8
"""Boxes that fill what is above the hole of the arch."""
ARC_SIDES = 12
"""Edges that stand for half a circle."""
DIGITS = 9
"""Of a coordinate, m: what rounding keeps apart is no corner of its own."""


@dataclass(frozen=True)
class HullModel:
    """A rigid object that is the convex hull of `corners`, m, in a frame of its own."""

    name: str
    corners: tuple[tuple[float, float, float], ...]
    density: float = DENSITY
    skin: float = HULL_SKIN
    rolls: bool = False

    def scaled(self, factor: float) -> "HullModel":
        corners = tuple((factor * x, factor * y, factor * z) for x, y, z in self.corners)
        return replace(self, corners=corners, density=self.density / factor**3)

    @cached_property
    def _hull(self) -> ConvexHull:
        return ConvexHull(np.array(self.corners))

    @cached_property
    def centre(self) -> np.ndarray:
        """Centre of mass (3,), m."""
        points, inside = self._hull.points, self._hull.points.mean(axis=0)
        # Tetrahedra from a point inside to every face: their centres, weighted with their volumes.
        faces = points[self._hull.simplices] - inside
        volumes = np.abs(np.linalg.det(faces)) / 6
        centre: np.ndarray = inside + np.average(faces.sum(axis=1) / 4, axis=0, weights=volumes)
        return centre

    @property
    def mass(self) -> float:
        """kg, between 20 g and 1 kg."""
        return float(np.clip(self._hull.volume * self.density, 0.02, 1.0))

    def _faces(self) -> np.ndarray:
        """(3 F, 3) corners of the faces round the centre of mass, each seen anticlockwise from outside."""
        triangles = self._hull.points[self._hull.simplices]
        outwards = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        turned = (outwards * self._hull.equations[:, :3]).sum(axis=1) < 0
        triangles[turned] = triangles[turned][:, ::-1]
        result: np.ndarray = triangles.reshape(-1, 3) - self.centre
        return result

    def spawn(self, physics: Physics, position: Vector, orientation: Vector) -> int:
        client, faces = physics.client, self._faces()
        corners = (self._hull.points[self._hull.vertices] - self.centre).tolist()
        collision = client.createCollisionShape(pybullet.GEOM_MESH, vertices=corners)
        # Corners are not shared between faces, else the light would round the edges off.
        visual = client.createVisualShape(pybullet.GEOM_MESH, vertices=faces.tolist(), indices=list(range(len(faces))))
        result: int = client.createMultiBody(self.mass, collision, visual, position, orientation)
        return result


def _prism(outline: list[tuple[float, float]], depth: float) -> tuple[tuple[float, float, float], ...]:
    """Corners of a prism along y over an outline in x and z."""
    return tuple((round(x, DIGITS), y, round(z, DIGITS)) for y in (-depth / 2, depth / 2) for x, z in outline)


def _half_disc(radius: float) -> list[tuple[float, float]]:
    turns = np.linspace(0, math.pi, ARC_SIDES + 1).tolist()
    return [(radius * math.cos(turn), radius * math.sin(turn)) for turn in turns]


def _arch() -> tuple[Part, ...]:
    """A box .10 x .05 x .05 m with a half-round hole of radius .025 m through the middle of its underside."""
    radius, height, depth = 0.025, 0.05, 0.05
    legs = [Part("box", (radius, depth, height), (side * 1.5 * radius, 0.0, height / 2)) for side in (-1, 1)]
    edges = np.linspace(-radius, radius, ARCH_STRIPS + 1)
    strips = []
    for low, high in pairwise(edges.tolist()):
        # Down to the arc's mean height over the strip: as much of it lies in the hole as is missing beside it.
        bottom = math.sqrt(radius**2 - ((low + high) / 2) ** 2)
        middle = ((low + high) / 2, 0.0, (bottom + height) / 2)
        strips.append(Part("box", (high - low, depth, height - bottom), middle))
    return (*legs, *strips)


def _boxed(name: str, *sides: float) -> PartsModel:
    return PartsModel(name, (Part("box", sides),), DENSITY)


def _blocks() -> dict[str, ObjectModel]:
    prism = [(-0.04665, 0.0), (0.04665, 0.0), (0.0, 0.049)]
    return {
        "block/0": HullModel("block/0", _prism(prism, 0.05)),
        "block/1": PartsModel("block/1", _arch(), DENSITY),
        "block/2": _boxed("block/2", 0.05, 0.05, 0.025),
        "block/3": _boxed("block/3", 0.10, 0.05, 0.025),
        "block/4": _boxed("block/4", 0.05, 0.05, 0.05),
        "block/6": _boxed("block/6", 0.05, 0.05, 0.10),
        "block/7": HullModel("block/7", _prism(_half_disc(0.025), 0.05)),
        "block/8": PartsModel("block/8", (Part("cylinder", (0.0224, 0.05)),), DENSITY),
    }


BLOCKS = _blocks()
"""By name. The published work has no block 5."""


def block_model(name: str) -> ObjectModel:
    """The block of a name `block/<number>`. Raises ValueError."""
    if name not in BLOCKS:
        raise ValueError(f"expected one of {', '.join(BLOCKS)}, got {name!r}")
    return BLOCKS[name]
