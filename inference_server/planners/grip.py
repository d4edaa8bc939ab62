"""What a jaw would hold at N poses: how deep it can go, how wide it must open, what its fingers would touch."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from inference_server.planners.hands import Hands
from inference_server.planners.proposal import FLOOR, LEAST_OVERLAP
from inference_server.planners.scene import Scene
from inference_server.planners.sweep import PADDING, palm_height
from shared.contract import Gripper

DEPTHS = (0.030, 0.024, 0.018, 0.013, 0.009, 0.006)
"""How far under the top of the object the tips may reach, m; the deepest that fits is taken."""
MARGIN = 0.002
"""Fingers stay this far above whatever lies under them, m."""
PALM_GAP = 0.004
"""The palm stays this far above whatever lies under it, m."""
EXTRA = (0.006, 0.004, 0.002)
"""Clearance added on both sides while there is room, m: a pose is never exact."""
STEP = 0.002
LINE = 0.004
"""Distance of the samples along the closing axis and across it, m."""
SLACK = 0.014
"""How far off the middle of what it grips a candidate may be, m: it is moved to the middle."""
RISE = 0.008
"""Height over which the slant of the gripped sides is measured, m."""


@dataclass(frozen=True)
class _Jaw:
    """Sample positions in the hand, m: `along` the closing axis and `across` it, the latter a padding wider than a finger."""

    along: Tensor
    across: Tensor
    inner: Tensor
    window: int

    @property
    def centre(self) -> int:
        return len(self.along) // 2


def measure(
    scene: Scene, gripper: Gripper, x: Tensor, y: Tensor, angle: Tensor, tip: Tensor | None = None
) -> tuple[Hands, Tensor, Counter]:
    """Hands at the poses that hold something, moved to its middle, and for each the angle (N,) that would fit its sides.

    x, y, angle: (M,) in the map frame. tip: heights (M,) that the tips are to have; default: as deep as fits. What cannot be
    gripped is left out and counted.
    """
    rejected: Counter = Counter()
    jaw = _jaw(gripper, scene.device)
    heights = _heights(scene, jaw, x, y, angle)
    strip = heights.amax(1)
    middle = jaw.along.abs() <= 0.005
    top = heights[:, jaw.inner][:, :, middle].amax((1, 2))
    floor = _floor(scene, gripper, x, y, angle)
    wanted = top[:, None] - _depths(gripper, scene.device) if tip is None else tip[:, None]
    tips = torch.maximum(wanted, floor[:, None])
    right, left, extra = _openings(strip, tips, jaw, gripper)
    deep_enough = top[:, None] - tips >= LEAST_OVERLAP
    fits = torch.isfinite(right) & torch.isfinite(left) & (right + left <= gripper.max_width)
    good = fits & deep_enough
    level = torch.argmax(good.to(torch.int8), 1)
    some = good.any(1)
    rejected["below_table"] += int((~deep_enough.any(1)).sum())
    rejected["too_wide"] += int((deep_enough.any(1) & ~some & torch.isfinite(right + left).any(1)).sum())
    rejected["collision"] += int((deep_enough.any(1) & ~some & ~torch.isfinite(right + left).any(1)).sum())
    pick = lambda table: table[some].gather(1, level[some, None]).squeeze(1)  # noqa: E731
    opening = (pick(tips), pick(right), pick(left), pick(extra))
    return *_describe(scene, gripper, jaw, heights[some], (x[some], y[some], angle[some]), opening), rejected


def _jaw(gripper: Gripper, device: torch.device) -> _Jaw:
    reach = gripper.max_width / 2 + SLACK + gripper.finger_thickness + 2 * PADDING
    count = math.ceil(reach / STEP)
    along = STEP * torch.arange(-count, count + 1, device=device)
    half = gripper.finger_width / 2 + PADDING
    lines = max(5, math.ceil(2 * half / LINE) + 1)
    across = torch.linspace(-half, half, lines, device=device)
    window = math.ceil((gripper.finger_thickness + 2 * PADDING) / STEP) + 1
    return _Jaw(along, across, across.abs() <= gripper.finger_width / 2, window)


def _heights(scene: Scene, jaw: _Jaw, x: Tensor, y: Tensor, angle: Tensor) -> Tensor:
    """Heights (M, lines, positions) in the hands' frames."""
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    across = jaw.across[:, None]
    return scene.sample(
        scene.bound,
        x[:, None, None] + (jaw.along * cos - across * sin),
        y[:, None, None] + (jaw.along * sin + across * cos),
    )


