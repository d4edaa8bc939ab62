"""Depth image of any camera to a canonical height map seen from above, and back.

Map frame: x along the columns, y along the rows, z down along the approach, origin on the table under the camera. Without a
camera pose the approach is the camera's optical axis; with one it is gravity, whatever the camera's tilt. A height is -z,
metres above that origin. Cells are 2 mm, smaller for small hands, as far as the camera tells more: what a hand sees depends on
neither its camera's distance nor the intrinsics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from grasp_client.contract import CameraIntrinsics, Gripper
from grasp_client.geometry import pose_from
from shared.maps.occlusion import hidden
from shared.maps.resampling import RESOLUTION, Readings, readings_of
from shared.maps.splatting import BELOW, splat
from shared.maps.table_plane import fit_table
from shared.maps.things import Things, find_things

SCALE_WIDTH = 0.08
"""Opening of the jaw whose scale is 1, m."""
SMALLEST_SCALE = 0.0625
LARGEST_SCALE = 1.75
MAX_EXTENT = 1.28
"""Longest side of a map, m: a far wall in the picture must not make a map of ten metres."""
MAX_HEIGHT = 0.6
"""What rises higher above the table than this does not enlarge the map, m."""
OUTSIDE_RISE = 0.015
"""What rises higher above the table than this, beyond the map, is something that was not looked at, m."""
TILT_FREE = math.radians(45)
"""Steepest table when only the image shows it, rad."""
TILT_KNOWN = math.radians(3)
"""Steepest table when gravity is known, up to the error of a camera pose, rad."""
LOWEST, LOWER_SHARE = 0.35, 0.1
"""What lies under the table, m at most, is another surface that things may stand on, if it is this share of what is seen."""
THING_RISE = 0.005
"""What rises less than this over the table is no thing that a jaw is sent for, m."""
AROUND = 0.21
"""What lies so far beside things a jaw that opens 80 mm may meet or look at, m: its far view, and how far it is moved."""


ORIGIN = np.zeros(3)


@dataclass(frozen=True)
class HeightMap:
    """height (H, W) float32: metres above the map's origin, 0 where unknown. known (H, W) bool: a reading fell into the cell.

    upper_bound (H, W) float32: the height, and where it is unknown the greatest height that something hidden there can have.
    unobserved (H, W) bool: unknown without a visible reason, neither hidden by an occluder nor a small hole: anything can be
    there.
    pose (4, 4): map frame to camera frame. corner: map x, y of the centre of cell (0, 0), m. table (2,): slopes a, b of the
    table's height a x + b y; table_share: share of the readings that lie on it (0: assumed);
    table_noise: their standard deviation from it, m. outside: about how many readings rise over the table beyond the map.
    levels (H, W) float32: how far over that table another surface lies that carries what is there, m; None: none does.
    """

    height: np.ndarray
    known: np.ndarray
    upper_bound: np.ndarray
    unobserved: np.ndarray
    pose: np.ndarray
    corner: tuple[float, float]
    table: np.ndarray
    table_share: float
    table_noise: float
    resolution: float = RESOLUTION
    outside: int = 0
    levels: np.ndarray | None = None
    table_map: np.ndarray = field(init=False, repr=False)
    """Height of what carries the things at every cell, (H, W) float32."""

    def __post_init__(self) -> None:
        plane = plane_map(self.table, self.corner, self.height.shape, self.resolution)
        object.__setattr__(self, "table_map", plane if self.levels is None else plane + self.levels)

    @cached_property
    def things(self) -> Things:
        """What stands on the table, told apart as far as heights tell."""
        return find_things(self.upper_bound - self.table_map, self.known, self.corner, self.resolution)


def project(
    depth: np.ndarray,
    camera: CameraIntrinsics,
    camera_pose: np.ndarray | None = None,
    table_depth: float | None = None,
    resolution: float | None = None,
    focus: Sequence[float] | None = None,
    scale: float = 1.0,
    readings: Readings | None = None,
    around: float | None = None,
) -> HeightMap:
    """Height map of a depth image (H, W), m along the optical axis, 0 = no reading.

    camera_pose: (4, 4), camera to a frame whose z points up. table_depth: distance to the table along the optical axis, m.
    resolution: of the map, m; none: what suits a hand of this `scale`. focus: pixels [u0, v0, u1, v1] around which the map lies
    where not all that is seen fits into it. readings: of the image, if they are there already. around: what lies farther
    from all that rises over the table is left out, m. Of several readings in a cell the highest counts. Raises ValueError when
    the image has no reading or the camera looks up.
    """
    rotation = approach_rotation(camera_pose)
    read = readings or readings_of(depth, camera, scale, resolution)
    points, resolution = read.depth, read.resolution
    rays = pixel_rays(rotation, camera, read.u, read.v)
    seen = points > 0
    sample = _sample(points, rays, seen)
    table, share, noise = table_under(sample, rotation, table_depth, TILT_FREE if camera_pose is None else TILT_KNOWN)
    middle = None if focus is None else _middle(points, rays, focus, read.u, read.v)
    box = _extent(sample, table, resolution, middle)
    outside = _outside(sample, table, box, resolution) * int(seen.sum()) // len(sample)
    return map_of(points, rays, seen, box, resolution, rotation, Table(table, share, noise), outside, around=around)


@dataclass(frozen=True)
class Table:
    """What carries the things, in the axes of a map over the viewpoint. plane (3,): a, b and c of the height a x + b y + c, m;
    share of the readings that lie on it (0: assumed), and their standard deviation from it, m."""

    plane: np.ndarray
    share: float
    noise: float


def map_of(
    depth: np.ndarray,
    rays: list[np.ndarray],
    seen: np.ndarray,
    box: tuple[float, float, int, int],
    resolution: float,
    rotation: np.ndarray,
    table: Table,
    outside: int,
    viewpoint: np.ndarray = ORIGIN,
    around: float | None = None,
) -> HeightMap:
    """The map in a box (left, top, columns, rows) of readings where they are `seen`: `depth` times `rays`, in axes of the map
    (rotation: camera frame to these) and relative to the viewpoint (3,) in the camera's frame, m; of it what lies within
    `around`, m, of what rises over the table, if that is given."""
    left, top, columns, rows = box
    foot = float(table.plane[2])
    plane = plane_map(table.plane[:2], (left, top), (rows, columns), resolution)
    things = None if around is None else (around, max(THING_RISE, 4 * table.noise))
    height, known, part = splat(depth, rays, seen, box, resolution, foot, plane, things)
    if things:
        left, top = (resolution * (round(edge / resolution) + at.start) for edge, at in zip(box[:2], part[::-1], strict=True))
        plane = plane[part]
    pose = pose_from(rotation.T, rotation.T @ np.array([0, 0, -foot]) + viewpoint)
    upper_bound, unobserved = hidden(height, known, plane, (left, top), resolution, camera_height=-foot)
    layers = height, known, upper_bound, unobserved
    return HeightMap(*layers, pose, (left, top), table.plane[:2], table.share, table.noise, resolution, outside)


def approach_rotation(camera_pose: np.ndarray | None) -> np.ndarray:
    """Rotation (3, 3), camera frame to map axes. Raises ValueError when the camera looks up."""
    if camera_pose is None:
        return np.eye(3)
    down = -np.asarray(camera_pose, dtype=float)[2, :3]
    if down[2] < math.cos(math.radians(80)):
        raise ValueError(
            "camera_pose: with this pose the camera looks level or upwards, and grasps are planned from above: expected the "
            "camera frame (x right, y down, z forward) mapped to a robot base frame whose z points up. If the matrix is right "
            "and not inverted, plan from a camera that looks down"
        )
    return rotation_along(down)


def rotation_along(direction: np.ndarray) -> np.ndarray:
    """Rotation (3, 3), camera frame to the axes of a map whose z is a unit vector (3,) there."""
    x = np.array([1.0, 0, 0]) - direction[0] * direction
    if np.linalg.norm(x) < 0.2:  # the picture's u runs along it: lay the map along v instead
        x = np.cross(np.array([0, 1.0, 0]), direction)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(direction, x), direction])


def hand_scale(gripper: Gripper) -> float:
    """How large a jaw is, by its opening: 1 for that of the Panda."""
    return min(max(gripper.max_width / SCALE_WIDTH, SMALLEST_SCALE), LARGEST_SCALE)


def pixel_rays(rotation: np.ndarray, camera: CameraIntrinsics, u: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
    """Directions of the pixels' rays in map axes with unit depth: three arrays (rows, columns) float32."""
    along_u, along_v = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    return [
        (axis[0] * along_u + axis[2]).astype(np.float32)[None, :] + (axis[1] * along_v).astype(np.float32)[:, None]
        for axis in rotation
    ]


