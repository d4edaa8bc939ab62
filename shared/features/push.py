"""What a push of a closed hand does to the scene around a goal, as numbers: what the value of pushes is predicted from.

Server and trainer compute them with the same code, of the same height map. The frame of a push lies in the map: origin at the
start of the closed fingertips, `along` the push, `across` it to the right as seen from above (from map x to map y).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from grasp_client.contract import CameraIntrinsics, Gripper, Push
from grasp_client.geometry import invert
from shared.maps.heightmap import HeightMap
from shared.maps.things import CLIFF, RISE

STEP = 0.004
"""Cells of the map are looked at this far apart, m."""
LINE = 0.006
"""Lines along a push on which is told what it meets first lie this far apart, m: no line falls between two cells."""
RING = 0.025
"""So near to the goal is what keeps fingers from it, m."""
SECTORS = 8
"""Directions about the goal, the first centred on that of the push."""
SEAM = 2
"""Cells that an edge of a mask may be off by."""
AROUND = 0.20
"""What lies farther from the goal's middle than this does not matter to a push, m."""
SCALE = 0.1
"""Lengths are told in units of so many metres."""
OVER = 0.002
"""What rises no more than so much over the fingertips they pass over, m."""
CROP = (5, 48, 64)
"""Channels, rows across and columns along a push of what `push_crops` shows."""
CROP_STEP = 0.005
"""Cell of a crop, m."""
CROP_SPAN = 0.1
"""Heights of a crop are over this, m."""
TIPS_SPAN, TIPS_RANGE = 1 / 30, (-0.03, 0.05)
"""Heights over the fingertips are over this, and cut off there, m."""

FEATURES = (
    *("goal_along", "goal_across", "goal_first", "goal_last", "goal_left", "goal_right"),
    *("goal_swept", "before_swept", "beside_swept", "beyond_swept"),
    *(f"ring_{sector}" for sector in range(SECTORS)),
    *("past_goal", "goal_height", "tip_height", "goal_quality", "length", "goal_is_first"),
)
"""Names of the numbers, in order.

goal_*: middle, ends and sides of the goal in the push's frame. *_swept: area that the hand meets of the goal, and of its
neighbours nearer than the goal, at its level and farther, over SCALE²; it passes over what lies lower than its tips. ring_k:
share of the ground near to the goal that neighbours take up, by sector. past_goal: reach of the push past the goal's near end.
goal_is_first: share of the width of the hand that meets the goal before anything else.
"""

_Swept = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Along and across a push (N, M), m, and whether its hand comes by, bool."""


@dataclass(frozen=True)
class PushPaths:
    """N pushes in a map: x, y of the closed fingertips at the start, m; direction, from map x to map y, rad; length, m; tip,
    their height, m; turned, bool: the closing axis lies along the push and not across it. Each (N,)."""

    x: np.ndarray
    y: np.ndarray
    direction: np.ndarray
    length: np.ndarray
    tip: np.ndarray
    turned: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def pick(self, which: np.ndarray) -> PushPaths:
        """The pushes at indices, or where a mask (N,) is true."""
        return PushPaths(*(each[which] for each in self.__dict__.values()))


def paths_of(map_pose: np.ndarray, pushes: Sequence[Push]) -> PushPaths:
    """Pushes, by their poses in the camera's frame, in the map whose pose in that frame is `map_pose` (4, 4).

    Raises ValueError for a push without `start_camera` and `end_camera`.
    """
    if any(push.start_camera is None or push.end_camera is None for push in pushes):
        raise ValueError("expected pushes with start_camera and end_camera")
    into_map = invert(map_pose)
    start, end = (
        np.array([into_map @ np.asarray(pose) for pose in poses], float).reshape(-1, 4, 4)
        for poses in ([push.start_camera for push in pushes], [push.end_camera for push in pushes])
    )
    step = end[:, :2, 3] - start[:, :2, 3]
    direction = np.arctan2(step[:, 1], step[:, 0])
    aligned = np.abs(start[:, 0, 0] * np.cos(direction) + start[:, 1, 0] * np.sin(direction))
    length = np.hypot(*step.T)
    return PushPaths(start[:, 0, 3], start[:, 1, 3], direction, length, -start[:, 2, 3], aligned > math.sqrt(0.5))


def goal_cells(map: HeightMap, camera: CameraIntrinsics, mask: np.ndarray) -> np.ndarray:
    """Cells (H, W) bool of a map whose highest reading lies in a mask (rows, columns) bool of the depth image.

    A seam of cells along the mask's edge, too narrow for a thing and no higher than what it runs along, counts as well: masks
    end between pixels, and cells show the highest of what falls into them.
    """
    row, column = np.nonzero(map.known)
    points = np.stack([*_places(map, row, column), -map.height[row, column]], 1) @ map.pose[:3, :3].T + map.pose[:3, 3]
    depth = np.maximum(points[:, 2], 1e-6)
    u, v = (np.rint(focal * points[:, axis] / depth + centre).astype(np.int64)
            for axis, (focal, centre) in enumerate(((camera.fx, camera.cx), (camera.fy, camera.cy))))  # fmt: skip
    rows, columns = mask.shape
    inside = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
    cells = np.zeros(map.known.shape, bool)
    cells[row, column] = inside & mask[v.clip(0, rows - 1), u.clip(0, columns - 1)]
    others = (raised_cells(map) & ~cells).astype(np.uint8)
    square = np.ones((2 * SEAM + 1,) * 2, np.uint8)
    beside = cv2.dilate(np.where(cells, map.height, np.float32(-np.inf)), square)
    seam = (others > 0) & (cv2.morphologyEx(others, cv2.MORPH_OPEN, square) == 0) & (map.height - beside < CLIFF)
    found: np.ndarray = cells | seam
    return found


def raised_cells(map: HeightMap) -> np.ndarray:
    """Cells (H, W) bool in which something is seen to stand on the table."""
    raised: np.ndarray = map.known & (map.height - map.table_map > RISE)
    return raised


def hand_extent(gripper: Gripper, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half extents (N,) of the closed fingertips along and across N pushes, m."""
    pads, width = gripper.pad[0], gripper.finger_width / 2
    return np.where(turned, pads, width), np.where(turned, width, pads)


