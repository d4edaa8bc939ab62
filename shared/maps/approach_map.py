"""Height maps along any approach, of one cloud of points: what a hand that comes that way would hold and hit.

`project_along(cloud, direction)` is the pure projection, for depth images and point clouds alike: build a `SceneCloud` with
`cloud_of` from points, a viewpoint and the direction of gravity, or with `depth_cloud` from a depth image.

The table is fitted once, along gravity, and stands in every map as it leans there. A map is as large as the things and what a
hand may meet around them; of all that lies on the way in the nearest to the hand counts, so that a wall or a ceiling in the way
is an obstacle like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grasp_client.contract import CameraIntrinsics
from shared.maps.heightmap import (
    MAX_EXTENT,
    MAX_HEIGHT,
    ORIGIN,
    TILT_KNOWN,
    HeightMap,
    Table,
    map_of,
    rotation_along,
    table_under,
)
from shared.maps.resampling import Readings, readings_of

MARGIN = 0.13
"""What lies so far beside the things a hand may meet, m."""
RISE = 0.010
"""What rises higher over the table belongs to a thing, m."""
FARTHER = 0.005
"""The same grows by this share of the distance, as the error of a table seen at a grazing angle does."""
SAMPLE = 24_000
"""Points that tell where the things lie."""
COMPANY, NEAR = 4, 0.04
"""Those of things, where many are looked at, lie at least so many together within a cell so wide, m; others are noise, of
which a table that is seen from afar has some everywhere."""
LEVEL = math.radians(75)
"""A camera that leans more than this from straight down does not see things from above."""
STEEPEST = math.radians(80)
"""An approach that leans more from the table's normal sees a table that leans by this: along it the table has no height."""
BEHIND = math.radians(80)
"""An approach that leans more from the way to what the camera looks at sees only what the camera does not."""