def _depths(gripper: Gripper, device: torch.device) -> Tensor:
    deepest = max(gripper.finger_depth - PALM_GAP, LEAST_OVERLAP)
    return torch.tensor(DEPTHS, device=device).clamp(max=deepest)


def _floor(scene: Scene, gripper: Gripper, x: Tensor, y: Tensor, angle: Tensor) -> Tensor:
    """Lowest height of the tips (M,): over the table at both fingers, and so that the palm stays free."""
    half_x, half_y = gripper.max_width / 2 * torch.cos(angle), gripper.max_width / 2 * torch.sin(angle)
    table = torch.maximum(scene.table_at(x + half_x, y + half_y), scene.table_at(x - half_x, y - half_y)) + FLOOR
    return torch.maximum(table, palm_height(scene, gripper, x, y, angle) - gripper.finger_depth + PALM_GAP)


def _openings(strip: Tensor, tips: Tensor, jaw: _Jaw, gripper: Gripper) -> tuple[Tensor, Tensor, Tensor]:
    """Distances (M, levels) from the centre to the inner faces, right and left, and the clearance added to both.

    strip: (M, positions), the highest across a padded finger. Infinite where no finger fits within reach.
    """
    first = jaw.centre - round(PADDING / STEP)  # start of the window of a finger whose inner face is at the centre
    limit = (tips - MARGIN)[:, None, :]
    free_right, free_left = (
        side.unfold(1, jaw.window, 1)[:, first:].amax(2)[:, :, None] <= limit for side in (strip, strip.flip(1))
    )  # (M, distances, levels)
    near_right, near_left = (STEP * _first(free) for free in (free_right, free_left))
    extra = torch.zeros_like(near_right)
    for more in sorted(EXTRA):
        fits = near_right + near_left + 2 * more <= gripper.max_width
        steps = round(more / STEP)
        for near, free in ((near_right, free_right), (near_left, free_left)):
            index = (torch.nan_to_num(near, posinf=0.0) / STEP).round().to(torch.int64) + steps
            fits = fits & free.gather(1, index.clamp(max=free.shape[1] - 1)[:, None, :]).squeeze(1)
        extra = torch.where(fits, more, extra)
    return near_right, near_left, extra


def _first(free: Tensor) -> Tensor:
    """Index (M, levels) of the first True along the distances of (M, distances, levels), infinite without one."""
    blocked = torch.cumprod(~free, 1, dtype=torch.int32).sum(1)
    return torch.where(blocked < free.shape[1], blocked.to(torch.float32), torch.inf)


