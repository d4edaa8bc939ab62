"""Scenes of boxes and upright cylinders on a table at z = 0, rendered by exact ray casting: the perfect grasps are known."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from grasp_client.contract import CameraIntrinsics, Grasp, Gripper
from grasp_client.geometry import look_at

CAMERAS = {"640x480": (480, 640, 525.0), "240x240": (240, 240, 420.0), "1280x720": (720, 1280, 1050.0)}
"""Height and width, pixels, and focal length, pixels."""
SLIM_HAND = Gripper(finger_width=0.02, finger_thickness=0.01, finger_depth=0.053)
"""Goes down behind what hides its far side from a camera that leans."""


def entered(low: np.ndarray, high: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How far along rays (..., 3) the box begins whose sides lie at `low` and `high` (3,) from where they start; infinite where
    they miss it."""
    near = far = np.zeros(())
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for axis in range(3):  # axis by axis: to reduce an array along so short a one takes five times as long
            along = np.ascontiguousarray(directions[..., axis])
            first, second = low[axis] / along, high[axis] / along
            begin, end = np.fmin(first, second), np.fmax(first, second)
            near, far = (np.maximum(near, begin), np.minimum(far, end)) if axis else (begin, end)
    return np.where((near <= far) & (near > 0), near, np.inf)


@dataclass(frozen=True)
class Box:
    """Stands on the table at x, y (m), turned by yaw (rad); sides along its own axes, m."""

    x: float
    y: float
    yaw: float
    length: float
    width: float
    height: float

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        into = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        start = into @ (origin - [self.x, self.y, 0])
        direction = rays @ into.T
        low = np.array([-self.length / 2, -self.width / 2, 0]) - start
        high = np.array([self.length / 2, self.width / 2, self.height]) - start
        return entered(low, high, direction)

    def inside(self, points: np.ndarray) -> np.ndarray:
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        along = (points[:, 0] - self.x) * cos + (points[:, 1] - self.y) * sin
        across = -(points[:, 0] - self.x) * sin + (points[:, 1] - self.y) * cos
        return (np.abs(along) <= self.length / 2) & (np.abs(across) <= self.width / 2) & (points[:, 2] <= self.height)


@dataclass(frozen=True)
class Cylinder:
    """Stands upright on the table at x, y, m."""

    x: float
    y: float
    radius: float
    height: float

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        start = origin[:2] - [self.x, self.y]
        x, y, z = (np.ascontiguousarray(rays[..., axis]) for axis in range(3))
        a = x**2 + y**2
        b = x * start[0] + y * start[1]
        inside = b**2 - a * (start @ start - self.radius**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            side = (-b - np.sqrt(inside)) / a
            top = (self.height - origin[2]) / z
        level = origin[2] + side * z
        side = np.where((inside >= 0) & (side > 0) & (level >= 0) & (level <= self.height), side, np.inf)
        on_top = (start[0] + top * x) ** 2 + (start[1] + top * y) ** 2 <= self.radius**2
        return np.minimum(side, np.where(on_top & (top > 0), top, np.inf))

    def inside(self, points: np.ndarray) -> np.ndarray:
        return (np.hypot(points[:, 0] - self.x, points[:, 1] - self.y) <= self.radius) & (points[:, 2] <= self.height)


Solid = Box | Cylinder


@dataclass(frozen=True)
class Camera:
    """An image size, intrinsics and a pose, camera to base (4, 4)."""

    rows: int
    columns: int
    intrinsics: CameraIntrinsics
    pose: np.ndarray


def camera(rows: int, columns: int, focal: float, tilt: float = 0.0, turn: float = 0.0, distance: float = 0.7) -> Camera:
    """A camera that looks at the table's origin from `distance` m, tilted from straight down towards direction `turn`, rad."""
    eye = distance * np.array([math.sin(tilt) * math.cos(turn), math.sin(tilt) * math.sin(turn), math.cos(tilt)])
    up = np.array([-math.sin(turn), math.cos(turn), 0.0])
    intrinsics = CameraIntrinsics(fx=focal, fy=focal, cx=(columns - 1) / 2, cy=(rows - 1) / 2)
    return Camera(rows, columns, intrinsics, look_at(eye, np.zeros(3), up))


@lru_cache(maxsize=4)
def _rays(rows: int, columns: int, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    u, v = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(u.shape)], -1)


def render(view: Camera, solids: list[Solid]) -> np.ndarray:
    """Depth image (rows, columns) float32, m along the optical axis."""
    camera = view.intrinsics
    rays = _rays(view.rows, view.columns, camera.fx, camera.fy, camera.cx, camera.cy) @ view.pose[:3, :3].T
    origin = view.pose[:3, 3]
    depth = -origin[2] / rays[..., 2]
    for solid in solids:
        depth = np.minimum(depth, solid.hit(origin, rays))
    return depth.astype(np.float32)


def collides(grasp: Grasp, gripper: Gripper, solids: list[Solid], slack: float = 0.0) -> bool:
    """Whether the open hand would enter a solid or the table on a straight way in; grasps with pose_base.

    slack: every part of the hand is this much smaller, m.
    """
    pose = np.asarray(grasp.pose_base)
    tip = pose[:3, 3] + gripper.tcp_offset * pose[:3, 2]
    assert grasp.width is not None
    thin, pad_depth = gripper.pad
    for sign, (thickness, above) in itertools.product((-1, 1), ((thin, 0.0), (gripper.finger_thickness, pad_depth))):
        middle = sign * (grasp.width / 2 + thickness / 2)
        finger = (middle, thickness / 2 - slack, gripper.finger_width / 2 - slack, above + slack)
        if _enters(pose, tip, finger, solids):
            return True
    palm = (0.0, gripper.palm_width / 2 - slack, gripper.palm_thickness / 2 - slack, gripper.finger_depth + slack)
    return _enters(pose, tip, palm, solids)


def _enters(pose: np.ndarray, tip: np.ndarray, part: tuple[float, float, float, float], solids: list[Solid]) -> bool:
    """Whether the lower face of a part (middle and half size along x, half size along y, height over the tips) is in a solid.

    Solids stand on the table and reach down to it, so what enters one from above enters with its lower face.
    """
    middle, half_x, half_y, above = part
    x, y = np.meshgrid(np.linspace(-half_x, half_x, 41) + middle, np.linspace(-half_y, half_y, 41))
    points = tip + x.reshape(-1, 1) * pose[:3, 0] + y.reshape(-1, 1) * pose[:3, 1] - above * pose[:3, 2]
    return bool((points[:, 2] < 0).any() or any(solid.inside(points).any() for solid in solids))
