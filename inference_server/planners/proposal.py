"""Where a jaw could close: every raised cell times 16 angles, seen coarsely, the promising ones kept.

Tolerant on purpose: what is proposed here is measured and vetoed cell by cell in `grip` and `sweep`.
"""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from inference_server.planners.scene import OUTSIDE, Scene, dilate, dilate_round
from shared.contract import Gripper

ANGLES = 16
STRIDE = 2
"""Cells between the centres that are tried."""
MOST_CENTRES = 2200
"""More raised cells than this are tried on a wider lattice, so that a full picture costs no more than a full table."""
DEPTHS = (0.030, 0.012)
"""How far the tips reach under the top of the object, m: deep where the surroundings allow, else shallow."""
FLOOR = 0.003
"""Tips stay this far above the table, m."""
LEAST_OVERLAP = 0.005
"""Least height of the object above the tips, m."""
TILE = 0.016
"""Candidates are taken in turn from tiles of this size, so that one easy object does not take all places, m."""


def propose(scene: Scene, gripper: Gripper, most: int) -> tuple[Tensor, Tensor, Tensor, Counter]:
    """Centres x, y (m) and angles (rad) of at most `most` candidates (N,), best first in every tile, and counted rejections."""
    rejected: Counter = Counter()
    rows, columns, top = _centres(scene, rejected)
    if not len(rows):
        empty = torch.zeros(0, device=scene.device)
        return empty, empty, empty, rejected
    cells = scene.map.resolution
    reach = math.ceil((gripper.max_width / 2 + gripper.finger_thickness / 2 + 0.012) / cells)
    span = math.ceil(gripper.finger_width / 2 / cells)
    pad = reach + span + 2
    fingers = dilate_round(scene.bound, max(1, round(gripper.finger_thickness / 2 / cells)))
    padded = torch.nn.functional.pad(fingers, (pad, pad, pad, pad), value=OUTSIDE)
    base = (rows + pad) * padded.shape[1] + columns + pad
    x = scene.map.corner[0] + cells * columns
    y = scene.map.corner[1] + cells * rows
    tips = _tips(top, scene.table_at(x, y))
    flat = padded.reshape(-1)
    scores, counts = [], []
    for k in range(ANGLES):
        offsets = _strip(k * math.pi / ANGLES, reach, span, padded.shape[1], scene.device)
        heights = flat[base[:, None, None] + offsets]
        score, feasible, wide = _judge(heights, tips, reach, gripper, cells)
        scores.append(torch.where(feasible, score, -torch.inf))
        counts.append(torch.stack([wide.sum(), (~feasible & ~wide).sum()]))
    wide, blocked = torch.stack(counts).sum(0).tolist()
    rejected.update(too_wide=wide, collision=blocked)
    table = torch.stack(scores, 1)
    centre, turn = _in_turn(table, x, y, most)
    return x[centre], y[centre], turn * (math.pi / ANGLES), rejected


def _centres(scene: Scene, rejected: Counter) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and the height of the top around every centre to try, (N,)."""
    raised = scene.above_table >= FLOOR + LEAST_OVERLAP
    count = int(raised.sum())
    stride = max(STRIDE, math.ceil(math.sqrt(count / MOST_CENTRES)))
    lattice = raised[::stride, ::stride]
    rejected["below_table"] += ANGLES * int((scene.known[::stride, ::stride] & ~lattice).sum())
    rejected["no_depth"] += ANGLES * int((~scene.known[::stride, ::stride]).sum())
    rows, columns = (stride * index for index in torch.nonzero(lattice, as_tuple=True))
    top = dilate(torch.where(scene.known, scene.bound, OUTSIDE), 2)
    return rows, columns, top[rows, columns]


def _tips(top: Tensor, table: Tensor) -> Tensor:
    """Heights of the tips to try under tops (N,): (N, levels), never nearer to the table than FLOOR."""
    depths = torch.tensor(DEPTHS, device=top.device)
    return torch.maximum(top[:, None] - depths, table[:, None] + FLOOR)


def _strip(angle: float, reach: int, span: int, row_length: int, device: torch.device) -> Tensor:
    """Flat index offsets (lines, 2 reach + 1) of lines along the closing axis, spread over the finger's width."""
    along = torch.arange(-reach, reach + 1, device=device)
    across = torch.tensor([-0.7 * span, 0.0, 0.7 * span], device=device)[:, None]
    column = torch.round(along * math.cos(angle) - across * math.sin(angle)).to(torch.int64)
    row = torch.round(along * math.sin(angle) + across * math.cos(angle)).to(torch.int64)
    return row * row_length + column


def _judge(heights: Tensor, tips: Tensor, reach: int, gripper: Gripper, cells: float) -> tuple[Tensor, Tensor, Tensor]:
    """Score (N,), feasible (N,) bool and too wide (N,) bool of strips (N, lines, positions) for tips (N, levels).

    A finger fits at a position where the surroundings within its thickness are below the tips.
    """
    best = torch.full_like(tips[:, 0], -torch.inf)
    wide = torch.ones_like(best, dtype=torch.bool)
    half = gripper.finger_thickness / 2 / cells
    positions = torch.arange(reach + 1, device=heights.device, dtype=torch.float32)
    right, left = heights[:, :, reach:], heights[:, :, : reach + 1].flip(2)
    for level in range(tips.shape[1]):
        free_right, free_left = (side < tips[:, level, None, None] for side in (right, left))
        ends_right, ends_left = (
            torch.where(free, positions, float(reach + 9)).amin(2) for free in (free_right, free_left)
        )  # (N, lines): where each line first leaves the object
        all_right = torch.where(free_right.all(1), positions, float(reach + 9)).amin(1)
        all_left = torch.where(free_left.all(1), positions, float(reach + 9)).amin(1)
        width = (all_right + all_left - 2 * half) * cells
        off_centre = (all_right - all_left).abs() / 2 * cells
        spread = (all_right[:, None] - ends_right + all_left[:, None] - ends_left).mean(1) * cells
        score = -off_centre / 0.02 - spread / 0.02 - (width / gripper.max_width) * 0.5 - 0.3 * level
        fits = (width <= gripper.max_width) & (off_centre <= 0.012)
        best = torch.where(fits & (score > best), score, best)
        wide &= (torch.minimum(ends_right.amin(1), ends_left.amin(1)) * cells) > gripper.max_width / 2
    return best, torch.isfinite(best), wide & ~torch.isfinite(best)


def _in_turn(scores: Tensor, x: Tensor, y: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Indices of centre and angle of the best `most` of scores (centres, angles), taken in turn from every tile.

    Of a centre's angles only local maxima count: neighbours say the same again.
    """
    peak = (scores >= scores.roll(1, 1)) & (scores >= scores.roll(-1, 1)) & torch.isfinite(scores)
    centre, turn = torch.nonzero(peak, as_tuple=True)
    values = scores[centre, turn]
    tile = torch.round(y[centre] / TILE) * 4096 + torch.round(x[centre] / TILE)
    order = torch.argsort(values, descending=True)
    order = order[torch.argsort(tile[order], stable=True)]
    sorted_tile = tile[order]
    start = torch.ones_like(sorted_tile, dtype=torch.bool)
    start[1:] = sorted_tile[1:] != sorted_tile[:-1]
    place = torch.arange(len(order), device=scores.device)
    rank = place - torch.cummax(torch.where(start, place, 0), 0).values if len(order) else place
    key = rank.to(torch.float32) * 0.15 - values[order]
    chosen = order[torch.argsort(key)[:most]]
    return centre[chosen], turn[chosen]
