"""Clouds of points from bytes or arrays, and what is wrong with them. Every function raises only ImageError."""

import numpy as np

from grasp_client.imaging.containers import container_of, npy_in_npz, read_npy
from grasp_client.imaging.limits import DEFAULT_LIMITS, ImageError, ImageLimits
from grasp_client.observation import Observation

MOST_POINTS = 1_000_000
"""Of one cloud: the pixels of three 640 x 480 images."""
FEWEST_POINTS = 16
LARGEST_EXTENT = 50.0
"""m. No cell is larger: a number in other units."""
SMALLEST_EXTENT = 0.002
"""m. Nothing that is smaller is grasped: a number in other units."""
CLOUD_NAMES = ("points", "xyz", "pc", "point_cloud", "arr_0")
"""Of the array that is taken from an npz with several."""


def decode_points(data: bytes, media_type: str | None = None, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """(N, 3) float32 of an npy, or npz, of shape (N, 3) or (H, W, 3); points with NaN or infinity are left out."""
    limits.check_bytes(data)
    container = container_of(data, media_type)
    if container == "npz":
        data, container = npy_in_npz(data, CLOUD_NAMES, limits), "npy"
    if container != "npy":
        raise ImageError(422, "wrong_dtype", f"points came as {container}: expected npy of floats, shape (N, 3)")
    points = points_of(read_npy(data))
    limits.check_pixels(1, len(points))  # a point costs what a pixel does
    return points


def points_of(array: np.ndarray) -> np.ndarray:
    """(N, 3) float32, m, of an array as users have it, finite points alone."""
    if array.dtype.kind != "f":
        hint = "; divide millimetres by 1000" if array.dtype.kind in "iu" else ""
        raise ImageError(422, "wrong_dtype", f"points of type {array.dtype.name} are not accepted: expected floats, m{hint}")
    if array.ndim not in (2, 3) or array.shape[-1] != 3:
        hint = ""
        if array.ndim == 2 and array.shape[0] == 3:
            hint = ": transpose it"
        elif array.ndim == 2 and array.shape[1] in (4, 6):
            hint = ": send the first three columns, colours and labels are not read"
        raise ImageError(422, "wrong_shape", f"points have the shape {array.shape[:4]}; expected (N, 3) or (H, W, 3){hint}")
    flat = array.reshape(-1, 3)
    if len(flat) > MOST_POINTS:
        raise ImageError(413, "too_many_points", f"a cloud has {len(flat)} points, at most {MOST_POINTS} are accepted: thin it")
    with np.errstate(over="ignore", invalid="ignore"):
        points: np.ndarray = flat.astype(np.float32)
        finite = np.isfinite(points).all(1)
    return points if finite.all() else points[finite]


def check_cloud(observation: Observation) -> None:
    """Raises ImageError 422 for a cloud that comes with images, is empty, or plainly has the wrong unit."""
    points = observation.points
    if points is None:
        raise ImageError(422, "no_points", "scene_points came without points: send what may be grasped in the part `points`")
    for name in ("depth", "rgb", "segmask", "goal"):
        if getattr(observation, name) is not None:
            raise ImageError(422, "cloud_and_image", f"points came together with {name}: send a cloud or images, not both")
    if len(points) < FEWEST_POINTS:
        raise ImageError(422, "no_points", f"the cloud has {len(points)} finite points; expected {FEWEST_POINTS} or more, in m")
    extent = float(np.ptp(points[:: max(1, len(points) // 4096)], axis=0).max())
    if not SMALLEST_EXTENT <= extent <= LARGEST_EXTENT:
        what = (
            "are these millimetres?" if extent > LARGEST_EXTENT else "is it in kilometres, or the same point again and again?"
        )
        raise ImageError(422, "wrong_unit", f"the cloud is {extent:.4g} m wide: {what} Send metres")
