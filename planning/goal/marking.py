"""What marks the goal of a request, a mask or a pixel of it, as a mask that can be planned for."""

from dataclasses import replace

import cv2
import numpy as np
import torch

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.observation import Observation
from planning.base import PlanItem, PlannerError
from planning.rgb.unlike_table import piece_at
from planning.scene.scene import PlanningScene, observe_scene
from shared.features.push import raised_cells
from shared.maps.heightmap import HeightMap
from shared.maps.things import CLIFF, LONG_THING, NARROW, ONE_THING

MOST = 0.5
"""Share of the image that a goal may cover: more is the table."""
NEAR = 3
"""A pixel without a reading is taken for the nearest one within so many, and so is a cell that does not rise."""
SOLID = 0.85
"""Share of its convex hull that one thing covers, at least."""
LEAST_PART = 12
"""Cells of a thing, or of a part of it: fewer are a sliver of its edge, where steps in height and noise part single cells."""
OTHER_PART = 0.25
"""A part beyond a step in height that is this share of what is connected may be another thing."""
COLOUR_STEP = 14
"""Most that colours of one thing differ from pixel to pixel in each channel of Lab, of 255."""
COLOUR_PARTS = (0.05, 0.85)
"""Share of what heights tell that colour may take away from it."""
TABLE_BY_COLOUR = 0.25
"""Share of the picture that what has one colour covers, and is no thing."""
FLUSH = (
    "goal_not_told_apart: at `point`, heights alone do not tell where the thing ends and a neighbour that stands flush with it "
    "begins: send a mask, `goal`, to be sure"
)
COLOUR_ONLY = (
    "goal_by_colour: without depth the thing at `point` is what differs from the table there, or has its colour: "
    "send depth, or a mask, `goal`, to be sure"
)
MASK_ONLY = "goal_without_depth: whether fingers touch the goal alone cannot be told without depth: only its mask was looked at"


def mark_goal(item: PlanItem) -> tuple[PlanItem, list[str]]:
    """The item with its goal as a mask, and what is to be said of it; the same item where no goal is asked for.

    Raises PlannerError 422 for a mask without a pixel or over most of the image, and for a point at which no thing is seen.
    """
    observation, request = item
    if observation.goal is not None:
        share = float(observation.goal.mean())
        if not share:
            raise PlannerError(422, "empty_goal", "goal has no pixel: expected non-zero, or fractions from 0.5, on the thing")
        if share > MOST:
            raise PlannerError(
                422, "goal_too_large",
                f"goal covers {share:.0%} of the image: expected the mask of one thing; is it inverted, or that of the table?",
            )  # fmt: skip
        return item, [] if observation.depth is not None else [MASK_ONLY]
    if request.point is None:
        return item, []
    u, v = (round(each) for each in request.point)
    if observation.depth is None:
        mask, told = _thing_of_colour(observation, request, (u, v)), [COLOUR_ONLY, MASK_ONLY]
    else:
        mask, told = thing_at(observe_scene(observation, request, torch.device("cpu")), (u, v))
    return (replace(observation, goal=mask), request.model_copy(update={"point": None})), told


def _thing_of_colour(observation: Observation, request: PlanRequest, pixel: tuple[int, int]) -> np.ndarray:
    """Mask (rows, columns) bool of the thing at a pixel (u, v) of a colour picture: what is unlike the table there, and of a
    heap what has one colour. Raises PlannerError 422 where the pixel shows what covers much of the picture."""
    assert observation.rgb is not None
    piece, share = piece_at(observation, request, pixel)
    if share == 1:
        return piece
    mask = _by_colour(observation.rgb, pixel, piece if share else None)
    if mask.mean() > TABLE_BY_COLOUR:
        raise PlannerError(
            422, "point_on_table",
            f"point {list(pixel)} shows what covers {mask.mean():.0%} of the picture: expected a pixel of a thing that "
            "differs from the table in colour; or send its mask, `goal`",
        )  # fmt: skip
    return mask


