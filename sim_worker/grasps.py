"""Between a grasp on the wire and the pose that a hand executes in the base frame."""

from __future__ import annotations

import math

import numpy as np

from shared.contract import CameraIntrinsics, Grasp
from shared.geometry import approach_frame, invert, project, transform, wrap_angle

DOWN = np.array([0.0, 0.0, -1.0])


def pose_in_base(grasp: Grasp, camera_pose: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of a metric grasp in the base frame, from `pose_base` or, without it, `pose_camera`.

    Raises ValueError for a grasp without a metric pose.
    """
    if grasp.pose_base is not None:
        return np.asarray(grasp.pose_base, dtype=float)
    if grasp.pose_camera is not None:
        return np.asarray(camera_pose, dtype=float) @ np.asarray(grasp.pose_camera, dtype=float)
    raise ValueError("the grasp has no metric pose: was `camera` sent with the request?")


def top_down(xy: np.ndarray, tip_height: float, yaw: float) -> np.ndarray:
    """Grasp pose (4, 4) in the base frame: approach straight down, tips at `tip_height`, closing axis turned by `yaw`."""
    return approach_frame(np.array([xy[0], xy[1], tip_height]), np.array([math.cos(yaw), math.sin(yaw), 0.0]), DOWN)


def jaw_grasp(pose_base: np.ndarray, width: float, quality: float, camera: CameraIntrinsics, camera_pose: np.ndarray) -> Grasp:
    """The wire form of a jaw pose (4, 4) in the base frame with an opening of `width` m."""
    pose_camera = invert(camera_pose) @ pose_base
    origin, closing = pose_camera[:3, 3], pose_camera[:3, 0]
    half = np.stack([origin - closing * width / 2, origin + closing * width / 2])
    ends = project(half, camera)
    center = project(origin[None], camera)[0]
    span = ends[1] - ends[0]
    return Grasp(
        kind="parallel_jaw",
        quality=quality,
        center_px=center.tolist(),
        angle=wrap_angle(math.atan2(span[1], span[0])),
        depth=float(origin[2]),
        width=float(width),
        width_px=float(np.hypot(*span)),
        pose_camera=pose_camera.tolist(),
        pose_base=np.asarray(pose_base).tolist(),
    )


def points_in_base(depth: np.ndarray, camera: CameraIntrinsics, camera_pose: np.ndarray) -> np.ndarray:
    """Base-frame point of every pixel: (H, W, 3), NaN where the depth (H, W), m, has no reading."""
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    x = (columns - camera.cx) * depth / camera.fx
    y = (rows - camera.cy) * depth / camera.fy
    points = transform(np.asarray(camera_pose, dtype=float), np.stack([x, y, depth], axis=-1))
    points[~(depth > 0)] = np.nan
    return points
