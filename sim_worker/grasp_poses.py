"""Between a grasp on the wire and the pose that a hand executes in the base frame."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from grasp_client.contract import CameraIntrinsics, Grasp
from grasp_client.geometry import approach_frame, invert, pose_from, project, transform, wrap_angle

DOWN = np.array([0.0, 0.0, -1.0])


def pose_in_base(grasp: Grasp, camera_pose: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of a metric grasp in the base frame, from `pose_base` or, without it, `pose_camera`.

    Raises ValueError for a grasp without a metric pose.
    """
    if grasp.pose_base is not None:
        return np.asarray(grasp.pose_base, dtype=float)
    if grasp.pose_camera is not None:
        result: np.ndarray = np.asarray(camera_pose, dtype=float) @ np.asarray(grasp.pose_camera, dtype=float)
        return result
    raise ValueError("the grasp has no metric pose: was `camera` sent with the request?")


def cell_error_of(numbers: str | Sequence[float]) -> np.ndarray:
    """Pose (4, 4) by which told camera poses are off in the base frame: x, y, z, m, and a rotation vector, rad; or as text with
    commas, none for exact ones. Raises ValueError for other than six numbers."""
    values = [float(part) for part in numbers.split(",") if part.strip()] if isinstance(numbers, str) else list(numbers)
    if len(values) not in ((0, 6) if isinstance(numbers, str) else (6,)):
        raise ValueError(f"a cell's error: expected x, y, z (m) and a rotation vector (rad), six numbers, got {len(values)}")
    shift, turn = np.array(values or [0.0] * 6, dtype=float).reshape(2, 3)
    return pose_from(Rotation.from_rotvec(turn).as_matrix(), shift)


def top_down(xy: np.ndarray, tip_height: float, yaw: float) -> np.ndarray:
    """Grasp pose (4, 4) in the base frame: approach straight down, tips at `tip_height`, closing axis turned by `yaw`."""
    return approach_frame(np.array([xy[0], xy[1], tip_height]), np.array([math.cos(yaw), math.sin(yaw), 0.0]), DOWN)


def jaw_grasp(
    tip: np.ndarray, width: float, quality: float, camera: CameraIntrinsics, camera_pose: np.ndarray, tcp_offset: float = 0.0
) -> Grasp:
    """The wire form of a jaw whose tips are at `tip` (4, 4) in the base frame, opened to `width` m.

    tcp_offset: of the gripper; the poses in the grasp are those of its tool frame.
    """
    in_camera = invert(camera_pose) @ tip
    origin, closing = in_camera[:3, 3], in_camera[:3, 0]
    ends = project(np.stack([origin - closing * width / 2, origin + closing * width / 2]), camera)
    span = ends[1] - ends[0]
    return Grasp(
        kind="parallel_jaw",
        quality=quality,
        angle=wrap_angle(math.atan2(span[1], span[0])),
        width=float(width),
        width_px=float(np.hypot(*span)),
        **_placed(tip, in_camera, camera, tcp_offset),
    )


def suction_grasp(
    contact: np.ndarray, quality: float, camera: CameraIntrinsics, camera_pose: np.ndarray, tcp_offset: float = 0.0
) -> Grasp:
    """The wire form of a cup that touches at `contact` (4, 4) in the base frame, z into the surface."""
    in_camera = invert(camera_pose) @ contact
    return Grasp(kind="suction", quality=quality, angle=0.0, **_placed(contact, in_camera, camera, tcp_offset))


def _placed(tip: np.ndarray, in_camera: np.ndarray, camera: CameraIntrinsics, tcp_offset: float) -> dict[str, Any]:
    back = pose_from(np.eye(3), np.array([0.0, 0.0, -tcp_offset]))
    return {
        "center_px": project(in_camera[None, :3, 3], camera)[0].tolist(),
        "depth": float(in_camera[2, 3]),
        "pose_camera": (in_camera @ back).tolist(),
        "pose_base": (np.asarray(tip) @ back).tolist(),
    }


def points_in_base(depth: np.ndarray, camera: CameraIntrinsics, camera_pose: np.ndarray) -> np.ndarray:
    """Base-frame point of every pixel: (H, W, 3), NaN where the depth (H, W), m, has no reading."""
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    x = (columns - camera.cx) * depth / camera.fx
    y = (rows - camera.cy) * depth / camera.fy
    points = transform(np.asarray(camera_pose, dtype=float), np.stack([x, y, depth], axis=-1))
    points[~(depth > 0)] = np.nan
    return points
