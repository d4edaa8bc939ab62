"""The bin of a scene: a fixed one about the origin, or one whose size, place and view are drawn from the scene's seed."""

import math
from dataclasses import dataclass

import numpy as np

BIN_INNER = (0.36, 0.26, 0.05)
"""m: inner length (x), width (y) and wall height of the bin of published figures. The walls are lower than a Panda finger is
long: over higher ones its palm, 204 mm wide, reaches only a strip in the middle."""
WALL = 0.01
"""m: thickness of a wall where none is drawn."""
SPREAD = 0.5
"""Share of a bin's inner size over which objects are dropped, around its middle: they settle as a heap that runs out to the
walls, as parts poured from a box do."""
LENGTH, WIDTH = (0.26, 0.48), (0.20, 0.36)
"""m: inner sizes that are drawn, from a small-parts box to a tote."""
HEIGHT, THICKNESS = (0.04, 0.15), (0.003, 0.015)
"""m: of drawn walls; heights evenly in their logarithm."""
SHIFT = 0.04
"""m: how far a drawn bin stands from the origin, at most, along x and y."""
TILT = (0.0, math.radians(25.0))
"""rad: between the camera that looks into a drawn bin and straight down."""
PART_IN_VIEW = 0.25
"""Share of drawn bins that the default camera sees only in part."""
AT_WALL = 0.3
"""Share of the objects in a drawn bin that are let down against a wall, along x and along y alike: both make a corner."""


@dataclass(frozen=True)
class Bin:
    """inner: length (x), width (y) and wall height, m, in the bin's own frame: floor's middle, turned by `yaw` (rad) about z of
    the base frame. spread, at_wall: how objects are dropped into it. tilt: of the camera, at least, rad. view: share of the
    bin that the default camera sees, 1 for all of it and a margin."""

    inner: tuple[float, float, float]
    wall: float = WALL
    centre: tuple[float, float] = (0.0, 0.0)
    yaw: float = 0.0
    spread: float = SPREAD
    at_wall: float = 0.0
    tilt: float = 0.0
    view: float = 1.0

    @staticmethod
    def draw(random: np.random.Generator) -> "Bin":
        length = float(random.uniform(*LENGTH))
        width = float(random.uniform(WIDTH[0], min(WIDTH[1], length)))
        height = math.exp(random.uniform(*np.log(HEIGHT)))
        wall, yaw, spread = (float(random.uniform(*span)) for span in (THICKNESS, (-math.pi, math.pi), (SPREAD, 1.0)))
        x, y = random.uniform(-SHIFT, SHIFT, 2).tolist()
        tilt, part = float(random.uniform(*TILT)), bool(random.random() < PART_IN_VIEW)
        view = float(random.uniform(0.6, 0.9)) if part else 1.0
        return Bin((length, width, height), wall, (x, y), yaw, spread, AT_WALL, tilt, view)

    @property
    def half(self) -> tuple[float, float]:
        """Half sides of the floor, m."""
        return self.inner[0] / 2, self.inner[1] / 2

    @property
    def extent(self) -> tuple[float, float]:
        """Half sides (x, y), m, of the rectangle around the origin that holds the floor."""
        x, y = np.abs(self.corners()[:, :2]).max(axis=0).tolist()
        return x, y

    def corners(self) -> np.ndarray:
        """(4, 3): the floor's, in order round it, in the base frame."""
        x, y = self.half
        flat = self.in_base(np.array([(x, y), (-x, y), (-x, -y), (x, -y)]))
        return np.column_stack([flat, np.zeros(4)])

    def in_base(self, xy: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the bin's frame in the base frame."""
        result: np.ndarray = xy @ self._turn().T + self.centre
        return result

    def holds(self, xy: np.ndarray, scale: float) -> bool:
        """Whether a point (2,) of the base frame lies in the floor, its sides stretched by `scale`."""
        return bool((np.abs((xy - self.centre) @ self._turn()) < scale * np.array(self.half)).all())

    def _turn(self) -> np.ndarray:
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return np.array([[cos, -sin], [sin, cos]])
