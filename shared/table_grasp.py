"""Grasps of which only the table is known: straight down on it, the jaw wide open, the tips at one of a few heights."""

import math
from collections.abc import Sequence

import numpy as np

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import approach_frame

TIP_HEIGHTS = (0.004, 0.010, 0.020, 0.035, 0.060)
"""Heights of the fingertips over the table, m, that are tried and labelled: with one of them most objects of up to 0.1 m can be
held, those of 10 mm among them. A network proposes those that it was taught, which its card names."""

ROTATIONS = 16
"""Angles of the closing axis, evenly spaced over half a turn, at which it is learned where a hand fits."""


def table_up(camera_pose: np.ndarray | None) -> np.ndarray:
    """The table's upward normal (3,) in the camera frame: against gravity, or, without a camera pose, towards the camera."""
    return np.array([0.0, 0.0, -1.0]) if camera_pose is None else np.asarray(camera_pose, dtype=float)[2, :3]


def table_grasp(
    pixel: Sequence[float], angle: float, height: float, camera: CameraIntrinsics, table_depth: float, up: np.ndarray
) -> np.ndarray:
    """Pose (4, 4) in the camera frame of tips that are seen at `pixel` (u, v), `height` m over the table, closing along
    the image angle `angle`, approaching against `up`.

    table_depth: where the optical axis meets the table, m. Raises ValueError for a pixel that does not look at the table.
    """
    ray = np.array([(pixel[0] - camera.cx) / camera.fx, (pixel[1] - camera.cy) / camera.fy, 1.0])
    towards = float(up @ ray)
    along = (height + table_depth * float(up[2])) / towards if towards < 0 else 0.0
    if along <= 0:
        raise ValueError(f"pixel {list(pixel)} does not look at the table")
    # The closing axis is horizontal and lies in the plane of all points that are seen on its line in the image.
    seen = np.array([math.cos(angle) / camera.fx, math.sin(angle) / camera.fy, 0.0])
    closing = np.cross(np.cross(ray, seen), up)
    return approach_frame(along * ray, closing * np.sign(closing @ seen), -up)
