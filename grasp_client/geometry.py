"""Camera, pixel and pose: pure functions on arrays.

A pose (4, 4) maps points of its own frame into the named frame: `p_named = pose @ p_own`. Camera frames are optical
(x right, y down, z forward); integer pixel values lie at pixel centres.
"""

import math

import numpy as np

from grasp_client.contract import CameraIntrinsics


def deproject(pixels: np.ndarray, depth: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """Pixels (N, 2) as (u, v) with depth (N,), m along the optical axis, to camera-frame points (N, 3)."""
    pixels, depth = np.asarray(pixels, dtype=float), np.asarray(depth, dtype=float)
    x = (pixels[..., 0] - camera.cx) * depth / camera.fx
    y = (pixels[..., 1] - camera.cy) * depth / camera.fy
    return np.stack([x, y, depth], axis=-1)


def project(points: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """Camera-frame points (N, 3) in front of the camera (z > 0) to pixels (N, 2) as (u, v)."""
    points = np.asarray(points, dtype=float)
    u = camera.fx * points[..., 0] / points[..., 2] + camera.cx
    v = camera.fy * points[..., 1] / points[..., 2] + camera.cy
    return np.stack([u, v], axis=-1)


def transform(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) of the pose's own frame, in the frame that the pose (4, 4) maps into."""
    moved: np.ndarray = np.asarray(points, dtype=float) @ pose[:3, :3].T + pose[:3, 3]
    return moved


def invert(pose: np.ndarray) -> np.ndarray:
    """Inverse of a rigid pose (4, 4)."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def pose_from(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of a rotation (3, 3) and a translation (3,)."""
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = translation
    return pose


def approach_frame(origin: np.ndarray, closing: np.ndarray, approach: np.ndarray) -> np.ndarray:
    """Grasp pose (4, 4): z along `approach` (3,), x along `closing` (3,) made orthogonal to it, y = z x x.

    Raises ValueError when the two directions are parallel or zero.
    """
    z = np.asarray(approach, dtype=float)
    z = z / max(np.linalg.norm(z), 1e-12)
    x = np.asarray(closing, dtype=float) - np.dot(closing, z) * z
    length = np.linalg.norm(x)
    if length < 1e-9:
        raise ValueError(f"closing axis {np.asarray(closing).tolist()} is parallel to approach {np.asarray(approach).tolist()}")
    x = x / length
    return pose_from(np.stack([x, np.cross(z, x), z], axis=1), np.asarray(origin, dtype=float))


def wrap_angle(angle: float) -> float:
    """The same closing axis as an angle in (-pi/2, pi/2]: a jaw is symmetric under half a turn."""
    wrapped = math.remainder(angle, math.pi)
    return wrapped + math.pi if wrapped <= -math.pi / 2 else wrapped


def crop_camera(camera: CameraIntrinsics, u0: float, v0: float) -> CameraIntrinsics:
    """Intrinsics of the image cropped so that pixel (u0, v0) becomes (0, 0)."""
    return CameraIntrinsics(fx=camera.fx, fy=camera.fy, cx=camera.cx - u0, cy=camera.cy - v0)


def resize_camera(camera: CameraIntrinsics, scale_u: float, scale_v: float) -> CameraIntrinsics:
    """Intrinsics of the image resized by the factors; a pixel's centre is at its integer value, its edges at +-0.5."""
    return CameraIntrinsics(
        fx=camera.fx * scale_u,
        fy=camera.fy * scale_v,
        cx=(camera.cx + 0.5) * scale_u - 0.5,
        cy=(camera.cy + 0.5) * scale_v - 0.5,
    )


def look_at(eye: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of a camera at `eye` (3,) whose optical axis meets `target` (3,); `up` (3,) points to the image's top.

    Raises ValueError when `up` is parallel to the viewing direction.
    """
    forward = np.asarray(target, dtype=float) - np.asarray(eye, dtype=float)
    return approach_frame(eye, np.cross(forward, up), forward)
