"""What an open jaw would hit on its way in: the parts of the hand that are swept over the height map."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from planning.limits import PADDING
from planning.scene.scene import DILATION, Face, PlanningScene
from shared.grasp_poses import HandPose

DENSE = 0.0014
"""Samples this near to each other meet every 2 mm cell, however the grid is turned, m."""
PALM_STEP = 1.3 * DILATION
"""The same on the dilated map, cells."""


def hand_overlap(scene: PlanningScene, hands: HandPose, inner: Tensor | float = -PADDING) -> tuple[Tensor, Tensor]:
    """How far (N,) the highest thing in the way reaches over the tips of the open fingers of N hands, m, or over where these
    grow thicker: negative where all is free, infinite where anything may be under a finger's length. And the same over the
    lower faces of their palms, up to a cell beyond a palm's edge.

    Fingers are padded, but begin `inner` m outside their inner faces: what stands nearer was seen, and measured, by whoever
    moved them there.
    """
    thickness, pad_depth = scene.pad
    outer = torch.full_like(hands.width, thickness + PADDING)
    begin = inner + torch.zeros_like(outer)
    faces = [_palm(scene, hands), _plates(scene, hands, begin, outer, 0.0)]
    more = scene.gripper.finger_thickness - thickness
    if more:
        # Above its pad a finger stands out on the outside alone; over the rest of it the pad has come by.
        faces.append(_plates(scene, hands, outer, outer + more, pad_depth))
    bare = begin > 0
    if not bool(bare.any()):
        palm, *fingers = scene.overlap(hands.approach, *faces)
        return torch.stack(fingers).amax(0), palm
    # A side that runs aslant, as of a chord, stands farther out than where it was measured: it is seen there.
    cell = torch.full_like(outer, 0.5 * scene.map.resolution)
    faces.append(_plates(scene, hands, cell, torch.maximum(begin, cell), 0.0, scene.seen))
    palm, *fingers, seen = scene.overlap(hands.approach, *faces)
    return torch.stack([*fingers, torch.where(bare, seen, -torch.inf)]).amax(0), palm


def _plates(
    scene: PlanningScene, hands: HandPose, inner: Tensor, outer: Tensor, back: float, heights: Tensor | None = None
) -> Face:
    """Plates as wide as padded fingers, from `inner` to `outer` (N,) m outside the opening on both sides, that begin `back` m
    behind the tips. heights: what is in the way; none: all that may be."""
    gripper = scene.gripper
    share = _lattice(1.0, DENSE / (gripper.finger_thickness + 2 * PADDING), hands.width.device)
    along = share * (outer - inner)[:, None]
    across = _lattice(gripper.finger_width + 2 * PADDING, DENSE, hands.width.device)
    middle = (0.5 * (hands.width + inner + outer))[:, None]
    # Beyond its own length a finger only passes by: what rises there is known, what nobody has seen hardly that tall.
    obstacle = scene.obstacle if heights is None else heights
    beyond = scene.upper_bound if heights is None else heights
    layer = lambda back: obstacle if back <= gripper.finger_depth else beyond  # noqa: E731
    return _face(hands, torch.cat([along - middle, along + middle], 1), across, layer, back, DENSE)


def _palm(scene: PlanningScene, hands: HandPose) -> Face:
    gripper, cell = scene.gripper, scene.map.resolution
    along, across = palm_lattice(gripper.palm_width, gripper.palm_thickness, cell, scene.device)
    return _face(hands, along[None], across[:, 0], lambda back: scene.dilated, gripper.finger_depth, PALM_STEP * cell)


@lru_cache(maxsize=64)
def palm_lattice(width: float, thickness: float, cell: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Samples (A,) along the closing axis and (B, 1) across it, m, of a palm: on the dilated map of such cells within reach of
    each other, of every point of the palm and of a cell beyond its edge, however it is turned."""
    step = PALM_STEP * cell
    return _lattice(max(width - step, step), step, device), _lattice(max(thickness - step, step), step, device)[:, None]


@lru_cache(maxsize=256)
def _lattice(length: float, step: float, device: torch.device) -> Tensor:
    """Positions from -length/2 to length/2, at most a step apart."""
    return torch.linspace(-length / 2, length / 2, max(2, math.ceil(length / step) + 1), device=device)


def _face(
    hands: HandPose, along: Tensor, across: Tensor, layer_at: Callable[[float], Tensor], start: float, step: float
) -> Face:
    """Samples (N, across, along) in the plane of the tips: along (N or 1, A) the closing axes and across (B,) them, m."""
    along, across = along[:, None, :], across[None, :, None]
    (x, y, z), (x_across, y_across, z_across) = (axis[:, :, None, None].unbind(1) for axis in hands.rotation.unbind(2)[:2])
    height = hands.tip[:, None, None]
    if not hands.straight:
        height = height - along * z - across * z_across
    centre_x, centre_y = hands.x[:, None, None], hands.y[:, None, None]
    beside = across * x_across, across * y_across
    return Face(centre_x + along * x, centre_y + along * y, height, layer_at, start, step, beside)