def _sample(depth: np.ndarray, rays: list[np.ndarray], seen: np.ndarray) -> np.ndarray:
    """About 1,500 of the points, (N, 3) as x, y, height over the camera."""
    step = max(1, int(math.sqrt(seen.sum() / 1500)))
    offset = step // 2
    grid = (slice(offset, None, step), slice(offset, None, step))
    keep = seen[grid]
    if not keep.any():
        grid, keep = (slice(None), slice(None)), seen
    values = depth[grid][keep].astype(float)
    return np.column_stack([values * rays[0][grid][keep], values * rays[1][grid][keep], -values * rays[2][grid][keep]])


def table_under(
    sample: np.ndarray, rotation: np.ndarray, table_depth: float | None, max_tilt: float
) -> tuple[np.ndarray, float, float]:
    """Plane of the table over the camera's foot: given by its distance along the optical axis, else fitted."""
    tolerance = 0.003 + 0.002 * float(np.median(-sample[:, 2]))
    table, share, noise = fit_table(sample, max_tilt, tolerance)
    if table_depth is not None:
        axis = rotation @ np.array([0.0, 0.0, table_depth])
        fitted = table[0] * axis[0] + table[1] * axis[1] + table[2]
        if share == 0 or abs(fitted + axis[2]) > 0.02:  # what was fitted is another plane
            return np.array([0.0, 0.0, -axis[2]]), 0.0, 0.0
        table = np.array([table[0], table[1], table[2] - axis[2] - fitted])
    return table, share, noise


