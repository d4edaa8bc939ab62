"""How deep a jaw that goes straight down can go at N poses and how wide it must open; what it then touches is in `contact`."""

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from planning.jaw.candidates import JawCandidates
from planning.jaw.collision import palm_lattice
from planning.jaw.contact import ROUNDING, Fingers, Room, grip
from planning.limits import FINGER_GAP, LEAST_OVERLAP, PADDING, PALM_GAP, TABLE_GAP
from planning.scene.scene import Lattice, PlanningScene
from shared.grasp_poses import HandPose

DEPTHS = (0.030, 0.024, 0.018, 0.013, 0.009, 0.006)
"""How far under the top of the object the tips may reach, m; the deepest that fits is taken."""
REACH = 0.375
"""Hands that open wide reach deeper, this share of their opening and half of the way there: what they hold is larger."""
COMFORTABLE_GAP = 0.004
"""Tips stay this far above the table where what they hold is thick enough: a camera is mounted a few millimetres off, m."""
GAP_SHARE = 0.4
"""They stay above it by this share of the height of thinner things, TABLE_GAP at least."""
STEP = 0.002
"""Distance of the samples along the closing axis in a first look, m: a cell of the map."""
CLOSE_STEP = 0.001
"""The same in a close look, m: edges lie between cells."""
LINE = 0.004
"""Distance of the lines of samples, m."""
BESIDE = 0.008
"""How far a close look follows the object's sides beside the fingers, m: a turn of the hand shows in longer sides."""
MIDDLE = 0.004
"""The top of the object is looked for so near to the centre, m."""
INNER = 0.004
"""As far as this outside the inner face of a finger that has no room for padding only readings count, m: what hides the
sides of the thing between the fingers also hides a strip beside it."""
SLACK = 0.014
"""How far off the middle of what it grips a candidate may be, m: it is moved to the middle."""


@dataclass(frozen=True)
class _Jaw:
    """Sample positions in the hand, m: `along` (A,) the closing axis, `step` apart, and lines `across` (L,) it; `tips` (3, 1):
    midway between the fingers of the open hand, and at both.

    swept: the first so many lines lie under a padded finger. inner: those of them that a finger itself covers. bare: how far
    outside its inner face a finger without room for padding must be free of whatever may be hidden, m.
    """

    step: float
    along: Tensor
    across: Tensor
    tips: Tensor
    swept: int
    inner: slice
    bare: float

    @property
    def centre(self) -> int:
        return len(self.along) // 2


def measure(
    scene: PlanningScene, x: Tensor, y: Tensor, angle: Tensor, tip: Tensor | None = None, close: bool = False
) -> tuple[JawCandidates, Counter[str]]:
    """Hands at the poses that hold something, moved to its middle.

    x, y, angle: (M,) in the map frame. tip: heights (M,) that the tips are to have; default: as deep as fits. close: look
    closely, as it takes to turn a hand by less than a bin. What cannot be gripped is left out and counted.
    """
    gripper, axis = scene.gripper, (torch.cos(angle), torch.sin(angle))
    jaw = _jaw(gripper.max_width, gripper.finger_width, gripper.finger_thickness, scene.pad, close, scene.device)
    found = _deepest(scene, jaw, (x, y, axis), tip)
    rejected = Counter({reason: int(refused.sum()) for reason, refused in found.refused.items()})
    some, fit, level = found.some, found.fit, found.level[found.some]
    tip, right, left, free_right, free_left = (
        each[some, level] for each in (found.tips, fit.right, fit.left, fit.free_right, fit.free_left)
    )
    seen = found.seen if some.all() else found.seen[some]
    lines = Fingers(jaw.step, jaw.along, jaw.across, jaw.inner, jaw.swept, seen, tip)
    room = Room(right, left, free_right, free_left, torch.where(found.padded[some], -PADDING, jaw.bare))
    hands = grip(
        scene, lines, room, (x[some], y[some], angle[some]), (axis[0][some], axis[1][some]), torch.nonzero(some).squeeze(1)
    )
    rejected["no_depth"] += len(tip) - len(hands.score)
    return hands, rejected