def push_features(map: HeightMap, goal: np.ndarray, paths: PushPaths, gripper: Gripper, quality: float) -> np.ndarray:
    """FEATURES (N, 24) float32 of N pushes. goal: its cells (H, W) bool. quality: of its best grasp now, 0 to 1.

    Raises ValueError for a goal of no cell.
    """
    if not goal.any():
        raise ValueError("the goal has no cell in the map")
    step = max(1, round(STEP / map.resolution))
    area = (step * map.resolution) ** 2 / SCALE**2
    raised = raised_cells(map)
    own, others = (_nonzero(cells, step) for cells in (goal, raised & ~goal))
    (goal_x, goal_y), (others_x, others_y) = (_places(map, *each) for each in (own, others))
    middle = goal_x.mean(), goal_y.mean()
    near = np.hypot(others_x - middle[0], others_y - middle[1]) < AROUND
    (along, across), (beside, aside) = (in_frame(paths, x, y) for x, y in ((goal_x, goal_y), (others_x[near], others_y[near])))
    half_along, half_across = (each[:, None] for each in hand_extent(gripper, paths.turned))
    reach = paths.length[:, None] + half_along
    swept, passed = (
        (np.abs(sideways) < half_across)
        & (ahead > half_along)
        & (ahead < reach)
        & (map.height[cells] > paths.tip[:, None] + OVER)
        for sideways, ahead, cells in ((across, along, own), (aside, beside, (others[0][near], others[1][near])))
    )
    first, last = along.min(1, keepdims=True), along.max(1, keepdims=True)
    places = [along.mean(1), across.mean(1), first[:, 0], last[:, 0], across.min(1), across.max(1)]
    areas = [swept, passed & (beside < first), passed & (beside >= first) & (beside <= last), passed & (beside > last)]
    top = float(np.quantile((map.height - map.table_map)[goal], 0.95))
    ground = map.table[0] * paths.x + map.table[1] * paths.y
    columns = [
        *(each / SCALE for each in places),
        *(area * each.sum(1) for each in areas),
        *_ring(map, goal, raised, paths.direction, middle).T,
        (reach - first)[:, 0] / SCALE,
        np.full(len(paths), top / SCALE),
        (paths.tip - ground) / SCALE,
        np.full(len(paths), quality),
        paths.length / SCALE,
        _goal_is_first((along, across, swept), (beside, aside, passed), half_across[:, 0]),
    ]
    return np.stack(columns, 1).astype(np.float32)


