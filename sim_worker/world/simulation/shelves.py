"""The shelf of a scene: boards whose sizes and place are drawn from the scene's seed, or a compartment of a warehouse's pod."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pybullet_data
from scipy.spatial.transform import Rotation

from grasp_client.geometry import pose_from

WIDTH, DEPTH, HEIGHT = (0.30, 0.60), (0.25, 0.40), (0.21, 0.30)
"""m: inner sizes that are drawn. No hand with what carries it stands upright under such a ceiling."""
BOARD = (0.008, 0.02)
"""m: thickness of the boards."""
SHIFT = 0.03
"""m: how far the middle of the floor is from the origin, at most, along x and y."""
POD = 0.2
"""Share of scenes whose shelf is a compartment of the pod `kiva_shelf` of pybullet_data."""
POD_INNER = (0.29, 0.40, 0.212)
"""m: of that compartment."""
POD_MIDDLE = (0.0, 0.222, 1.3045)
"""m: the middle of its floor in the pod's frame; it opens towards y there."""
POD_NEAR = 0.25
"""m above and below that floor: what of the pod lies farther off is left out."""
POD_BOXES = Path(pybullet_data.getDataPath()) / "kiva_shelf" / "model.sdf"
LEAN, ASIDE = (math.radians(60), math.radians(78)), math.radians(25)
"""rad: between the camera and straight down, and how far it stands aside of the middle of the opening, at most."""
DISTANCE = (0.65, 0.9)
"""m: between the camera and the middle of the shelf."""
AIM = 0.35
"""Share of the shelf's height that the camera aims at."""


@dataclass(frozen=True)
class Shelf:
    """inner: width (x), depth (y) and height, m, in the shelf's own frame: floor's middle, turned by `yaw` (rad) about z of the
    base frame; it opens towards -y. board: thickness of back, sides and ceiling, m. pod: it is a compartment of the pod. lean,
    aside, distance: of the camera that looks in, rad, rad, m."""

    inner: tuple[float, float, float]
    board: float
    centre: tuple[float, float]
    yaw: float
    pod: bool
    lean: float
    aside: float
    distance: float

    @staticmethod
    def draw(random: np.random.Generator) -> "Shelf":
        width, depth, height, board = (float(random.uniform(*span)) for span in (WIDTH, DEPTH, HEIGHT, BOARD))
        x, y = random.uniform(-SHIFT, SHIFT, 2).tolist()
        yaw, pod = float(random.uniform(-math.pi, math.pi)), bool(random.random() < POD)
        lean, aside, distance = (float(random.uniform(*span)) for span in (LEAN, (-ASIDE, ASIDE), DISTANCE))
        inner = POD_INNER if pod else (width, depth, height)
        return Shelf(inner, board, (x, y), yaw, pod, lean, aside, distance)

    @property
    def half(self) -> tuple[float, float]:
        """Half sides of the floor, m."""
        return self.inner[0] / 2, self.inner[1] / 2

    @property
    def pose(self) -> np.ndarray:
        """(4, 4): its own frame in the base frame."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return pose_from(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]), np.array([*self.centre, 0.0]))

    @property
    def extent(self) -> tuple[float, float]:
        """Half sides (x, y), m, of the rectangle around the origin that holds the floor."""
        x, y = (np.abs(self.pose[:2, :2]) @ self.half + np.abs(self.centre)).tolist()
        return x, y

    @property
    def azimuth(self) -> float:
        """Direction in which the camera stands, rad, from x to y of the base frame."""
        return self.yaw - math.pi / 2 + self.aside

    @property
    def aim(self) -> tuple[float, float, float]:
        """What the camera looks at, m, in the base frame."""
        return *self.centre, AIM * self.inner[2]

    @property
    def spread(self) -> tuple[float, float]:
        """Width and height, m, of what the camera has to see."""
        width, depth, height = self.inner
        aside = abs(math.sin(self.aside))
        return width + depth * aside, depth * math.cos(self.lean) + height * math.sin(self.lean)

    def holds(self, xy: np.ndarray, scale: float) -> bool:
        """Whether a point (2,) of the base frame lies in the floor, its sides stretched by `scale`."""
        return bool((np.abs((xy - self.centre) @ self.pose[:2, :2]) < scale * np.array(self.half)).all())

    def walls(self) -> list[tuple[tuple[float, ...], np.ndarray]]:
        """Half extents of its boards in its own frame and their middles (3,) in the base frame, m: back, sides, ceiling."""
        (x, y), height, t = self.half, self.inner[2], self.board / 2
        boards: list[tuple[tuple[float, ...], tuple[float, ...]]] = [
            ((x + 2 * t, t, height / 2 + t), (0.0, y + t, height / 2 + t)),
            ((t, y, height / 2 + t), (x + t, 0.0, height / 2 + t)),
            ((t, y, height / 2 + t), (-x - t, 0.0, height / 2 + t)),
            ((x, y, t), (0.0, 0.0, height + t)),
        ]
        return [
            (half, self.pose[:3, :3] @ middle + self.pose[:3, 3]) for half, middle in (pod_boards() if self.pod else boards)
        ]


@lru_cache(maxsize=1)
def pod_boards() -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Half extents and middles, m, of the boxes that make the pod about its compartment, in the compartment's frame.

    They are drawn too: the pod's own picture has thinner boards, and hands would hit what no camera sees.
    """
    found = []
    for part in ElementTree.parse(POD_BOXES).iter("collision"):
        place = np.array((part.findtext("pose") or "").split(), dtype=float)
        size = np.array((part.findtext("geometry/box/size") or "").split(), dtype=float)
        half = np.abs(Rotation.from_euler("xyz", place[3:]).as_matrix()) @ size / 2
        middle = (place[:3] - POD_MIDDLE) * (-1, -1, 1)  # the pod opens towards its y
        if abs(middle[2]) < half[2] + POD_NEAR:
            found.append((tuple(half.tolist()), tuple(middle.tolist())))
    return found