def misfits(scene: PlanningScene, x: Tensor, y: Tensor, angle: Tensor) -> dict[str, HandPose]:
    """Of poses (M,) in the map frame those that can grip nothing, by reason: open as wide as the jaw goes, their tips as little
    deep as is tried, whatever the palm then meets."""
    gripper = scene.gripper
    jaw = _jaw(gripper.max_width, gripper.finger_width, gripper.finger_thickness, scene.pad, False, scene.device)
    found = _deepest(scene, jaw, (x, y, (torch.cos(angle), torch.sin(angle))), None)
    wide, table = torch.full_like(x, gripper.max_width), scene.table_at(x, y) + TABLE_GAP
    tip = torch.maximum(found.top - DEPTHS[-1], table)
    palm = found.refused["below_table"] & (found.top - table >= LEAST_OVERLAP)  # it is the palm that keeps the tips so high
    refused = found.refused | {
        "below_table": found.refused["below_table"] & ~palm,
        "collision": found.refused["collision"] | palm,
    }
    return {
        reason: HandPose.straight_down(x[which], y[which], tip[which], angle[which], wide[which])
        for reason, which in refused.items()
    }


@dataclass(frozen=True)
class _Found:
    """How deep hands at M poses can go. top (M,): of what they hold. seen: heights (M, lines, positions). tips (M, levels),
    fit: of these; padded (M,): its fingers are. some (M,): one level serves; level (M,): the deepest that does. refused: masks
    (M,) of the others, by reason."""

    top: Tensor
    seen: Tensor
    tips: Tensor
    fit: "_Fit"
    padded: Tensor
    some: Tensor
    level: Tensor
    refused: dict[str, Tensor]


def _deepest(scene: PlanningScene, jaw: _Jaw, pose: tuple[Tensor, Tensor, tuple[Tensor, Tensor]], tip: Tensor | None) -> _Found:
    """pose: x, y (M,) and the closing axes as for `PlanningScene.under_hands`; tip as for `measure`."""
    gripper = scene.gripper
    fingers = Lattice(jaw.along, jaw.across[:, None], (scene.upper_bound, scene.seen))
    palm = palm_lattice(gripper.palm_width, gripper.palm_thickness, scene.map.resolution, scene.device)
    table, ((highest, seen), [under_palm]) = scene.under_hands(*pose, jaw.tips, fingers, Lattice(*palm, (scene.dilated,)))
    upper_bound = highest[:, : jaw.swept]
    # Depth counts from the top between the fingers, not from the tallest thing in the strip, which may be a neighbour.
    near = round(MIDDLE / jaw.step)
    top = upper_bound[:, jaw.inner, jaw.centre - near : jaw.centre + near + 1].amax((1, 2))
    floor = torch.maximum(_over_table(table, top), under_palm.amax((1, 2)) - gripper.finger_depth + PALM_GAP)
    wanted = top[:, None] - _depths(gripper.finger_depth, gripper.max_width, scene.device) if tip is None else tip[:, None]
    tips = torch.maximum(wanted, floor[:, None])
    # A finger is as wide as its lines together: where the highest of them leaves room, all do.
    strip, high = upper_bound.amax(1), top[:, None] - tips >= LEAST_OVERLAP
    fit = _fit(scene, strip, tips, jaw, -PADDING)
    padded = (fit.fits & high).any(1)
    # Where no padded finger fits, one may that stands as near to what it holds as that is seen to reach.
    lacking = torch.nonzero(~padded).squeeze(1)
    fit.replace(lacking, _fit(scene, strip[lacking], tips[lacking], jaw, jaw.bare))
    good = fit.fits & high
    # Levels are sorted deepest first, and argmax finds the first: a deep grip slips less.
    some, level = good.any(1), torch.argmax(good.to(torch.uint8), 1)
    reached, tall = torch.isfinite(fit.right + fit.left).any(1), high.any(1)
    refused = {"below_table": ~tall, "too_wide": tall & ~some & reached, "collision": tall & ~some & ~reached}
    return _Found(top, seen, tips, fit, padded, some, level, refused)


