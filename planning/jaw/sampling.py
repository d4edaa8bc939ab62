"""Where a jaw could close: every raised cell times 16 angles, seen coarsely, the promising ones kept.

Tolerant on purpose: what is proposed here is measured and vetoed cell by cell in `fit` and `filters`.
"""

import math
from collections import Counter
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from planning.candidates import best_by_tile
from planning.limits import LEAST_OVERLAP, NOISE_DEVIATIONS, TABLE_GAP
from planning.scene.projection import map_pixels, map_points
from planning.scene.region import outside_region
from planning.scene.scene import OUTSIDE, PlanningScene, dilate_round

ANGLES = 16
STRIDE = 2
"""Cells between the centres that are tried."""
MOST_CENTRES = 1400
"""More raised cells than this are tried on a wider lattice, so that a full picture costs no more than a full table."""
DEPTHS = (0.030, 0.012)
"""How far the tips reach under the top of the object, m: deep where the surroundings allow, else shallow."""
NEAR = 0.030
"""A centre tried in the survey may move this far before it is returned, m."""
PACE = 2
"""Cells between the positions at which a finger is tried."""
OFF_CENTRE = 0.012
"""Farthest that the middle of what is gripped may be from the centre tried: a nearer centre is tried as well, m."""

WIDER = 0.010
"""What seems this much wider than the opening may yet fit: positions are a step apart, and what is hidden is counted, m."""


def propose(scene: PlanningScene, most: int) -> tuple[Tensor, Tensor, Tensor, Counter[str]]:
    """Centres x, y (m) and angles (rad) of at most `most` candidates (N,), best first in every tile, and counted rejections."""
    x, y, scores, rejected = survey(scene)
    centre, turn = _best_by_tile(scores, x, y, most)
    return x[centre], y[centre], turn * (math.pi / ANGLES), rejected


def survey(scene: PlanningScene) -> tuple[Tensor, Tensor, Tensor, Counter[str]]:
    """Centres x, y (N,), m, coarse scores (N, ANGLES) of a jaw there, -inf where it cannot close, and counted rejections."""
    rejected: Counter[str] = Counter()
    rows, columns, top, inside = _centres(scene, rejected)
    cells = scene.map.resolution
    x = scene.map.corner[0] + cells * columns
    y = scene.map.corner[1] + cells * rows
    pace = PACE * cells
    gripper, thickness = scene.gripper, scene.pad[0]
    reach = math.ceil((gripper.max_width / 2 + thickness / 2 + OFF_CENTRE) / pace)
    thick = max(1, round(thickness / 2 / cells))
    # The map is dilated by half a fingertip's thickness, so that single samples stand for the finger; the lines span its width.
    span = max(gripper.finger_width / 2 / cells - thick, 0.0)
    lines = max(2, math.ceil(span / thick) + 1)
    pad = PACE * reach + math.ceil(span) + 2
    above = torch.from_numpy(dilate_round(scene.upper_bound.cpu().numpy(), thick)).to(scene.device)
    fingers = torch.nn.functional.pad(above, (pad, pad, pad, pad), value=OUTSIDE)
    base = ((rows + pad) * fingers.shape[1] + columns + pad).to(torch.int32)
    offsets = _strips(reach, span, lines, fingers.shape[1], scene.device)
    depths = torch.tensor(DEPTHS, device=scene.device)
    table = scene.table_at(x, y)
    tips = torch.maximum(top - depths[:, None], table + TABLE_GAP)
    first = pace * _first_free(fingers.reshape(-1), base, offsets, tips)
    scores, wide = _judge(first, gripper.max_width, thickness)
    truncated = scene.truncated_to[rows, columns] >= top - table - max(DEPTHS)
    scores -= (2.0 * truncated + 2.0 * ~inside)[:, None]
    feasible = torch.isfinite(scores)
    rejected.update(too_wide=int((wide & ~feasible).sum()), collision=int((~wide & ~feasible).sum()))
    return x, y, scores, rejected