def push_crops(map: HeightMap, goal: np.ndarray, paths: PushPaths, gripper: Gripper) -> np.ndarray:
    """What N pushes meet, (N, *CROP) float32: height over the table / CROP_SPAN; the share of the goal; that of its neighbours;
    where the fingers sweep; height over their tips / TIPS_SPAN, without which what they push does not differ from what they
    pass over. The goal's middle is in the middle of a crop, the push runs along its columns."""
    channels, rows, columns = CROP
    raised = raised_cells(map)
    rise = np.where(map.known, map.height - map.table_map, 0) / np.float32(CROP_SPAN)
    wide = 2 * round(0.5 * CROP_STEP / map.resolution) - 1
    layers: np.ndarray = np.stack([rise, goal, raised & ~goal], 2).astype(np.float32)
    if wide > 1:
        layers = cv2.blur(layers, (wide, wide), borderType=cv2.BORDER_REPLICATE)
    x, y = (each.mean() for each in _places(map, *np.nonzero(goal)))
    ahead, sideways = (CROP_STEP * (np.arange(count) - (count - 1) / 2) for count in (columns, rows))
    cos, sin = (each[:, None, None].astype(np.float32) for each in (np.cos(paths.direction), np.sin(paths.direction)))
    places = x + ahead * cos - sideways[:, None] * sin, y + ahead * sin + sideways[:, None] * cos
    column, row = (((place - corner) / map.resolution).astype(np.float32).reshape(len(paths), -1)
                   for place, corner in zip(places, map.corner, strict=True))  # fmt: skip
    crops = np.empty((len(paths), channels, rows, columns), np.float32)
    seen = cv2.remap(layers, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    crops[:, :3] = seen.reshape(len(paths), rows, columns, 3).transpose(0, 3, 1, 2)
    middle = in_frame(paths, np.array([x]), np.array([y]))
    half_along, half_across = (each[:, None] for each in hand_extent(gripper, paths.turned))
    from_start, beside = middle[0] + ahead, np.abs(middle[1] + sideways)
    along = (from_start > -half_along) & (from_start < paths.length[:, None] + half_along)
    crops[:, 3] = (beside < half_across)[:, :, None] & along[:, None]
    tips = (paths.tip - map.table[0] * paths.x - map.table[1] * paths.y).astype(np.float32)
    over = crops[:, 0] * np.float32(CROP_SPAN) - tips[:, None, None]
    crops[:, 4] = over.clip(*TIPS_RANGE) / np.float32(TIPS_SPAN)
    return crops


def _places(map: HeightMap, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map x, y (N,) of the centres of cells, m."""
    return map.corner[0] + map.resolution * column, map.corner[1] + map.resolution * row


def _nonzero(cells: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of every `step`-th cell along both axes that is set; of all that are where those are none."""
    if step > 1 and cells[::step, ::step].any():
        row, column = _nonzero(cells[::step, ::step], 1)
        return row * step, column * step
    row, column = np.nonzero(cells)
    return row, column


def in_frame(paths: PushPaths, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Along and across (N, M) of map x, y (M,), m."""
    cos, sin, left, top = (
        each[:, None].astype(np.float32) for each in (np.cos(paths.direction), np.sin(paths.direction), paths.x, paths.y)
    )
    dx, dy = x.astype(np.float32) - left, y.astype(np.float32) - top
    return dx * cos + dy * sin, dy * cos - dx * sin


def _ring(
    map: HeightMap, goal: np.ndarray, raised: np.ndarray, direction: np.ndarray, middle: tuple[float, float]
) -> np.ndarray:
    """Share (N, SECTORS) of the ground within RING of the goal that its neighbours take up, by direction from its middle."""
    distance = cv2.distanceTransform((~goal).astype(np.uint8), cv2.DIST_L2, 3) * map.resolution
    row, column = np.nonzero(~goal & (distance < RING))
    x, y = _places(map, row, column)
    angle = np.arctan2(y - middle[1], x - middle[0])
    # Counted once in fine sectors, which every push then takes together as they lie to it.
    fine = 16 * SECTORS
    index = np.floor(angle / (2 * math.pi) * fine).astype(int) % fine
    all_cells, taken = (np.bincount(index, weights, fine) for weights in (None, raised[row, column].astype(float)))
    turn = np.rint(direction / (2 * math.pi) * fine).astype(int)
    order = (turn[:, None] + np.arange(fine) - fine // SECTORS // 2) % fine
    ground, occupied = (counts[order].reshape(-1, SECTORS, fine // SECTORS).sum(2) for counts in (all_cells, taken))
    share: np.ndarray = occupied / np.maximum(ground, 1)
    return share


def _goal_is_first(goal: _Swept, others: _Swept, half: np.ndarray) -> np.ndarray:
    """Share (N,) of the LINE-wide lines of the hand's width, `half` (N,) to both sides, on which it meets the goal first."""
    lines = np.floor(half / LINE).astype(int)
    most = int(lines.max(initial=0))
    first = []
    for along, across, swept in (goal, others):
        push, cell = np.nonzero(swept)
        line = np.rint(across[push, cell] / LINE).astype(int)
        nearest = np.full((len(half), 2 * most + 3), np.inf)
        np.minimum.at(nearest, (push, line.clip(-most - 1, most + 1) + most + 1), along[push, cell])
        first.append(nearest[:, 1:-1])
    met = (first[0] < first[1]) & (np.abs(np.arange(-most, most + 1)) <= lines[:, None])
    share: np.ndarray = met.sum(1) / (2 * lines + 1)
    return share