def thing_at(scene: PlanningScene, pixel: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """Mask (rows, columns) bool of the thing that a pixel (u, v) of the scene's depth image sees, and what is to be said of it.

    What is connected is one thing, unless it is too large for one or a step in height parts it; where colours were sent, they
    part what heights do not. Raises PlannerError 422 where the pixel sees nothing that stands on the table.
    """
    map, observation, depth = scene.map, scene.observation, scene.observation.depth
    assert depth is not None
    u, v = _nearest(depth > 0, *pixel)
    if u < 0:
        raise PlannerError(422, "point_without_depth", f"point {list(pixel)} has no depth reading near to it: choose another")
    row, column = _cells(map, scene.camera, depth)
    raised = raised_cells(map) & (True if scene.inside is None else scene.inside)
    at = (-1, -1)
    if column[v, u] >= 0:
        place = int(column[v, u]), int(row[v, u])
        at = next((found for where in (_large(raised), raised) if (found := _nearest(where, *place))[0] >= 0), at)
    if at[0] < 0:
        raise PlannerError(
            422, "point_on_table", f"point {list(pixel)} sees the table: expected a pixel of a thing that rises over it by 4 mm"
        )
    region, unsure = _region(map, raised, at)
    inside = row >= 0
    mask = np.zeros(depth.shape, bool)
    mask[inside] = region[row[inside], column[inside]]
    if observation.rgb is not None:
        own = _by_colour(observation.rgb, (u, v), mask)
        share = own.sum() / max(1, mask.sum())
        if COLOUR_PARTS[0] < share < COLOUR_PARTS[1] and _solidity(own) > SOLID:
            return own, []
    return mask, [FLUSH] if unsure else []


def _cells(map: HeightMap, camera: CameraIntrinsics, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (rows, columns) int of the cell that each pixel of a depth image falls into, -1 where into none."""
    rows, columns = depth.shape
    u, v = np.meshgrid(
        (np.arange(columns, dtype=np.float32) - np.float32(camera.cx)) / np.float32(camera.fx),
        (np.arange(rows, dtype=np.float32) - np.float32(camera.cy)) / np.float32(camera.fy),
    )
    into = map.pose[:3, :3].T.astype(np.float32)
    shift = into @ map.pose[:3, 3].astype(np.float32)
    x, y = (depth * (into[k, 0] * u + into[k, 1] * v + into[k, 2]) - shift[k] for k in range(2))
    found = [np.rint((place - corner) / map.resolution).astype(np.int64)
             for place, corner in zip((y, x), map.corner[::-1], strict=True)]  # fmt: skip
    inside = (depth > 0) & (found[0] >= 0) & (found[0] < map.known.shape[0])
    inside &= (found[1] >= 0) & (found[1] < map.known.shape[1])
    return np.where(inside, found[0], -1), np.where(inside, found[1], -1)


def _nearest(where: np.ndarray, column: int, row: int) -> tuple[int, int]:
    """Column and row of the True of (H, W) that is nearest to a place, within NEAR; (-1, -1) where there is none."""
    left, top = max(0, column - NEAR), max(0, row - NEAR)
    rows, columns = np.nonzero(where[top : row + NEAR + 1, left : column + NEAR + 1])
    if not len(rows):
        return -1, -1
    best = int(np.argmin((rows + top - row) ** 2 + (columns + left - column) ** 2))
    return int(columns[best]) + left, int(rows[best]) + top


def _region(map: HeightMap, raised: np.ndarray, at: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """Cells (H, W) bool of the thing at a column and row, and whether it may be several."""
    column, row = at
    _, number = cv2.connectedComponents(raised.astype(np.uint8))
    whole = number == number[row, column]
    square = np.ones((3, 3), np.uint8)
    step = cv2.dilate(map.height, square) - cv2.erode(np.where(raised, map.height, np.float32(np.inf)), square)
    parts = _large(whole & (step < CLIFF))
    if not parts.any():
        return whole, not _one_thing(whole, map.resolution)
    # Parts end a cell before a step on both sides of it: what is left goes to the part that it is nearest to.
    _, nearest = cv2.distanceTransformWithLabels((~parts).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_CCOMP)
    sizes = np.bincount(nearest[parts])
    own = int(nearest[row, column])
    if _one_thing(whole, map.resolution) and np.delete(sizes, own).max(initial=0) < OTHER_PART * sizes.sum():
        return whole, False
    region = whole & (nearest == own)
    return region, not _one_thing(region, map.resolution)


def _large(cells: np.ndarray) -> np.ndarray:
    """Those of cells (H, W) bool that are connected to LEAST_PART or more."""
    _, number = cv2.connectedComponents(cells.astype(np.uint8))
    kept: np.ndarray = cells & (np.bincount(number.ravel()) >= LEAST_PART)[number]
    return kept


def _one_thing(cells: np.ndarray, resolution: float) -> bool:
    """Whether cells (H, W) are as compact, and as convex, as those of one thing are."""
    row, column = np.nonzero(cells)
    x, y = (resolution * (each - each.mean()) for each in (column, row))
    half, apart = (x @ x + y @ y) / 2, np.hypot((x @ x - y @ y) / 2, x @ y)
    across, size = np.sqrt(max(half - apart, 0.0) / len(x)), np.sqrt(2 * half / len(x))
    return bool(size <= (LONG_THING if across < NARROW else ONE_THING)) and _solidity(cells) > SOLID


def _solidity(mask: np.ndarray) -> float:
    """Share of its convex hull that a mask (H, W) covers."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    if points is None or len(points) < 3:
        return 0.0
    corners = np.concatenate([points + np.array(corner) for corner in ((0, 0), (1, 0), (0, 1), (1, 1))]).astype(np.float32)
    return float(mask.sum()) / max(cv2.contourArea(cv2.convexHull(corners)), 1.0)


def _by_colour(rgb: np.ndarray, pixel: tuple[int, int], within: np.ndarray | None) -> np.ndarray:
    """Mask (rows, columns) bool of what has the colour of a pixel (u, v), up to gentle changes, inside of a mask if any."""
    rows, columns = rgb.shape[:2]
    lab = cv2.medianBlur(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB), 5)
    barrier = np.ones((rows + 2, columns + 2), np.uint8)
    barrier[1:-1, 1:-1] = 0 if within is None else ~within
    seed = (min(max(pixel[0], 0), columns - 1), min(max(pixel[1], 0), rows - 1))
    barrier[seed[1] + 1, seed[0] + 1] = 0
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (2 << 8)
    cv2.floodFill(lab, barrier, seed, 0, (2 * COLOUR_STEP,) * 3, (2 * COLOUR_STEP,) * 3, flags)
    filled: np.ndarray = barrier[1:-1, 1:-1] == 2
    return filled
