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

import cv2
import numpy as np

from grasp_client.contract import CameraIntrinsics, Gripper
from grasp_client.geometry import pose_from
from shared.maps.occlusion import UNSEEN, hidden
from shared.maps.table_plane import fit_table
from shared.maps.things import Things, find_things

RESOLUTION = 0.002
"""Side of a cell for a jaw that opens as wide as that of the Panda, m."""
FINEST = 0.0002
COARSEST = 0.004
LEAST_PIXELS = 0.5
"""A cell is at least so many pixels wide: finer ones would tell nothing more."""
MOST_CELLS = 1200
"""Cells of a small hand along the longer side of the picture."""
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
JUMP = 0.008
"""Neighbouring readings that differ by more lie on two surfaces, m."""
JUMP_NOISE = 0.02
"""The same by noise, which grows with the square of the distance, 1/m: four deviations of an active stereo camera's."""
STEP_GROWTH = 1.6
"""A step of a smeared edge grows less from a window of three pixels to one of five: that of a steep side doubles."""
BETWEEN = 0.15
"""What lies this share of a step from both of its surfaces is smeared."""
COMPANY = 5
"""A hole of one pixel with so many readings around it is filled by their median."""
MAX_POINTS = 4_000_000
"""An image is interpolated to at most this many points: a wide lens on a large sensor must not take gigabytes."""
TILT_FREE = math.radians(45)
"""Steepest table when only the image shows it, rad."""
TILT_KNOWN = math.radians(3)
"""Steepest table when gravity is known, up to the error of a camera pose, rad."""
SPECK_RISE = 0.01
"""A reading this far above its surroundings may be a speck, m."""
SPECK_COMPANY = 5
"""It is, with fewer such readings among the 24 cells around it."""
SLENDER = 10
"""A piece that rises this many times higher above the table than its side is long is an echo, not an object."""