@dataclass(frozen=True)
class Support:
    """Plane that carries the things: normal (3,) against gravity, and distance, m: its points p have normal . p = -distance.

    share: of the readings that lie on it (0: assumed). noise: their standard deviation from it, m.
    """

    normal: np.ndarray
    distance: float
    share: float
    noise: float

    def under(self, position: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Least height (N,) over it, m, of plates round positions (N, 3) that reach half axes (N, 2, 3) to both sides, m."""
        reach = np.abs(half @ self.normal).sum(1)
        result: np.ndarray = self.rise(position) - reach
        return result

    def rise(self, points: np.ndarray) -> np.ndarray:
        """How far (N,) points (N, 3) lie over it, m."""
        result: np.ndarray = points @ self.normal.astype(points.dtype) + points.dtype.type(self.distance)
        return result


@dataclass(frozen=True)
class SceneCloud:
    """points (N, 3) float32 and the viewpoint (3,) from which they were seen, m, in the camera's frame. things (M, 3): those
    round which maps lie. resolution: of the maps, m. margin: round the things, m."""

    points: np.ndarray
    viewpoint: np.ndarray
    support: Support
    things: np.ndarray
    resolution: float
    margin: float

    @cached_property
    def middle(self) -> np.ndarray:
        """(3,): of the things, m."""
        result: np.ndarray = np.median(self.things, axis=0)
        return result

    @cached_property
    def rising(self) -> tuple[np.ndarray, int]:
        """Points (N, 3) that rise over the support, m, and one of how many they are."""
        step = max(1, len(self.points) // SAMPLE)
        some = self.points[::step]
        rise = self.support.rise(some)
        return some[(rise > RISE) & (rise < MAX_HEIGHT)], step


def support_of(map: HeightMap) -> Support:
    """The table of a height map along gravity, in the camera's frame."""
    normal = np.array([-map.table[0], -map.table[1], -1.0])
    normal = map.pose[:3, :3] @ (normal / np.linalg.norm(normal))
    return Support(normal, -float(normal @ map.pose[:3, 3]), map.table_share, map.table_noise)


def find_support(points: np.ndarray, viewpoint: np.ndarray, up: np.ndarray, table_depth: float | None = None) -> Support:
    """The plane under points (N, 3), m, that lies level, up to the error of a pose, where `up` (3,) points against gravity."""
    rotation = rotation_along(-up)
    step = max(1, len(points) // 1500)
    sample = (points[step // 2 :: step].astype(float) - viewpoint) @ rotation.T * (1.0, 1.0, -1.0)
    (a, b, c), share, noise = table_under(sample, rotation, table_depth, TILT_KNOWN)
    length = math.sqrt(1 + a * a + b * b)
    normal = rotation.T @ np.array([-a, -b, -1.0]) / length
    return Support(normal, -c / length - float(normal @ viewpoint), share, noise)


def cloud_of(
    points: np.ndarray,
    viewpoint: np.ndarray,
    support: Support,
    resolution: float,
    scale: float = 1.0,
    wanted: np.ndarray | None = None,
) -> SceneCloud:
    """A cloud of points (N, 3) float32 seen from a viewpoint (3,), m, in one frame. scale: of the hand. wanted (M, 3): points
    of what is to be grasped; none: all that rises over the support."""
    step = max(1, len(points) // SAMPLE) if wanted is None or not len(wanted) else 0
    some = points[::step] if step else wanted
    assert some is not None
    rise, away = support.rise(some), np.linalg.norm(some - viewpoint.astype(some.dtype), axis=1)
    things = some[(rise > RISE + 4 * support.noise + FARTHER * away) & (rise < MAX_HEIGHT)]
    if step > 1:
        things = things[_in_company(things)]
    margin = max(MARGIN * scale, 0.5 * MARGIN)
    return SceneCloud(points, viewpoint, support, things if len(things) >= 4 else some, resolution, margin)


def _in_company(points: np.ndarray) -> np.ndarray:
    """Which points (N, 3) lie in cells with COMPANY of them, of one of two lattices that lie half a cell beside each other."""
    together = np.zeros(len(points), bool)
    for shift in (0.0, 0.5):
        cell = np.floor(points / NEAR + shift).astype(np.int64)
        _, place, count = np.unique(cell @ (1, 2**20, 2**40), return_inverse=True, return_counts=True)
        together |= count[place] >= COMPANY
    return together


def depth_cloud(
    depth: np.ndarray,
    camera: CameraIntrinsics,
    support: Support | None = None,
    up: np.ndarray | None = None,
    table_depth: float | None = None,
    scale: float = 1.0,
    wanted: np.ndarray | None = None,
    readings: Readings | None = None,
) -> SceneCloud:
    """The cloud of a depth image (H, W), m, 0 = no reading. Either the support is given, or `up` (3,) against gravity, camera
    frame. wanted (H, W) bool: pixels of what is to be grasped. readings: of the
    image, if they are there already. Raises ValueError when the image has no reading."""
    read = readings or readings_of(depth, camera, scale)
    # By coordinates, as they are turned: one after the other is several times faster.
    grid = np.empty((3, *read.depth.shape), np.float32)
    np.multiply(read.depth, ((read.u - camera.cx) / camera.fx).astype(np.float32), out=grid[0])
    np.multiply(read.depth, ((read.v - camera.cy) / camera.fy).astype(np.float32)[:, None], out=grid[1])
    grid[2] = read.depth
    seen = read.depth > 0
    points = (grid.reshape(3, -1) if seen.all() else grid.reshape(3, -1).take(np.flatnonzero(seen), axis=1)).T
    if support is None:
        assert up is not None
        support = find_support(points, ORIGIN, up, table_depth)
    if wanted is not None:
        rows, columns = wanted.shape
        row, column = (np.rint(at).astype(int).clip(0, most - 1) for at, most in ((read.v, rows), (read.u, columns)))
        wanted = grid[:, seen & wanted[np.ix_(row, column)]].T
    return cloud_of(points, ORIGIN, support, read.resolution, scale, wanted)


def project_along(cloud: SceneCloud, direction: np.ndarray) -> HeightMap:
    """Height map of the cloud seen along an approach (3,), a unit vector in its frame.

    Raises ValueError for an approach from behind what is seen, or out of the table.
    """
    if not approachable(cloud, direction):
        raise ValueError("approach: expected a direction that comes from the camera's side, and from above the table")
    rotation = rotation_along(direction)
    normal = rotation @ _leaning_at_most(cloud.support.normal, direction)
    # The support through a point of it under the things, so that one that is seen to lean less serves where things are.
    foot = cloud.middle - cloud.support.rise(cloud.middle[None])[0] * cloud.support.normal - cloud.viewpoint
    slopes = normal[:2] / normal[2]
    x, y, z = rotation @ foot
    plane = np.array([*slopes, -z - slopes @ (x, y)])
    noise = cloud.support.noise / abs(float(normal[2]))
    box, outside = _window(cloud, rotation)
    table = Table(plane, cloud.support.share, noise)
    return map_of(*_over(cloud, rotation, box), box, cloud.resolution, rotation, table, outside, cloud.viewpoint)


def _over(
    cloud: SceneCloud, rotation: np.ndarray, box: tuple[float, float, int, int]
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """The points over the box of a map, as `map_of` takes them."""
    turn, (x0, y0, z0) = rotation.astype(np.float32), rotation @ cloud.viewpoint
    points = cloud.points.T
    x, y = turn[0] @ points, turn[1] @ points
    left, top, columns, rows = box
    left, top, right, bottom = left + x0, top + y0, left + x0 + columns * cloud.resolution, top + y0 + rows * cloud.resolution
    over = np.flatnonzero((x > left - cloud.resolution) & (x < right) & (y > top - cloud.resolution) & (y < bottom))
    axes = [x.take(over), y.take(over), turn[2] @ points.take(over, axis=1)]
    for axis, start in zip(axes, (x0, y0, z0), strict=True):
        axis -= np.float32(start)
    return np.ones(1, np.float32), axes, np.ones(len(over), bool)


def approachable(cloud: SceneCloud, direction: np.ndarray) -> bool:
    """Whether an approach (3,) comes from where the things are seen from, and not out of the table."""
    sight = cloud.middle - cloud.viewpoint
    length = float(np.linalg.norm(sight))
    return float(direction @ sight) > math.cos(BEHIND) * length and float(direction @ cloud.support.normal) < 1e-3


def _leaning_at_most(normal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The normal (3,), bent back against the approach where it leans more than STEEPEST from that."""
    along = -float(normal @ direction)
    if along >= math.cos(STEEPEST):
        return normal
    across = normal + along * direction
    result: np.ndarray = math.sin(STEEPEST) * across / np.linalg.norm(across) - math.cos(STEEPEST) * direction
    return result


def _window(cloud: SceneCloud, rotation: np.ndarray) -> tuple[tuple[float, float, int, int], int]:
    """Left and top edge, m, columns and rows of the map round the things, and about how many points rise beyond it."""
    axes = rotation[:2].T
    seen = rotation[:2] @ (cloud.things - cloud.viewpoint).T
    low, middle, high = np.percentile(seen, (0.2, 50.0, 99.8), axis=1)
    low = np.maximum(low - cloud.margin, middle - MAX_EXTENT / 2)
    high = np.minimum(high + cloud.margin, middle + MAX_EXTENT / 2)
    first = np.floor(low / cloud.resolution)
    size = np.maximum(np.ceil(high / cloud.resolution) - first, 8).astype(int)
    low = first * cloud.resolution
    rising, step = cloud.rising
    place = (rising - cloud.viewpoint) @ axes
    beyond = np.any((place < low) | (place > low + size * cloud.resolution), axis=1)
    return (float(low[0]), float(low[1]), int(size[0]), int(size[1])), step * int(np.count_nonzero(beyond))
