"""The plane that carries what is seen, at any tilt: found in a few thousand readings, before anything is projected."""

import math
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import CameraIntrinsics
from shared.maps.heightmap import rotation_along

SAMPLE = 1_000
"""Readings that are looked at."""
FEWEST = 50
"""With fewer readings nothing is said of them."""
HYPOTHESES = 64
"""Planes through triples of readings that are tried: where the table is two fifths of them, all miss it once in seventy."""
PLANE_POINTS = 200
LEAST_AREA = 1e-9
"""Of the parallelogram that three readings span, m²: with less they lie on a line."""
LEAST_SPREAD = 1e-10
"""m². Readings whose second largest variance is smaller lie on a line."""
TABLE_SHARE = 0.4
"""A plane with a smaller share of the readings may be the side of something."""
MAX_STEEPNESS = math.radians(45)
"""Steeper than this the image plane says nothing of where down is."""
OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])
# Drawn once, as fractions of however many there are: a generator takes longer than a draw.
_CHOICE, _TRIPLES = (np.random.default_rng(0).random(shape) for shape in (PLANE_POINTS, (3, HYPOTHESES)))


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


def surface(
    depth: np.ndarray, camera: CameraIntrinsics | None, likely: np.ndarray = OPTICAL_AXIS
) -> tuple[np.ndarray, Plane | None]:
    """Every n-th reading of an image (H, W), m, along both axes, 0 where there is none; the plane that carries most of them.

    likely: a normal, (3,), that is tried first. The plane is None without a camera, or where too few readings, or none but
    those on a line, tell of it.
    """
    few = thinned(depth)
    points = None if camera is None else _points(few, _step(depth), camera, PLANE_POINTS)
    return few, None if points is None else dominant_plane(points, likely)


def dominant_plane(points: np.ndarray, likely: np.ndarray) -> Plane | None:
    """The plane with most of the points (3, N), m, near it, repeatable; None where all of them lie on a line.

    likely: a unit normal, (3,), that is tried first: where most of the points lie on a plane of it, no other has more, and that
    is answered as it is. Method: RANSAC (Fischler and Bolles 1981).
    """
    tolerance = 0.003 + 0.004 * points[2]
    heights = likely @ points
    middle_height = np.partition(heights, len(heights) // 2)[len(heights) // 2]
    near = np.abs(heights - middle_height) < tolerance
    if 2 * np.count_nonzero(near) > len(near):
        return _plane(likely, middle_height, near)
    corners = points[:, (_TRIPLES * points.shape[1]).astype(int)]
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normals = one[[1, 2, 0]] * other[[2, 0, 1]] - one[[2, 0, 1]] * other[[1, 2, 0]]
    lengths = np.sqrt((normals * normals).sum(0))
    if lengths.max() <= LEAST_AREA:
        return None
    lengths[lengths <= LEAST_AREA] = 0.0  # nothing is nearer than that
    offsets = (normals * corners[:, 0]).sum(0)
    all_near = np.abs(normals.T @ points - offsets[:, None]) < tolerance * lengths[:, None]
    near = all_near[np.count_nonzero(all_near, axis=1).argmax()]
    normal, height = likely, middle_height
    for _ in range(2):  # to the least squares of what is near
        best = points[:, near]
        middle = best.mean(1)
        best -= middle[:, None]
        axis = _least_axis(best @ best.T / best.shape[1])
        if axis is None:
            return None
        normal, height = axis, float(axis @ middle)
        near = np.abs(normal @ points - height) < tolerance
        if np.count_nonzero(near) < 3:
            break
    return _plane(normal, height, near)


def _plane(normal: np.ndarray, height: float, near: np.ndarray) -> Plane:
    """The plane of the points with normal . p = height, on which those lie that are near."""
    if height > 0:
        normal, height = -normal, -height
    steepness = math.acos(min(1.0, abs(float(normal[2]))))
    return Plane(normal, -height, np.count_nonzero(near) / len(near), steepness)


def _least_axis(spread: np.ndarray) -> np.ndarray | None:
    """Unit vector along which a covariance (3, 3) is least; None where it is hardly more along a second one.

    The adjugate's largest column: eigenvectors of the covariance have the products of the other two variances there.
    """
    (a, b, c), (_, d, e), (_, _, f) = spread.tolist()
    columns = ((d * f - e * e, c * e - b * f, b * e - c * d), (c * e - b * f, a * f - c * c, b * c - a * e),
               (b * e - c * d, b * c - a * e, a * d - b * b))  # fmt: skip
    k = max(range(3), key=lambda k: columns[k][k])
    length = math.hypot(*columns[k])
    return None if length <= LEAST_SPREAD * (a + d + f) else np.array(columns[k]) / length


def thinned_points(depth: np.ndarray, camera: CameraIntrinsics) -> np.ndarray | None:
    """About SAMPLE points of an image (H, W), m, as (3, N), camera frame; None for fewer than FEWEST readings."""
    return _points(thinned(depth), _step(depth), camera)


def _points(few: np.ndarray, step: int, camera: CameraIntrinsics, most: int | None = None) -> np.ndarray | None:
    """Points of a thinned image, (3, N), m, camera frame, all of them or PLANE_POINTS; None for fewer than FEWEST readings."""
    seen = np.flatnonzero(few > 0)
    if len(seen) < FEWEST:
        return None
    if most is not None and len(seen) > most:
        seen = seen[(_CHOICE * len(seen)).astype(int)]
    v, u = np.divmod(seen, few.shape[1])
    z = few[v, u].astype(float)
    points = np.empty((3, len(z)))
    points[0] = (u * step + step // 2 - camera.cx) * z / camera.fx
    points[1] = (v * step + step // 2 - camera.cy) * z / camera.fy
    points[2] = z
    return points


def _step(image: np.ndarray) -> int:
    return max(1, math.isqrt(image.shape[0] * image.shape[1] // SAMPLE))


def guessed_pose(depth: np.ndarray, camera: CameraIntrinsics) -> np.ndarray | None:
    """Camera to a frame whose z points up, (4, 4), if what is seen lies on a plane too steep for the image plane to be level.

    None where the image plane serves: no large plane is seen, or one within MAX_STEEPNESS.
    """
    _, plane = surface(depth, camera)
    if plane is None or plane.share < TABLE_SHARE or not MAX_STEEPNESS < plane.steepness < math.radians(80):
        return None
    return level_pose(plane.normal)


def level_pose(up: np.ndarray) -> np.ndarray:
    """Camera to a frame whose z points along `up` (3,), (4, 4)."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_along(-up) * [[1.0], [-1.0], [-1.0]]
    return pose