def _middle(
    depth: np.ndarray, rays: list[np.ndarray], focus: Sequence[float], u: np.ndarray, v: np.ndarray
) -> np.ndarray | None:
    """Median (2,) of the points whose pixels lie in `focus`, map axes, m; None where it has no reading."""
    part = np.ix_((v >= focus[1]) & (v <= focus[3]), (u >= focus[0]) & (u <= focus[2]))
    values = depth[part]
    if not (seen := values > 0).any():
        return None
    return np.array([np.median((values * ray[part])[seen]) for ray in rays[:2]])


def _outside(sample: np.ndarray, table: np.ndarray, box: tuple[float, float, int, int], resolution: float) -> int:
    """How many of the points (N, 3) rise over the table beyond the map."""
    x0, y0, columns, rows = box
    above = sample[:, 2] - sample[:, :2] @ table[:2] - table[2]
    beyond = np.any((sample[:, :2] < (x0, y0)) | (sample[:, :2] > (x0 + columns * resolution, y0 + rows * resolution)), axis=1)
    return int(np.count_nonzero(beyond & (above > OUTSIDE_RISE) & (above < MAX_HEIGHT)))


def _extent(
    sample: np.ndarray, table: np.ndarray, resolution: float, middle: np.ndarray | None
) -> tuple[float, float, int, int]:
    """Left and top edge cell centre (on whole multiples of the resolution), columns and rows.

    middle: (2,) of the map where not all fits into it; none: of what is seen.
    """
    above = sample[:, 2] - sample[:, :2] @ table[:2] - table[2]
    lower = np.count_nonzero((above < -BELOW) & (above > -LOWEST)) > LOWER_SHARE * len(above)
    near = sample[(above > (-LOWEST if lower else -BELOW)) & (above < MAX_HEIGHT), :2]
    if len(near) < 4:
        near = sample[:, :2]
    low, high = np.percentile(near, (0.2, 99.8), axis=0)
    low, high = low - 0.02, high + 0.02
    middle = np.median(near, axis=0) if middle is None else middle
    low, high = np.maximum(low, middle - MAX_EXTENT / 2), np.minimum(high, middle + MAX_EXTENT / 2)
    first = np.floor(low / resolution)
    size = np.maximum(np.ceil(high / resolution) - first, 8).astype(int)
    return float(first[0] * resolution), float(first[1] * resolution), int(size[0]), int(size[1])


def plane_map(slopes: np.ndarray, corner: tuple[float, float], shape: tuple[int, ...], resolution: float) -> np.ndarray:
    """Height of a plane through the origin with slopes a, b at every cell of a map (H, W), float32."""
    x = corner[0] + resolution * np.arange(shape[1])
    y = corner[1] + resolution * np.arange(shape[0])
    result: np.ndarray = (slopes[0] * x).astype(np.float32)[None, :] + (slopes[1] * y).astype(np.float32)[:, None]
    return result