@dataclass(frozen=True)
class HeightMap:
    """height (H, W) float32: metres above the map's origin, 0 where unknown. known (H, W) bool: a reading fell into the cell.

    upper_bound (H, W) float32: the height, and where it is unknown the greatest height that something hidden there can have.
    unobserved (H, W) bool: unknown without a visible reason, neither hidden by an occluder nor a small hole: anything can be
    there.
    pose (4, 4): map frame to camera frame. corner: map x, y of the centre of cell (0, 0), m. table (2,): slopes a, b of the
    table's height a x + b y; table_share: share of the readings that lie on it (0: assumed);
    table_noise: their standard deviation from it, m. outside: about how many readings rise over the table beyond the map.
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
    table_map: np.ndarray = field(init=False, repr=False)
    """Height of the table at every cell, (H, W) float32."""

    def __post_init__(self) -> None:
        plane = _plane(self.table, self.corner, self.height.shape, self.resolution)
        object.__setattr__(self, "table_map", plane)

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
) -> HeightMap:
    """Height map of a depth image (H, W), m along the optical axis, 0 = no reading.

    camera_pose: (4, 4), camera to a frame whose z points up. table_depth: distance to the table along the optical axis, m.
    resolution: of the map, m; none: what suits a hand of this `scale`. focus: pixels [u0, v0, u1, v1] around which the map lies
    where not all that is seen fits into it. Of several readings in a cell the highest counts. Raises ValueError when the image
    has no reading or the camera looks up.
    """
    rotation = approach_rotation(camera_pose)
    distance = _typical_distance(depth)
    pitch = distance / min(camera.fx, camera.fy)
    if resolution is None:
        resolution = _resolution(scale, pitch, max(depth.shape))
    points, u, v = _resample(depth, distance, pitch, resolution)
    rays = _rays(rotation, camera, u, v)
    seen = points > 0
    if not seen.any():
        raise ValueError(
            f"at the focal length {camera.fx:g} x {camera.fy:g} the image shows only a few millimetres: `camera` must be in "
            "pixels of the sent image"
        )
    sample = _sample(points, rays, seen)
    table, share, noise = _table(sample, rotation, table_depth, TILT_FREE if camera_pose is None else TILT_KNOWN)
    middle = None if focus is None else _middle(points, rays, focus, u, v)
    x0, y0, columns, rows = _extent(sample, table, resolution, middle)
    height, known = _splat(points, rays, seen, (x0, y0, columns, rows), resolution)
    # Heights relative to the table under the camera: planners and networks see the same numbers from every distance.
    height -= np.float32(table[2])
    height[~known] = 0
    _close_gaps(height, known)
    plane = _plane(table[:2], (x0, y0), height.shape, resolution)
    _drop_specks(height, known, plane, resolution)
    pose = pose_from(rotation.T, rotation.T @ np.array([0, 0, -table[2]]))
    upper_bound, unobserved = hidden(height, known, plane, (x0, y0), resolution, camera_height=-float(table[2]))
    outside = _outside(sample, table, (x0, y0, columns, rows), resolution) * int(seen.sum()) // len(sample)
    return HeightMap(height, known, upper_bound, unobserved, pose, (x0, y0), table[:2], share, noise, resolution, outside)


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
    x = np.array([1.0, 0, 0]) - down[0] * down
    if np.linalg.norm(x) < 0.2:  # the picture's u runs along gravity: lay the map along v instead
        x = np.cross(np.array([0, 1.0, 0]), down)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(down, x), down])


def hand_scale(gripper: Gripper) -> float:
    """How large a jaw is, by its opening: 1 for that of the Panda."""
    return min(max(gripper.max_width / SCALE_WIDTH, SMALLEST_SCALE), LARGEST_SCALE)


def _resolution(scale: float, pitch: float, side: int) -> float:
    """Side of a cell for a hand of this scale, m, in a picture of so many pixels with this distance between them, m."""
    least = max(FINEST, LEAST_PIXELS * pitch, pitch * side / MOST_CELLS if scale < 1 else 0.0)
    return min(max(RESOLUTION * min(scale, 1.0), least), COARSEST)


def _typical_distance(depth: np.ndarray) -> float:
    """Median of the readings, m. Raises ValueError without one."""
    rows, columns = depth.shape
    coarse = depth[:: max(1, rows // 64), :: max(1, columns // 64)]
    if not (coarse > 0).any():
        coarse = depth
    if not (coarse > 0).any():
        raise ValueError("the depth image has no reading: every pixel is 0")
    return float(np.median(coarse[coarse > 0]))


def _resample(depth: np.ndarray, distance: float, pitch: float, resolution: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image with 1.3 to 3 pixels to a cell, so that cells neither stay empty nor cost for nothing, and its u and v axes.

    Between readings of one surface it is interpolated, at a jump in depth the nearest reading is taken. distance: of what is
    seen, pitch: between its pixels, m.
    """
    depth = np.ascontiguousarray(depth, dtype=np.float32)
    rows, columns = depth.shape
    skip = max(1, int(0.7 * resolution / pitch))
    half = skip // 2
    depth = depth[half::skip, half::skip]
    if depth.size:  # of a focal length in another unit nothing is left, which the caller explains
        depth = _sharpened(depth, max(JUMP, 4 * skip * pitch, JUMP_NOISE * distance**2))
    if skip > 1:
        return depth, np.arange(half, columns, skip), np.arange(half, rows, skip)
    factor = max(1, min(8, math.ceil(pitch / (0.75 * resolution)), math.isqrt(MAX_POINTS // (rows * columns))))
    u = (np.arange(columns * factor) + 0.5) / factor - 0.5
    v = (np.arange(rows * factor) + 0.5) / factor - 0.5
    if factor == 1:
        return depth, u, v
    kernel = np.ones((3, 3), np.uint8)
    smooth = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) < max(0.005, 4 * pitch)
    size = (columns * factor, rows * factor)
    nearest = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
    linear = cv2.resize(depth, size, interpolation=cv2.INTER_LINEAR)
    return np.where(cv2.resize(smooth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0, linear, nearest), u, v


def _sharpened(depth: np.ndarray, jump: float) -> np.ndarray:
    """A depth image (H, W), m, without readings between two surfaces that are more than `jump` m apart, and without lone holes.

    Lenses and matching windows smear an edge over its neighbours, which makes things wider than they are. A smeared reading is
    given to the nearer of the two surfaces: morphological toggle contrast (Kramer and Bruckner 1975).
    """
    kernel = np.ones((3, 3), np.uint8)
    holes = depth == 0
    holed = bool(holes.any())
    farthest = cv2.dilate(depth, kernel)
    nearest = cv2.erode(np.where(holes, np.float32(np.inf), depth) if holed else depth, kernel)
    sharp = depth.copy()
    edge = np.flatnonzero((farthest - nearest > jump) & ~holes)
    if len(edge):
        # Over a wider window a step stays as it is, and a steep side grows with the window.
        wider = (cv2.dilate(farthest, kernel).ravel()[edge], cv2.erode(nearest, kernel).ravel()[edge])
        here, far, near = (layer.ravel()[edge] for layer in (depth, farthest, nearest))
        step = far - near
        smeared = (wider[0] - wider[1] < STEP_GROWTH * step) & (np.minimum(far - here, here - near) > BETWEEN * step)
        sharp.ravel()[edge[smeared]] = np.where(2 * here > far + near, far, near)[smeared]
    if holed:
        company = cv2.boxFilter(1 - holes.view(np.uint8), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        row, column = np.divmod(np.flatnonzero(holes & (company >= COMPANY)), depth.shape[1])
        around = np.pad(sharp, 1)
        beside = np.sort([around[row + i, column + j] for i in range(3) for j in range(3)], axis=0)
        # Of nine, sorted, the holes come first: the median of the others lies in their middle.
        count = np.count_nonzero(beside, axis=0)
        lower, upper = 9 - count + (count - 1) // 2, 9 - count + count // 2
        place = np.arange(len(row))
        sharp[row, column] = 0.5 * (beside[lower, place] + beside[upper, place])
    return sharp


def _rays(rotation: np.ndarray, camera: CameraIntrinsics, u: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
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


def _table(
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
    near = sample[(above > -0.05) & (above < MAX_HEIGHT), :2]
    if len(near) < 4:
        near = sample[:, :2]
    low, high = np.percentile(near, (0.2, 99.8), axis=0)
    low, high = low - 0.02, high + 0.02
    middle = np.median(near, axis=0) if middle is None else middle
    low, high = np.maximum(low, middle - MAX_EXTENT / 2), np.minimum(high, middle + MAX_EXTENT / 2)
    first = np.floor(low / resolution)
    size = np.maximum(np.ceil(high / resolution) - first, 8).astype(int)
    return float(first[0] * resolution), float(first[1] * resolution), int(size[0]), int(size[1])


def _splat(
    depth: np.ndarray, rays: list[np.ndarray], seen: np.ndarray, box: tuple[float, float, int, int], resolution: float
) -> tuple[np.ndarray, np.ndarray]:
    """Highest reading per cell, relative to the camera, and where there is one."""
    x0, y0, columns, rows = box
    scaled = depth * np.float32(1 / resolution)
    with np.errstate(invalid="ignore"):  # with a wild focal length a point lies farther away than an integer counts: outside
        column = np.rint(scaled * rays[0] - np.float32(x0 / resolution)).astype(np.int32)
        row = np.rint(scaled * rays[1] - np.float32(y0 / resolution)).astype(np.int32)
    # As unsigned numbers what is negative is large.
    inside = seen & (column.view(np.uint32) < columns) & (row.view(np.uint32) < rows)
    # What lies outside goes into a cell of its own, which costs less than to leave it out.
    place = np.where(inside, row * np.int32(columns) + column, np.int32(rows * columns))
    cells = np.full(rows * columns + 1, UNSEEN, np.float32)
    np.maximum.at(cells, place.ravel(), (-depth * rays[2]).ravel())
    height = cells[:-1].reshape(rows, columns)
    return height, height > UNSEEN


def _plane(slopes: np.ndarray, corner: tuple[float, float], shape: tuple[int, ...], resolution: float) -> np.ndarray:
    """Height of a plane through the origin with slopes a, b at every cell of a map (H, W), float32."""
    x = corner[0] + resolution * np.arange(shape[1])
    y = corner[1] + resolution * np.arange(shape[0])
    result: np.ndarray = (slopes[0] * x).astype(np.float32)[None, :] + (slopes[1] * y).astype(np.float32)[:, None]
    return result


def _close_gaps(height: np.ndarray, known: np.ndarray) -> None:
    """Fill, in place, single empty cells between two readings of one surface: gaps between splats, not holes."""
    width = height.shape[1] + 2
    h = np.pad(np.where(known, height, np.nan), 1, constant_values=np.nan).ravel()  # nothing is near to nan
    row, column = np.nonzero(~known & (cv2.dilate(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0))
    for step in (1, width, width + 1, width - 1):
        cell = (row + 1) * width + column + 1
        first, second = h[cell + step], h[cell - step]
        close = np.abs(first - second) < 0.01
        height[row[close], column[close]] = (0.5 * (first + second))[close]
        known[row[close], column[close]] = True
        row, column = row[~close], column[~close]


def _drop_specks(height: np.ndarray, known: np.ndarray, table: np.ndarray, resolution: float) -> None:
    """Take out, in place, readings that stand alone: pixels that fly between surfaces, and false echoes.

    height, table: (H, W), m. A lone reading has too few others of its level around it; an echo is too slender for its height.
    """
    raised = np.where(known, height, table)
    alone = known & (raised - cv2.morphologyEx(raised, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > SPECK_RISE)
    row, column = np.nonzero(alone)
    if len(row):
        around = np.pad(raised, 2, constant_values=UNSEEN)
        level = raised[row, column] - SPECK_RISE
        company = sum((around[row + i, column + j] > level).astype(int) for i in range(5) for j in range(5)) - 1
        speck = company < SPECK_COMPANY
        known[row[speck], column[speck]] = False
    peak = float((raised - table).max())
    for rise in (0.06, 0.12, 0.24):
        if peak <= rise or not (tall := known & (height > table + rise)).any():
            break
        above = (known & (height > table + 0.75 * rise)).astype(np.uint8)
        left, top, width, length = cv2.boundingRect(above)
        box = (slice(top, top + length), slice(left, left + width))
        _, piece, size, _ = cv2.connectedComponentsWithStats(above[box])
        echo = np.zeros(len(size), bool)
        echo[piece[tall[box]]] = True
        echo &= size[:, cv2.CC_STAT_AREA] < (rise / SLENDER / resolution) ** 2
        if echo.any():
            known[box] &= ~echo[piece]
    height[~known] = 0
