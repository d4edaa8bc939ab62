"""Readings into the cells of a map: the highest of each, the gaps between them, and what stands alone."""

import math

import cv2
import numpy as np

from shared.maps.occlusion import COARSE, UNSEEN

BELOW = 0.05
"""What lies deeper under the table than this is not its noise but another surface, m."""
SPECK_RISE = 0.01
"""A reading this far above its surroundings may be a speck, m."""
SPECK_COMPANY = 5
"""It is, with fewer such readings among the 24 cells around it."""
SLENDER = 10
"""A piece that rises this many times higher above the table than its side is long is an echo, not an object."""


def splat(
    depth: np.ndarray,
    rays: list[np.ndarray],
    seen: np.ndarray,
    box: tuple[float, float, int, int],
    resolution: float,
    foot: float,
    table: np.ndarray,
    around: tuple[float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
    """Highest readings (H, W), m over the table under the camera, 0 without one, where there is one, and which part of the box
    that is: with gaps between readings of one surface closed, without specks. foot: height of that table over the camera, m;
    table (H, W): in the map. around: only what lies within the first, m, of what rises over the table by the second, m, or
    lies BELOW it; none: all of the box."""
    height, known = _highest(depth, rays, seen, box, resolution)
    # Heights relative to the table under the camera: planners and networks see the same numbers from every distance.
    height -= np.float32(foot)
    height[~known] = 0
    part = slice(0, height.shape[0]), slice(0, height.shape[1])
    if around is not None:
        rise = height - table
        part = _part_round_things(known & ((rise > around[1]) | (rise < -BELOW)), math.ceil(around[0] / resolution))
        height, known = np.ascontiguousarray(height[part]), np.ascontiguousarray(known[part])
    _close_gaps(height, known)
    _drop_specks(height, known, table[part], resolution)
    return height, known, part


def _highest(
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
    place = row * np.int32(columns) + column
    np.putmask(place, ~inside, rows * columns)
    cells = np.full(rows * columns + 1, UNSEEN, np.float32)
    np.maximum.at(cells, place.ravel(), (-depth * rays[2]).ravel())
    height = cells[:-1].reshape(rows, columns)
    return height, height > UNSEEN


def _part_round_things(raised: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns of a map that lie within `margin` cells of those that are raised (H, W) bool, not alone; all, where none
    is."""
    company = cv2.boxFilter(raised.view(np.uint8), -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
    left, top, columns, rows = cv2.boundingRect((company >= SPECK_COMPANY).view(np.uint8))
    if not columns:
        return slice(0, raised.shape[0]), slice(0, raised.shape[1])
    starts = (max(0, first - margin) // COARSE * COARSE for first in (top, left))  # shadows are cast on the same blocks
    ends = (top + rows + margin, left + columns + margin)
    row, column = (slice(start, min(end, most)) for start, end, most in zip(starts, ends, raised.shape, strict=True))
    return row, column


def _close_gaps(height: np.ndarray, known: np.ndarray) -> None:
    """Fill, in place, single empty cells between two readings of one surface: gaps between splats, not holes."""
    rows, columns = height.shape
    width = columns + 2
    # Nothing is near to nan. The edge is there so that all neighbours of a cell are its place in memory and a step.
    padded, beside = np.full((rows + 2, width), np.nan, np.float32), np.zeros((rows + 2, width), bool)
    padded[1:-1, 1:-1] = np.where(known, height, np.float32(np.nan))
    beside[1:-1, 1:-1] = (cv2.dilate(known.view(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~known
    h, cell = padded.ravel(), np.flatnonzero(beside)
    filled, levels = [], []
    for step in (1, width, width + 1, width - 1):
        first, second = h.take(cell + step), h.take(cell - step)
        close = np.abs(first - second) < 0.01
        filled.append(cell[close])
        levels.append((0.5 * (first + second))[close])
        cell = cell[~close]
    row, column = np.divmod(np.concatenate(filled), width)
    height[row - 1, column - 1] = np.concatenate(levels)
    known[row - 1, column - 1] = True


def _drop_specks(height: np.ndarray, known: np.ndarray, table: np.ndarray, resolution: float) -> None:
    """Take out, in place, readings that stand alone: pixels that fly between surfaces, and false echoes.

    height, table: (H, W), m. A lone reading has too few others of its level around it; an echo is too slender for its height.
    """
    raised = np.where(known, height, table)
    alone = known & (raised - cv2.morphologyEx(raised, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > SPECK_RISE)
    row, column = np.nonzero(alone)
    if len(row):
        around = np.pad(raised, 2, constant_values=UNSEEN)
        level, width = raised[row, column] - SPECK_RISE, around.shape[1]
        first = row * width + column
        company = sum((around.take(first + (i * width + j)) > level).view(np.uint8) for i in range(5) for j in range(5)) - 1
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
