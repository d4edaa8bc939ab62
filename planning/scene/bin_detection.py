"""A bin in a height map, found by its rim: long, thin, straight walls of even height at right angles round a floor.

What rises thinly over its surroundings is kept, the direction is looked for in which most of it lies on few lines, and of those
lines the four (fewer where the others lie out of view) whose stretches between the corners are best covered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from grasp_client.contract import Bin, PlanRequest
from planning.scene.bin import SeenBin, told_bin
from planning.scene.open_side import open_to_camera
from shared.maps.heightmap import HeightMap

UNKNOWN = -1.0
"""m: rise of blocks without a reading."""
CELL = 0.004
"""m: walls are looked for on cells about this wide."""
THICKEST = 0.024
"""m: of a wall; what rises over more than this is an object."""
LEAST_RISE = 0.015
"""m: of a rim over what lies on both sides of it."""
SHORTEST, LEAST_SIDE = 0.10, 0.12
"""m: of a line that may be a wall, and between opposite walls."""
MOST_LINES = 6
"""Along each axis that are tried as walls."""
TURNS = np.radians(np.arange(0.0, 90.0, 3.0))
FINE_TURNS = np.radians(np.arange(-3.0, 3.1, 0.25))
MOST_POINTS = 800
"""Cells of what rises thinly by which the direction is found."""
COVERED = 0.5
"""Least share of a wall, where it can be seen, that rises thinly; objects lean against the rest, or the sensor missed it."""
LEANED_ON = 0.2
"""The same of one wall among others."""
COVERED_IN_ALL, COVERED_IF_OPEN = 0.65, 0.75
"""The same of all walls together: where four are seen, and where others lie out of view."""
MOST_TRIED = 50
"""Of the best covered bins, for one whose rim is even."""
EVERY = 3
"""One of so many blocks along both axes tells how far the view goes."""
INNER = 40
"""Percentile of the innermost readings of a rim, along it, that is its inner face: things lean against some of it."""
UNEVEN = 0.012
"""m: between the middle heights of two walls of one rim, at most, beside a tenth of it."""
BIN_DETECTED = (
    "bin_detected: what is seen lies in a bin, its rim {height:.0f} mm high: its walls are taken for obstacles, and grasps are "
    "planned inside of it alone; send `bin`: true where there is one, false where there is none"
)
NO_BIN = (
    "no_bin: `bin` is true, and none was found: expected four straight walls of even height, at least two in view. Grasps "
    "were planned as on a table: tell where the bin stands by its corners and wall_height"
)


@dataclass(frozen=True)
class Line:
    """A line that may be a wall, across axis 0 or 1 at `offset`, m. risen, seen: bool, by bins of CELL along it: what rises
    thinly there, what can be seen there; height: of what rises, m. Without bins: where the view ends."""

    offset: float
    risen: np.ndarray | None = None
    seen: np.ndarray | None = None
    height: np.ndarray | None = None


def bin_of(map: HeightMap, pose: np.ndarray | None, request: PlanRequest) -> tuple[SeenBin | None, tuple[str, ...]]:
    """The bin to plan inside of, told or seen, and what is to be said of it."""
    if isinstance(request.bin, Bin):
        assert pose is not None  # the contract has checked it
        return told_bin(request.bin, pose, map), ()
    if request.bin is False:
        return None, ()
    found = find_bin(map)
    if request.bin and not found:
        return None, (NO_BIN,)
    return found, (BIN_DETECTED.format(height=1e3 * found.rim),) if found and request.bin is None else ()


def find_bin(map: HeightMap) -> SeenBin | None:
    """The bin that most of what rises thinly belongs to; None where there is none."""
    step = max(1, round(CELL / map.resolution))
    cell = step * map.resolution
    rise, seen = _coarse(map, step)
    size = 2 * math.ceil(THICKEST / cell / 2) + 1
    ridge = rise - cv2.morphologyEx(rise, cv2.MORPH_OPEN, np.ones((size, size), np.uint8)) > LEAST_RISE
    row, column = np.nonzero(ridge)
    if len(row) * cell < 3 * LEAST_SIDE:
        return None
    points = np.column_stack([column, row]) * cell
    angle = _direction(points, cell)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = points @ turn
    v, u = np.nonzero(seen[::EVERY, ::EVERY])
    if not len(u):
        return None
    view = turn.T @ np.stack([u, v]) * (EVERY * cell)
    low, high = view.min(1), view.max(1)
    lines = [_lines(turned, rise[ridge], seen, turn, axis, (low, high), cell) for axis in (0, 1)]
    found = _rectangle(lines, low, high, cell)
    if found is None:
        return None
    tote = _measured(map, angle, found, turn)
    sides = np.array([line.offset for line in found]).reshape(2, 2)
    return None if open_to_camera(map, turn, sides[:, 0], sides[:, 1], tote.rim) else tote


def _coarse(map: HeightMap, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Height over the table, m, small holes closed, and what is in view, (h, w) of blocks of cells."""
    rise = np.where(map.known, map.height - map.table_map, np.float32(UNKNOWN))
    highest = cv2.dilate(rise, np.ones((step, step), np.uint8), anchor=(0, 0))[::step, ::step]
    known = highest > UNKNOWN
    blocks = np.where(known, highest, np.float32(0))
    closed = cv2.morphologyEx(blocks, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return np.where(known, blocks, closed), ~map.unobserved[::step, ::step]


def _direction(points: np.ndarray, cell: float) -> float:
    """Angle, rad, below a right angle, in which the points (N, 2), m, lie on few lines along two axes."""
    few = points[:: max(1, len(points) // MOST_POINTS)]
    # Spread over their cells: the lattice itself must not look straight.
    few = few + np.random.default_rng(0).uniform(-cell / 2, cell / 2, few.shape)
    coarse = TURNS[int(np.argmax(_straightness(few, TURNS, cell)))]
    turns = coarse + FINE_TURNS
    return float(turns[int(np.argmax(_straightness(few, turns, cell / 2)))])


def _straightness(points: np.ndarray, turns: np.ndarray, cell: float) -> np.ndarray:
    """Sum of squares (T,) of how many of the points (N, 2) share a bin along either axis when turned."""
    cos, sin = np.cos(turns)[:, None], np.sin(turns)[:, None]
    x, y = points.T
    along = np.concatenate([cos * x + sin * y, cos * y - sin * x])
    bins = ((along - along.min()) / cell).astype(np.int64)
    width = int(bins.max()) + 1
    flat = bins + width * np.arange(len(along))[:, None]
    counts = np.bincount(flat.ravel(), minlength=width * len(along)).reshape(2, len(turns), width)
    result: np.ndarray = (counts.astype(float) ** 2).sum((0, 2))
    return result


def _lines(
    points: np.ndarray,
    heights: np.ndarray,
    seen: np.ndarray,
    turn: np.ndarray,
    axis: int,
    view: tuple[np.ndarray, np.ndarray],
    cell: float,
) -> list[Line]:
    """The lines across an axis on which most of the points (N, 2), m, lie, and at both ends those where the view ends."""
    low, high = view
    across, along = points[:, axis], points[:, 1 - axis]
    bins = np.floor((across - low[axis]) / cell).astype(int)
    counts = np.convolve(np.bincount(bins.clip(min=0)), (1, 1, 1), mode="same")
    lines = [Line(float(low[axis]))]
    length = int((high[1 - axis] - low[1 - axis]) / cell) + 1
    reach = round(THICKEST / cell / 2)
    for _ in range(MOST_LINES):
        best = int(np.argmax(counts))
        if counts[best] * cell < SHORTEST:
            break
        counts[max(0, best - reach) : best + reach + 1] = 0
        offset = float(low[axis]) + (best + 0.5) * cell
        near = np.abs(across - offset) < 1.5 * cell
        at = ((along[near] - low[1 - axis]) / cell).astype(int).clip(0, length - 1)
        height = np.zeros(length)
        np.maximum.at(height, at, heights[near])
        risen = height > 0
        # A bin beside two that rise does as well: the lattice of cells is turned against the wall.
        risen[1:-1] |= risen[:-2] & risen[2:]
        places = np.empty((length, 2))
        places[:, axis], places[:, 1 - axis] = offset, low[1 - axis] + cell * (np.arange(length) + 0.5)
        column, row = np.round(places @ turn.T / cell).astype(int).T
        inside = (row >= 0) & (row < seen.shape[0]) & (column >= 0) & (column < seen.shape[1])
        visible = inside & seen[row.clip(0, seen.shape[0] - 1), column.clip(0, seen.shape[1] - 1)]
        lines.append(Line(offset, risen, visible | risen, height))
    return sorted([*lines, Line(float(high[axis]))], key=lambda line: line.offset)


def _rectangle(lines: list[list[Line]], low: np.ndarray, high: np.ndarray, cell: float) -> list[Line] | None:
    """Left, right, top and bottom of the best covered bin; lines without bins where a side lies out of view."""
    pairs = [_pairs(each) for each in lines]
    if not (len(pairs[0]) and len(pairs[1])):
        return None
    first, second = (
        _stretches(lines[axis], pairs[axis], lines[1 - axis], pairs[1 - axis], float(low[1 - axis]), cell) for axis in (0, 1)
    )
    seen, covered, poor, walls = (own + other.T for own, other in zip(first, second, strict=True))
    value = covered - 0.5 * (seen - covered)
    whole = walls == 4
    # Things lean all along one wall at most.
    least, leaned_on = np.where(whole, COVERED_IN_ALL, COVERED_IF_OPEN), np.where(whole, 1, 0)
    value[(poor > leaned_on) | (walls < 2) | (covered < least * seen)] = -1.0
    for index in np.argsort(-value, axis=None)[:MOST_TRIED]:
        row, column = np.unravel_index(int(index), value.shape)
        if value[row, column] <= 0:
            break
        sides = [*(lines[0][k] for k in pairs[0][row]), *(lines[1][k] for k in pairs[1][column])]
        if _even(sides, low, cell):
            return sides
    return None


def _pairs(lines: list[Line]) -> np.ndarray:
    """Indices (M, 2) of two lines far enough apart for a bin between them."""
    offsets = np.array([line.offset for line in lines])
    first, second = np.nonzero(offsets[None, :] - offsets[:, None] >= LEAST_SIDE)
    return np.column_stack([first, second])


def _stretches(
    own: list[Line], pairs: np.ndarray, others: list[Line], ends: np.ndarray, origin: float, cell: float
) -> tuple[np.ndarray, ...]:
    """Of the two walls on lines `own` (pairs: M, 2) between two lines of the other axis (ends: K, 2): length seen and covered,
    m, how many are poorly covered (4: no wall), and how many are not out of view; (M, K) each."""
    bounds = np.array([line.offset for line in others])[ends]
    shape = (len(own), len(ends))
    seen, covered, real = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=int)
    for number, line in enumerate(own):
        if line.risen is None or line.seen is None:
            continue
        places = ((bounds - origin) / cell).astype(int).clip(0, len(line.risen))
        for layer, target in ((line.seen, seen), (line.risen, covered)):
            total = np.concatenate([[0], np.cumsum(layer)])
            target[number] = cell * (total[places[:, 1]] - total[places[:, 0]])
        real[number] = 1
    # Things lean all along one wall at most.
    poor = np.where((seen < SHORTEST) | (covered < LEANED_ON * seen), 4, covered < COVERED * seen) * real
    return tuple(layer[pairs[:, 0]] + layer[pairs[:, 1]] for layer in (seen, covered, poor, real))


def _even(sides: list[Line], low: np.ndarray, cell: float) -> bool:
    """Whether the middle heights of the walls between their corners are those of one rim."""
    tall = []
    for number, line in enumerate(sides):
        if line.height is None:
            continue
        axis = number // 2
        first, last = (each.offset for each in (sides[2:] if axis == 0 else sides[:2]))
        part = line.height[int((first - low[1 - axis]) / cell) : int((last - low[1 - axis]) / cell) + 1]
        tall.append(float(np.median(part[part > 0])))
    return max(tall) - min(tall) <= UNEVEN + 0.1 * max(tall)


def _measured(map: HeightMap, angle: float, sides: list[Line], turn: np.ndarray) -> SeenBin:
    """The bin between the lines, its inner faces measured on the map's own cells."""
    heights = np.concatenate([line.height[line.height > 0] for line in sides if line.height is not None])
    rim = float(np.median(heights))
    rise = map.height - map.table_map
    row, column = np.nonzero(map.known & (np.abs(rise - rim) < LEAST_RISE))
    corner = np.array(map.corner)
    points = np.column_stack([column, row]) * map.resolution @ turn
    faces, outer = [], []
    for number, line in enumerate(sides):
        axis, sign = number // 2, 1.0 if number % 2 == 0 else -1.0
        if line.risen is None:
            faces.append(-sign * math.inf)
            continue
        first, last = (each.offset for each in (sides[2:] if axis == 0 else sides[:2]))
        inward, along = sign * (points[:, axis] - line.offset), points[:, 1 - axis]
        near = (np.abs(inward) < 0.6 * THICKEST) & (along > first + THICKEST) & (along < last - THICKEST)
        bins = ((along[near] - first) / (2 * CELL)).astype(int)
        inner, far = np.full(bins.max(initial=0) + 1, -np.inf), np.full(bins.max(initial=0) + 1, np.inf)
        np.maximum.at(inner, bins, inward[near])
        np.minimum.at(far, bins, inward[near])
        some = np.isfinite(inner)
        face = float(np.percentile(inner[some], INNER)) if some.any() else 0.0
        outer.append(face - float(np.median(far[some])) if some.any() else 0.0)
        faces.append(line.offset + sign * face)
    shift = corner @ turn
    low, high = (faces[0] + shift[0], faces[2] + shift[1]), (faces[1] + shift[0], faces[3] + shift[1])
    return SeenBin(angle, low, high, max(outer, default=0.0) + map.resolution, rim)
