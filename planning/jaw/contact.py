"""What the fingers of N hands would touch: where, how flat, how steep, and how near to the middle of the object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from planning.jaw.candidates import JawCandidates
from planning.scene.scene import OUTSIDE, PlanningScene
from shared.grasp_poses import HandPose

RISE = 0.008
"""Height over which the slant of the gripped sides is measured, m."""
MOST_TURN = 0.2
"""Most that a hand is turned to fit, rad: a bin of the survey."""
SAME_THICKNESS = 0.0003
"""Thicknesses that differ by less are the same, m."""
LOOK = 0.060
"""How far the middle of the object is looked for across the closing axis, m."""
LOOK_STEP = 0.002
"""In what steps, m."""
SAME_SIDE = 0.0075
"""A line whose contacts lie this near to the first ones is on the same sides of the object, m."""
FLUSH = 0.0035
"""A line whose contact lies this near to the first contact touches the finger as well, m. Like SAME_SIDE it lies between the
steps of the samples, so that rounding does not decide."""


@dataclass(frozen=True)
class Fingers:
    """Seen heights under N hands: `heights` (N, lines, positions), m, far below where nothing was read.

    along, across: sample positions in the hand, m. inner: the lines that a finger covers. tip: height of the tips (N,). What
    rises more than `margin` above them is held.
    """

    along: Tensor
    across: Tensor
    inner: slice
    heights: Tensor
    tip: Tensor
    margin: float


@dataclass(frozen=True)
class Contact:
    """What is held between the fingers of N hands.

    inside: heights (N, lines, positions) between the fingers, far below elsewhere. ends: right and left end (N, lines) of what
    is held, infinite on lines that hold nothing. touched: (N, lines) bool, the line holds something. held: (N,) bool,
    something seen is held. right, left: first contacts (N,), as distances from the centre. middle: of the two (N,), along the
    closing axis.
    """

    inside: Tensor
    ends: tuple[Tensor, Tensor]
    touched: Tensor
    held: Tensor
    right: Tensor
    left: Tensor

    @property
    def middle(self) -> Tensor:
        return 0.5 * (self.right - self.left)


def touch(fingers: Fingers, right: Tensor, left: Tensor) -> Contact:
    """Contacts of fingers that close from inner faces at distances right and left (N,) of the centre."""
    between = (fingers.along < right[:, None]) & (fingers.along > -left[:, None])
    inside = torch.where(between[:, None, :], fingers.heights, OUTSIDE)
    ends = _ends(inside, fingers.along, fingers.tip + fingers.margin)
    touched = torch.isfinite(ends[0])
    inner = touched[:, fingers.inner]
    # A closing finger stops at the farthest point under its own width; the lines beside it only show the shape.
    first_right, first_left = (torch.where(inner, side[:, fingers.inner], -1.0).amax(1) for side in (ends[0], -ends[1]))
    return Contact(inside, ends, touched, inner.any(1), first_right, first_left)


def describe(
    scene: PlanningScene,
    fingers: Fingers,
    contact: Contact,
    pose: tuple[Tensor, Tensor, Tensor],
    opening: tuple[Tensor, Tensor, Tensor],
) -> tuple[JawCandidates, Tensor]:
    """Hands (N,) with what they touch, and the angles (N,) that would fit the touched sides better.

    pose: x, y, angle of the centres. opening: middle between the fingers, half of the opening, clearance.
    """
    x, y, angle = pose
    middle, half, clearance = opening
    inner = fingers.inner
    touched = contact.touched[:, inner]
    gaps = (contact.right[:, None] - contact.ends[0][:, inner], contact.left[:, None] + contact.ends[1][:, inner])
    shares = [((gap < FLUSH) & touched).float().mean(1) for gap in gaps]
    cos, sin = torch.cos(angle), torch.sin(angle)
    x, y = x + middle * cos, y + middle * sin
    turn = _turn(contact, fingers.across)
    tops = contact.inside[:, inner].amax(2)
    above = (tops - fingers.tip[:, None]).clamp(min=0.0)
    hands = JawCandidates(
        pose=HandPose.straight_down(x, y, fingers.tip, angle, 2 * half),
        grip=contact.right + contact.left + (fingers.along[1] - fingers.along[0]),
        overlap=_mean(above, touched),
        lines=torch.minimum(*shares),
        flat=0.5 * torch.stack([_mean(gap.clamp(max=0.02), touched) for gap in gaps]).sum(0),
        slant=_slant(fingers, contact, tops.amax(1).clamp(min=0.0)),
        turn=turn,
        aside=(middle - contact.middle).abs(),
        offset=_off_middle(scene, (x, y), fingers.tip + fingers.margin, cos, sin),
        clearance=clearance,
        score=torch.zeros_like(x),
        source=torch.arange(len(x), device=x.device),
    )
    return hands, angle + turn


def _ends(inside: Tensor, along: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Right and left end (N, lines) of what rises above levels (N,) between the fingers; infinite where nothing does."""
    solid = inside > level[:, None, None]
    right, left = torch.where(solid, along, -torch.inf).amax(2), torch.where(solid, along, torch.inf).amin(2)
    return torch.where(right == -torch.inf, torch.inf, right), left


