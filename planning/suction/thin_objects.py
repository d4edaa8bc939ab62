"""Slabs so thin that noise drowns single readings of them, cards and lids: averaged over a cup's size they stand out."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from grasp_client.geometry import pose_from
from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates

WINDOW = 7
"""Side of the square over which heights are averaged, cells."""
SURE = 4.0
"""What the average rises over the table, in standard deviations of that average where there is only table."""
LEAST_THICKNESS = 0.0012
"""A slab is at least so thick, m."""
MOST_THICKNESS = 0.008
"""A slab is at most so thick, m: what is thicker stands out by itself."""
SMALLEST = 4e-4
"""Least area of a slab, m2."""
LARGEST = 0.4
"""Largest share of what is seen that a slab may cover."""
BAND = 4
"""Inside and outside of its edge a slab is compared over bands so wide, cells."""
AWAY = 2
"""The bands lie so far from the edge, cells: averaging blurs it."""
SECTORS = 12
"""The edge is looked at in so many directions."""
LEAST_CELLS = 6
"""A direction with fewer cells tells nothing."""
COMPLETE = 0.8
"""In this share of the directions the height must fall: a camera's errors swell slowly, a slab ends at once."""
SHARP = 0.65
"""Share of the thickness by which it must fall."""
MOST_SLOPE = 0.05
"""Slope against the table of a slab that lies on it."""
MOST_TILT = 0.15
"""Tilt against the table of a cup on a slab, rad: noise tilts it, too."""
RAISED = 0.010
"""Slabs are raised by so much, so that they stand out like other things, m."""


def is_thin_on_table(scene: PlanningScene, least: float) -> PlanningScene | None:
    """The scene with its thin slabs raised over the table by RAISED, or None where there are none.

    What rises by `least` (m) or more stays as it is. The map's origin sinks, and the table with it; slabs and other things keep
    their place, so that poses hold as they are.
    """
    slabs = _slabs(scene.map.height - scene.map.table_map, scene.map.known, least, scene.map.resolution)
    if not slabs.any():
        return None
    table = (scene.map.upper_bound - scene.map.table_map < least) & ~slabs
    lift = np.where(table, np.float32(0), np.float32(RAISED))
    sunk = scene.map.pose @ pose_from(np.eye(3), np.array([0.0, 0.0, RAISED]))
    return replace(
        scene, map=replace(scene.map, height=scene.map.height + lift, upper_bound=scene.map.upper_bound + lift, pose=sunk)
    )


def flat_on_thin_object(scene: PlanningScene, cups: SuctionCandidates) -> Tensor:
    """Which (N,) cups of a scene with raised slabs lie on one, not on its edge."""
    slope_x, slope_y = (float(slope) for slope in scene.map.table)
    tilt = torch.hypot(cups.pose.slope_x - slope_x, cups.pose.slope_y - slope_y)
    return (cups.rise >= RAISED) & (tilt <= MOST_TILT)


def _slabs(height: np.ndarray, known: np.ndarray, least: float, resolution: float) -> np.ndarray:
    """Cells (H, W) bool that belong to slabs; height over the table (H, W), m, where known (H, W)."""
    low = known & (np.abs(height) < max(least, MOST_THICKNESS))
    count = cv2.blur(low.astype(np.float32), (WINDOW, WINDOW))
    mean = cv2.blur(np.where(low, height, 0).astype(np.float32), (WINDOW, WINDOW)) / np.maximum(count, 1e-6)
    judged = low & (count > 0.5)
    if not judged.any():
        return np.zeros_like(known)
    table = float(np.median(mean[judged]))
    spread = 1.48 * float(np.median(np.abs(mean[judged] - table)))
    rising = judged & (mean - table > max(LEAST_THICKNESS, SURE * spread))
    _, piece, sizes, _ = cv2.connectedComponentsWithStats(rising.astype(np.uint8))
    found = np.zeros_like(known)
    fewest = SMALLEST / resolution**2
    for number in range(1, len(sizes)):
        if not fewest <= sizes[number, cv2.CC_STAT_AREA] <= LARGEST * np.count_nonzero(known):
            continue
        slab = _slab(piece == number, mean - table, height - table, judged, MOST_SLOPE * resolution)
        if slab is not None and np.count_nonzero(slab) >= fewest:
            found |= slab
    return found


def _slab(piece: np.ndarray, mean: np.ndarray, height: np.ndarray, judged: np.ndarray, most_slope: float) -> np.ndarray | None:
    """The slab (H, W) bool that a rough piece (H, W) of the average shows, or None if it does not end as slabs do.

    mean, height: averaged and single heights over the table, (H, W), m, where `judged`. most_slope: m per cell.
    """
    core = _grown(piece, -(WINDOW // 2))
    if not core.any():
        return None
    thickness = float(np.median(mean[core]))
    if not LEAST_THICKNESS <= thickness <= MOST_THICKNESS:
        return None
    slab = _grown(piece, WINDOW // 2) & judged & (mean > thickness / 2)
    rows, columns = np.nonzero(slab)
    design = np.column_stack([columns, rows, np.ones(len(rows))])
    slope = np.linalg.lstsq(design, height[slab], rcond=None)[0][:2]
    if np.hypot(*slope) > most_slope:
        return None
    inside = _grown(slab, -AWAY) & ~_grown(slab, -AWAY - BAND)
    outside = _grown(slab, AWAY + BAND) & ~_grown(slab, AWAY) & judged
    fall = _by_sector(inside, height, rows.mean(), columns.mean()) - _by_sector(outside, height, rows.mean(), columns.mean())
    return slab if np.mean(fall > SHARP * thickness) >= COMPLETE else None


def _by_sector(where: np.ndarray, height: np.ndarray, row: float, column: float) -> np.ndarray:
    """Mean height (SECTORS,) of the cells in each direction from a middle; nan where there are none."""
    rows, columns = np.nonzero(where)
    turn = np.arctan2(rows - row, columns - column) / (2 * np.pi) + 0.5
    sector = np.minimum((turn * SECTORS).astype(int), SECTORS - 1)
    count = np.bincount(sector, minlength=SECTORS)
    with np.errstate(invalid="ignore"):
        return np.bincount(sector, height[where], SECTORS) / np.where(count < LEAST_CELLS, np.nan, count)


def _grown(mask: np.ndarray, cells: int) -> np.ndarray:
    """A mask (H, W) bool grown on all sides by so many cells, or shrunk by a negative number."""
    square = np.ones((2 * abs(cells) + 1,) * 2, np.uint8)
    change = cv2.dilate if cells > 0 else cv2.erode
    return change(mask.astype(np.uint8), square) > 0
