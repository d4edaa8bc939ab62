"""The plane that carries what is seen, at any tilt: found in a few thousand readings, before anything is projected."""

import math
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import CameraIntrinsics

SAMPLE = 3_000
"""Readings that are looked at."""
FEWEST = 50
"""With fewer readings nothing is said of them."""
HYPOTHESES = 64
"""Planes through triples of readings that are tried: where the table is two fifths of them, all miss it once in seventy."""
PLANE_POINTS = 200
LEAST_AREA = 1e-9
"""Of the parallelogram that three readings span, m²: with less they lie on a line."""
TABLE_SHARE = 0.4
"""A plane with a smaller share of the readings may be the side of something."""
MAX_STEEPNESS = math.radians(45)
"""Steeper than this the image plane says nothing of where down is."""


@dataclass(frozen=True)
class Plane:
    """normal (3,) towards the camera and distance: points p of it have normal . p = -distance, camera frame, m.

    share: of the readings that lie on it. steepness: its angle with the image plane, rad.
    """

    normal: np.ndarray
    distance: float
    share: float
    steepness: float


def thinned(image: np.ndarray) -> np.ndarray:
    """About SAMPLE pixels of an image (H, W, ...), every n-th along both axes; a view."""
    step = _step(image)
    return image[step // 2 :: step, step // 2 :: step]


def surface(depth: np.ndarray, camera: CameraIntrinsics | None) -> tuple[np.ndarray, Plane | None]:
    """Every n-th reading along both axes, m, 0 where there is none, and the plane on which most of them lie.

    The plane is None without a camera, or where too few readings, or none but those on a line, tell of it.
    """
    points = np.empty((0, 3)) if camera is None else thinned_points(depth, camera)
    return thinned(depth), dominant_plane(points) if len(points) >= FEWEST else None


def thinned_points(depth: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """About SAMPLE points (N, 3) of a depth image (H, W), m, camera frame."""
    step, few = _step(depth), thinned(depth)
    v, u = np.nonzero(few > 0)
    z = few[v, u].astype(float)
    x = (u * step + step // 2 - camera.cx) * z / camera.fx
    y = (v * step + step // 2 - camera.cy) * z / camera.fy
    return np.column_stack([x, y, z])


def _step(image: np.ndarray) -> int:
    return max(1, math.isqrt(image.shape[0] * image.shape[1] // SAMPLE))


def dominant_plane(points: np.ndarray) -> Plane | None:
    """The plane with most of the points (N, 3), m, near it, repeatable; None where all of them lie on a line.

    Method: RANSAC (Fischler and Bolles 1981).
    """
    rng = np.random.default_rng(0)
    few = points[rng.integers(0, len(points), PLANE_POINTS)] if len(points) > PLANE_POINTS else points
    a, b, c = few[rng.integers(0, len(few), (3, HYPOTHESES))]
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    if lengths.max() <= LEAST_AREA:
        return None
    normals /= np.where(lengths > LEAST_AREA, lengths, np.inf)[:, None]
    tolerance = 0.003 + 0.004 * few[:, 2]
    near = np.abs(few @ normals.T - np.einsum("ij,ij->i", normals, a)) < tolerance[:, None]
    near[:, lengths <= LEAST_AREA] = False
    best = few[near[:, int(near.sum(0).argmax())]]
    for _ in range(2):  # to the least squares of what is near
        middle = best.mean(0)
        normal = np.linalg.svd(best - middle, full_matrices=False)[2][2]
        best = few[np.abs((few - middle) @ normal) < tolerance]
        if len(best) < 3:
            break
    if normal @ middle > 0:
        normal = -normal
    steepness = math.acos(min(1.0, abs(float(normal[2]))))
    return Plane(normal, float(-normal @ middle), len(best) / len(few), steepness)


def guessed_pose(depth: np.ndarray, camera: CameraIntrinsics) -> np.ndarray | None:
    """Camera to a frame whose z points up, (4, 4), if what is seen lies on a plane too steep for the image plane to be level.

    None where the image plane serves: no large plane is seen, or one within MAX_STEEPNESS.
    """
    _, plane = surface(depth, camera)
    if plane is None or plane.share < TABLE_SHARE or not MAX_STEEPNESS < plane.steepness < math.radians(80):
        return None
    up = plane.normal
    along = np.cross(up, [0.0, 0.0, 1.0])
    along /= np.linalg.norm(along)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([along, np.cross(up, along), up])
    return pose