def _describe(
    scene: Scene,
    gripper: Gripper,
    jaw: _Jaw,
    heights: Tensor,
    pose: tuple[Tensor, Tensor, Tensor],
    opening: tuple[Tensor, Tensor, Tensor, Tensor],
) -> tuple[Hands, Tensor]:
    """Hands (N,) with what they touch, and the angles that would fit the touched sides better."""
    x, y, angle = pose
    tip, right, left, extra = opening
    lines = heights[:, jaw.inner]
    across = jaw.across[jaw.inner]
    between = (jaw.along < right[:, None]) & (jaw.along > -left[:, None])
    solid = between[:, None, :] & (lines > (tip + MARGIN)[:, None, None])
    low = _ends(solid, jaw.along)
    rise = torch.minimum(torch.full_like(tip, RISE), 0.6 * (lines.amax(2).amax(1) - tip))
    high = _ends(between[:, None, :] & (lines > (tip + MARGIN + rise)[:, None, None]), jaw.along)
    touched = torch.isfinite(low[0])
    contact_right, contact_left = (torch.where(touched, side, -1.0).amax(1) for side in (low[0], -low[1]))
    gap = 0.5 * (
        _mean((contact_right[:, None] - low[0]).clamp(max=0.02), touched)
        + _mean((contact_left[:, None] + low[1]).clamp(max=0.02), touched)
    )
    near = (contact_right[:, None] - low[0] < 0.004) & touched
    share_right = near.float().mean(1)
    share_left = ((contact_left[:, None] + low[1] < 0.004) & touched).float().mean(1)
    both = touched & torch.isfinite(high[0])
    run = 0.5 * _mean((low[0] - high[0]) + (high[1] - low[1]), both)
    slant = torch.where(both.any(1), run / rise.clamp(min=0.002), torch.ones_like(run))
    inside = solid & (jaw.along.abs() <= 0.5 * (right + left)[:, None])[:, None, :]
    overlap = _mean((inside * (lines - tip[:, None, None])).amax(2), touched)
    shift = 0.5 * (right - left)
    cos, sin = torch.cos(angle), torch.sin(angle)
    hands = Hands(
        x=x + shift * cos,
        y=y + shift * sin,
        tip=tip,
        angle=angle,
        width=right + left + 2 * extra,
        grip=contact_right + contact_left + STEP,
        overlap=overlap,
        lines=torch.minimum(share_right, share_left),
        flat=gap,
        slant=slant,
        offset=_off_middle(scene, x + shift * cos, y + shift * sin, tip, cos, sin),
        clearance=extra,
        score=torch.zeros_like(tip),
    )
    return hands, angle + _turn(low, touched, across)


def _ends(solid: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """Right and left end (N, lines) of what is solid (N, lines, positions); infinite where nothing is."""
    beyond = 1.0  # farther than any position, so that the product is greatest at the end
    weight = solid.to(torch.float32)
    right = (weight * (along + beyond)).amax(2) - beyond
    left = beyond - (weight * (beyond - along)).amax(2)
    empty = right == -beyond
    return torch.where(empty, torch.inf, right), torch.where(empty, torch.inf, left)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean over lines (N, lines) where a mask holds; 0 where it never does."""
    return torch.where(where, values, 0.0).sum(1) / where.sum(1).clamp(min=1)


def _turn(ends: tuple[Tensor, Tensor], touched: Tensor, across: Tensor) -> Tensor:
    """Angle (N,) by which the hand would have to turn for its fingers to lie flat on both sides, at most a bin."""
    centred = across - _mean(across.expand_as(touched), touched)[:, None]
    spread = _mean(centred**2, touched).clamp(min=1e-8)
    slopes = [
        _mean(centred * (torch.where(touched, end, 0.0) - _mean(end, touched)[:, None]), touched) / spread for end in ends
    ]
    # Sides that lean apart (a cone, a round) ask for opposite turns: their mean is no turn.
    return -torch.atan(0.5 * (slopes[0] + slopes[1])).clamp(-0.2, 0.2)


def _off_middle(scene: Scene, x: Tensor, y: Tensor, tip: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Distance (N,) across the closing axis between the hand and the middle of what it grips, looking 60 mm both ways, m."""
    reach, step = 15, 0.004
    steps = step * torch.arange(1, reach + 1, device=x.device)
    ends = []
    for sign in (1, -1):
        heights = scene.sample(scene.bound, x[:, None] - sign * steps * sin[:, None], y[:, None] + sign * steps * cos[:, None])
        solid = heights > (tip + MARGIN)[:, None]
        ends.append(torch.cumprod(solid.to(torch.int8), 1).sum(1) * step)
    return 0.5 * (ends[0] - ends[1]).abs()