def _centres(scene: PlanningScene, rejected: Counter[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, columns and the height of the top around every centre to try, (N,), and whether it lies where grasps are asked for;
    one beside may yet move there, but must not take the place of others: a bin has more wall than things in it."""
    raised = scene.above_table >= max(TABLE_GAP + LEAST_OVERLAP, NOISE_DEVIATIONS * scene.map.table_noise)
    if scene.goal is not None:  # all centres lie on it, or move there
        near = torch.from_numpy(dilate_round(scene.goal.cpu().numpy().astype(np.uint8), round(NEAR / scene.map.resolution)))
        rejected["not_goal"] += ANGLES * int((raised & ~near.to(scene.device).bool())[::STRIDE, ::STRIDE].sum())
        raised = raised & near.to(scene.device).bool()
    stride = _stride(int(raised.sum()))
    *centres, counted = _lattice(scene, raised, stride)
    # What is not asked for, such as the boards of a shelf round what is in it, must not make the lattice wider.
    if scene.restricted and (finer := _stride(len(centres[0]) * stride**2)) < stride:
        *centres, counted = _lattice(scene, raised, finer)
    rejected.update(counted)
    rows, columns, top, inside = centres
    return rows, columns, top, inside


def _stride(cells: int) -> int:
    """Cells between centres of so many raised ones."""
    return max(STRIDE, math.ceil(math.sqrt(cells / MOST_CENTRES)))


def _lattice(scene: PlanningScene, raised: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Counter[str]]:
    """As `_centres`, of raised cells (H, W) a stride apart; and counted rejections."""
    lattice, known, unobserved = (layer[::stride, ::stride] for layer in (raised, scene.known, scene.near_unobserved))
    rejected = Counter(
        below_table=ANGLES * int((known & ~lattice).sum()), no_depth=ANGLES * int((~known | (lattice & unobserved)).sum())
    )
    lattice = lattice & ~unobserved
    rows, columns = (stride * index for index in torch.nonzero(lattice, as_tuple=True))
    top = scene.top[rows, columns]
    inside = torch.ones_like(top, dtype=torch.bool) if scene.goal is None else scene.goal[rows, columns]
    if not scene.restricted:
        return rows, columns, top, inside, rejected
    cells = scene.map.resolution
    points = map_points(scene.map.corner[0] + cells * columns, scene.map.corner[1] + cells * rows, top)
    pixels = map_pixels(scene, points)
    allowed = torch.ones_like(inside)
    for reason, outside in outside_region(scene, pixels, NEAR).items():
        rejected[reason] += ANGLES * int((allowed & outside).sum())
        allowed = allowed & ~outside
    inside = inside & ~torch.stack(list(outside_region(scene, pixels).values())).any(0)
    return rows[allowed], columns[allowed], top[allowed], inside[allowed], rejected


@lru_cache(maxsize=64)
def _strips(reach: int, span: float, lines: int, row_length: int, device: torch.device) -> Tensor:
    """Flat index offsets (reach + 1, 2, lines, ANGLES, 1) of finger positions from the centre outwards, on both sides.

    Lines lie up to `span` cells from the closing axis on both sides.
    """
    angle = torch.arange(ANGLES)[:, None] * (math.pi / ANGLES)
    along = PACE * torch.arange(reach + 1)[:, None, None, None, None] * torch.tensor([1, -1])[:, None, None, None]
    across = torch.linspace(-span, span, lines)[:, None, None]
    column = torch.round(along * torch.cos(angle) - across * torch.sin(angle)).to(torch.int32)
    row = torch.round(along * torch.sin(angle) + across * torch.cos(angle)).to(torch.int32)
    return (row * row_length + column).to(device)


def _first_free(heights: Tensor, base: Tensor, offsets: Tensor, tips: Tensor) -> Tensor:
    """Where each line first leaves the object, (levels, 2 sides, lines, ANGLES, N) positions; twice the reach if it never does.

    heights: flat map of the highest within a finger's thickness. base (N,): index of the centres. tips: (levels, N).
    """
    tips = tips[:, None, None, None, :]
    shape = (*offsets.shape[1:4], len(base))
    blocked = torch.ones((len(tips), *shape), dtype=torch.bool, device=heights.device)
    first = torch.zeros_like(blocked, dtype=torch.uint8)
    for offset in offsets:  # outwards in small steps, which stay in the cache
        index = (base + offset).reshape(-1)
        blocked &= heights.index_select(0, index).reshape(shape) >= tips
        first += blocked.view(torch.uint8)
    return first + len(offsets) * blocked.view(torch.uint8)


def _judge(first: Tensor, opening: float, thickness: float) -> tuple[Tensor, Tensor]:
    """Scores (N, ANGLES), -inf where no level fits, and whether the object alone is too wide (N, ANGLES) bool.

    first: (levels, sides, lines, ANGLES, N), m. opening, thickness: of the jaw, and of its fingers at their tips, m. A
    finger fits where all its lines do; how far they differ tells how flat the side of the object lies to it.
    """
    side = first.amax(2)
    width = side[:, 0] + side[:, 1] - thickness
    off_centre = (side[:, 0] - side[:, 1]).abs() / 2
    uneven = (side[:, :, None] - first).clamp(max=0.03).mean((1, 2))
    shallow = 0.3 * torch.arange(len(first), device=first.device)[:, None, None]
    # The order only decides what is measured closely: a good hand is found from several centres.
    scores = -off_centre / 0.02 - uneven / 0.01 - 0.5 * width / opening - shallow
    fits = (width <= opening + WIDER) & (off_centre <= OFF_CENTRE)
    # Not even one line is free within half an opening: the thing itself is too wide, no neighbour blocks the fingers.
    wide = (first.amin((1, 2)) > opening / 2).all(0)
    return torch.where(fits, scores, -torch.inf).amax(0).T.contiguous(), wide.T


def _best_by_tile(scores: Tensor, x: Tensor, y: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Indices of centre and angle of the best `most` of scores (centres, angles), taken in turn from every tile.

    Of a centre's angles only local maxima count: neighbours say the same again.
    """
    peak = (scores >= scores.roll(1, 1)) & (scores >= scores.roll(-1, 1)) & torch.isfinite(scores)
    centre, turn = torch.nonzero(peak, as_tuple=True)
    values = scores[centre, turn]
    chosen = best_by_tile(values, x[centre], y[centre], most)
    return centre[chosen], turn[chosen]