@lru_cache(maxsize=64)
def _jaw(
    max_width: float, finger_width: float, thickness: float, pad: tuple[float, float], close: bool, device: torch.device
) -> _Jaw:
    step = CLOSE_STEP if close else STEP
    reach = max_width / 2 + SLACK + thickness + 2 * PADDING
    count = math.ceil(reach / step)
    along = step * torch.arange(-count, count + 1, device=device)
    half = finger_width / 2 + PADDING
    swept = max(5, math.ceil(2 * half / LINE) + 1)
    across = torch.linspace(-half, half, swept, device=device)
    beyond = int((across < -finger_width / 2).sum())
    if close:
        beside = half + LINE * torch.arange(1, round(BESIDE / LINE) + 1, device=device)
        across = torch.cat([across, beside, -beside])
    tips = max_width / 2 * torch.tensor([[0.0], [1.0], [-1.0]], device=device)
    return _Jaw(step, along, across, tips, swept, slice(beyond, swept - beyond), min(INNER, pad[0] / 2))


@lru_cache(maxsize=64)
def _depths(finger_depth: float, max_width: float, device: torch.device) -> Tensor:
    deepest = max(finger_depth - PALM_GAP, LEAST_OVERLAP)
    wide = REACH * max_width
    deeper = (wide, 0.5 * (wide + DEPTHS[0])) if wide > DEPTHS[0] else ()
    return torch.tensor([*deeper, *DEPTHS], device=device).clamp(max=deepest)


def _over_table(table: Tensor, top: Tensor) -> Tensor:
    """Lowest height of the tips (M,) over the table, (3, M) at `_Jaw.tips`: the less the lower the object's top (M,)."""
    under, right, left = table.unbind()
    return torch.maximum(right, left) + (GAP_SHARE * (top - under)).clamp(TABLE_GAP, COMFORTABLE_GAP)


class _Fit(NamedTuple):
    """Where M fingers fit, right and left of the centre. free_right, free_left (M, levels, distances): with the inner face at a
    distance. right, left (M, levels): the nearest of these, m, infinite without one. fits (M, levels): both within the
    opening."""

    free_right: Tensor
    free_left: Tensor
    right: Tensor
    left: Tensor
    fits: Tensor

    def replace(self, rows: Tensor, others: "_Fit") -> None:
        """Take, in place, others for the fingers at these indices."""
        for mine, other in zip(self, others, strict=True):
            mine[rows] = other


def _fit(scene: PlanningScene, strip: Tensor, tips: Tensor, jaw: _Jaw, inner: float) -> _Fit:
    """strip: (M, positions), the highest across a padded finger. tips: (M, levels). inner: where the part of a finger begins
    that must be free, m from its inner face outwards."""
    limit = (tips - FINGER_GAP)[:, :, None]
    gripper, (at_tip, pad_depth) = scene.gripper, scene.pad
    begin = math.floor(inner / jaw.step + 1e-3)
    first = jaw.centre + begin
    # Samples under a finger at its tip, and above its pad, where it has all of its thickness.
    windows = [math.ceil((each + PADDING) / jaw.step - 1e-3) - begin + 1 for each in (at_tip, gripper.finger_thickness)]
    free = []
    for side in (strip, strip.flip(1)):
        # The highest under a finger whose inner face lies at each position: a sliding maximum over its thickness.
        tip, whole = (F.max_pool1d(side[:, None], window, 1)[:, :, first:] for window in windows)
        free.append((tip[:, :, : whole.shape[2]] <= limit) & (whole <= limit + pad_depth))
    right, left = (jaw.step * _first(side) for side in free)
    return _Fit(free[0], free[1], right, left, right + left <= gripper.max_width + ROUNDING)


def _first(free: Tensor) -> Tensor:
    """Index (M, levels) of the first True along the distances of (M, levels, distances), infinite without one."""
    count = free.shape[2]
    # The greatest number from behind, of small integers, is found much faster than the least index.
    found = (free * torch.arange(count, 0, -1, dtype=torch.int16, device=free.device)).amax(2)
    return torch.where(found > 0, (count - found).to(torch.float32), torch.inf)