def _slant(fingers: Fingers, contact: Contact, tallest: Tensor) -> Tensor:
    """Run over rise (N,) of the sides above the contacts: 0 for upright ones. tallest: height (N,) of what is held."""
    # Compared a little higher up, but below the top, where every thing ends.
    rise = (0.6 * (tallest - fingers.tip)).clamp(max=RISE)
    low = [end[:, fingers.inner] for end in contact.ends]
    high = _ends(contact.inside[:, fingers.inner], fingers.along, fingers.tip + fingers.margin + rise)
    both = contact.touched[:, fingers.inner] & torch.isfinite(high[0])
    run = 0.5 * _mean((low[0] - high[0]) + (high[1] - low[1]), both)
    return torch.where(both.any(1), run / rise.clamp(min=0.002), 1.0)


def _turn(contact: Contact, across: Tensor) -> Tensor:
    """Angle (N,) by which the hand would turn for its fingers to lie flat: where the object is thinnest between them.

    A closing jaw turns an object to its thinnest, too. Angles of nearly the same thickness are averaged, so that rounds ask for
    no turn and coarse cells do not decide.
    """
    # Lines whose contacts jump lie on another side of the object, or on another object, and do not turn the hand.
    near = (contact.right[:, None] - contact.ends[0]).abs().maximum((contact.left[:, None] + contact.ends[1]).abs())
    followed = contact.touched & (near < SAME_SIDE)
    turns = _turns(across.device)
    right, left = (torch.where(followed, side, -1.0) for side in (contact.ends[0], -contact.ends[1]))
    sideways = turns[:, None] * across
    thickness = (right[:, None] + sideways).amax(2) + (left[:, None] - sideways).amax(2)
    # A soft minimum: among turns of equal thickness the mean, which for a round thing is none.
    weight = torch.softmax(-thickness / SAME_THICKNESS, 1)
    return (weight * turns).sum(1)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean over lines (N, lines) where a mask holds; 0 where it never does."""
    return torch.where(where, values, 0.0).sum(1) / where.sum(1).clamp(min=1)


def _off_middle(scene: PlanningScene, centre: tuple[Tensor, Tensor], level: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Where the middle of what is gripped lies across the closing axis (N,), seen from the hand, m."""
    both, beside, place = _paces(level.device)
    count = len(place) // 2
    cos, sin = cos[:, None, None], sin[:, None, None]
    x, y = centre[0][:, None, None] - both * sin, centre[1][:, None, None] + both * cos
    solid = scene.sample(scene.seen, x, y, (beside * cos, beside * sin)) > level[:, None, None]
    first = torch.where(solid, float(count), place)  # the steps before the first that is not solid
    ahead, behind = first[..., :count].amin(2).mean(1), first[..., count:].amin(2).mean(1)
    return 0.5 * LOOK_STEP * (ahead - behind)


@lru_cache
def _turns(device: torch.device) -> Tensor:
    """Turns that are tried, rad."""
    return torch.linspace(-MOST_TURN, MOST_TURN, 21, device=device)


@lru_cache
def _paces(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Steps across the closing axis ahead and behind (2 S,), lines beside it (3, 1), m, and the number of each step (2 S,)."""
    count = round(LOOK / LOOK_STEP)
    step = torch.linspace(LOOK_STEP, LOOK, count, device=device)
    beside = torch.tensor([-0.004, 0.0, 0.004], device=device)[:, None]
    return torch.cat([step, -step]), beside, torch.arange(count, dtype=torch.float32, device=device).repeat(2)
