"""Further level surfaces that carry things beside the table: a second table, a step, a board higher up or lower down."""

import math
from dataclasses import replace

import cv2
import numpy as np

from grasp_client.contract import Gripper
from shared.maps.heightmap import HeightMap
from shared.maps.occlusion import hidden

APART = 0.030
"""A surface that lies nearer to the table than this is the table, m."""
THICK = 0.006
"""Readings of one surface lie so near to its level, m, or within four deviations of the table's noise."""
CORE = 0.15
"""A free square of this side fits onto it, m, or one twice as wide as the jaw opens: what is smaller is the top of a thing."""
SHARE = 0.05
"""Of the map, that lies on its level at least."""
BRIDGED = 0.05
"""What stands on it and the shadows of that leave gaps: those narrower than this at its edge, m, belong to it."""
MOST = 3
STEP = 0.004
"""Of the levels that are tried, m."""
SEVERAL = (
    "several_levels: things may stand on level surfaces {levels} mm over the one that was taken for the table: grasps are "
    "planned on all of them; `region` or a segmask says on which you want them"
)


def with_levels(map: HeightMap, gripper: Gripper) -> tuple[HeightMap, tuple[str, ...]]:
    """The map with further surfaces as the table of what stands on them, and what to say of them."""
    side = math.ceil(max(CORE, 2 * gripper.max_width) / map.resolution) | 1  # openings with even windows are shifted by a cell
    rise = np.where(map.known, map.height - map.table_map, np.float32(0))
    if map.table_share == 0 or side >= min(rise.shape):
        return map, ()
    thick = max(THICK, 4 * map.table_noise)
    levels, found = np.zeros_like(rise), []
    for level in _peaks(rise[map.known & (np.abs(rise) > APART)], SHARE * rise.size):
        free = (map.known & (np.abs(rise - level) < thick)).astype(np.uint8)
        room = side if level > 0 else side // 3 | 1  # what lies under the table is no top of a thing
        core = cv2.morphologyEx(free, cv2.MORPH_OPEN, np.ones((room, room), np.uint8))
        if not core.any():
            continue
        on = _pieces_with(core, free)
        height = float(np.median(rise[on]))
        levels[_filled(on, round(BRIDGED / map.resolution) | 1) & (~map.known | (rise > height - thick))] = height
        found.append(height)
    if not found:
        return map, ()
    camera_height = float(map.pose[:3, 2] @ map.pose[:3, 3])
    seen = map.height, map.known, map.table_map + levels, map.corner, map.resolution
    bound, unobserved = hidden(*seen, camera_height)
    told = SEVERAL.format(levels=" and ".join(f"{1e3 * level:.0f}" for level in sorted(found)))
    return replace(map, levels=levels, upper_bound=bound, unobserved=unobserved), (told,)


def _peaks(rise: np.ndarray, least: float) -> list[float]:
    """Levels at which at least so many of rises (N,), m, lie, the most frequent first, APART from each other."""
    if len(rise) < least:
        return []
    bins, count = np.unique(np.rint(rise / STEP), return_counts=True)
    near = np.array([count[np.abs(bins - each) <= 1].sum() for each in bins])
    peaks: list[float] = []
    for place in np.argsort(-near):
        level = float(bins[place]) * STEP
        if near[place] < least or len(peaks) == MOST:
            break
        if all(abs(level - other) > APART for other in peaks):
            peaks.append(level)
    return peaks


def _pieces_with(core: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Pieces (H, W) bool of `free` (H, W) uint8 that hold a part of `core`."""
    _, piece = cv2.connectedComponents(free)
    result: np.ndarray = np.isin(piece, np.unique(piece[core > 0]))
    return result


def _filled(mask: np.ndarray, gap: int) -> np.ndarray:
    """A mask (H, W) bool without gaps and holes."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(closed), outlines, -1, 1, cv2.FILLED) > 0
