"""What an open jaw would hit on its way in: the parts of the hand that are swept over the height map."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from grasp_client.contract import Gripper
from planning.limits import PADDING
from planning.scene.scene import DILATION, Face, PlanningScene
from shared.grasp_poses import HandPose

DENSE = 0.0014
"""Samples this near to each other meet every 2 mm cell, however the grid is turned, m."""


def hand_overlap(scene: PlanningScene, gripper: Gripper, hands: HandPose, inner: Tensor) -> tuple[Tensor, Tensor]:
    """`finger_overlap` and `palm_overlap` (N,), m."""
    return finger_overlap(scene, gripper, hands, inner), palm_overlap(scene, gripper, hands)


def finger_overlap(scene: PlanningScene, gripper: Gripper, hands: HandPose, inner: Tensor | float = -PADDING) -> Tensor:
    """How far (N,) the highest thing in the way reaches over the tips of the open fingers of N hands, m, or over where these
    grow thicker: negative where all is free, infinite where anything may be under a finger's length.

    Fingers are padded, but begin `inner` m outside their inner faces: what stands nearer was seen, and measured, by whoever
    moved them there.
    """
    thickness, pad_depth = gripper.pad
    outer = torch.full_like(hands.width, thickness + PADDING)
    begin = inner + torch.zeros_like(outer)
    pads = _plate_overlap(scene, gripper, hands, begin, outer, 0.0)
    if bool((begin > 0).any()):
        # A side that runs aslant, as of a chord, stands farther out than where it was measured: it is seen there.
        cell = torch.full_like(outer, 0.5 * scene.map.resolution)
        seen = _plate_overlap(scene, gripper, hands, cell, torch.maximum(begin, cell), 0.0, scene.seen)
        pads = torch.where(begin > 0, torch.maximum(pads, seen), pads)
    if thickness == gripper.finger_thickness:
        return pads
    # Above its pad a finger stands out on the outside alone; over the rest of it the pad has come by.
    more = gripper.finger_thickness - thickness
    return torch.maximum(pads, _plate_overlap(scene, gripper, hands, outer, outer + more, pad_depth))


def _plate_overlap(
    scene: PlanningScene,
    gripper: Gripper,
    hands: HandPose,
    inner: Tensor,
    outer: Tensor,
    back: float,
    heights: Tensor | None = None,
) -> Tensor:
    """Of plates as wide as padded fingers, from `inner` to `outer` (N,) m outside the opening on both sides, that begin
    `back` m behind the tips. heights: what is in the way; none: all that may be."""
    share = _lattice(1.0, DENSE / (gripper.finger_thickness + 2 * PADDING), hands.width.device)
    along = share * (outer - inner)[:, None]
    across = _lattice(gripper.finger_width + 2 * PADDING, DENSE, hands.width.device)
    middle = (0.5 * (hands.width + inner + outer))[:, None]
    # Beyond its own length a finger only passes by: what rises there is known, what nobody has seen hardly that tall.
    obstacle = scene.obstacle if heights is None else heights
    beyond = scene.upper_bound if heights is None else heights
    layer = lambda back: obstacle if back <= gripper.finger_depth else beyond  # noqa: E731
    face = _face(hands, torch.cat([along - middle, along + middle], 1), across)
    return scene.overlap(layer, face, hands.approach, back, DENSE)


def palm_overlap(scene: PlanningScene, gripper: Gripper, hands: HandPose) -> Tensor:
    """How far (N,) the highest thing in the way reaches over the lower faces of the palms of N hands, m; up to a cell beyond a
    palm's edge counts."""
    along, across, step = _palm(scene, gripper)
    face = _face(hands, along[None], across)
    return scene.overlap(lambda back: scene.dilated, face, hands.approach, gripper.finger_depth, step)


def top_under_palm(scene: PlanningScene, gripper: Gripper, x: Tensor, y: Tensor, angle: Tensor) -> Tensor:
    """Height (N,) of the highest thing under the palms of hands that come straight down at map x, y, turned by `angle` (N,), m;
    as in `palm_overlap`."""
    along, across, _ = _palm(scene, gripper)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    at = x[:, None, None] + along * cos, y[:, None, None] + along * sin
    [found] = scene.sample(*at, scene.dilated, beside=(across[:, None] * -sin, across[:, None] * cos))
    return found.amax((1, 2))


def _palm(scene: PlanningScene, gripper: Gripper) -> tuple[Tensor, Tensor, float]:
    """Samples along the closing axis and across it, m, and how far apart: within `reach` of every point of the palm, however
    it is turned, that far apart and that far from its edge."""
    reach = DILATION * scene.map.resolution
    inset, step = 1.3 * reach, 1.3 * reach
    along = _lattice(max(gripper.palm_width - inset, inset), step, scene.device)
    return along, _lattice(max(gripper.palm_thickness - inset, inset), step, scene.device), step


@lru_cache(maxsize=256)
def _lattice(length: float, step: float, device: torch.device) -> Tensor:
    """Positions from -length/2 to length/2, at most a step apart."""
    return torch.linspace(-length / 2, length / 2, max(2, math.ceil(length / step) + 1), device=device)


def _face(hands: HandPose, along: Tensor, across: Tensor) -> Face:
    """Samples (N, across, along) in the plane of the tips: along (N or 1, A) the closing axes and across (B,) them, m."""
    along, across = along[:, None, :], across[None, :, None]
    (x, y, z), (x_across, y_across, z_across) = (axis[:, :, None, None].unbind(1) for axis in hands.rotation.unbind(2)[:2])
    height = hands.tip[:, None, None]
    if not hands.straight:
        height = height - along * z - across * z_across
    centre_x, centre_y = hands.x[:, None, None], hands.y[:, None, None]
    return Face(centre_x + along * x, centre_y + along * y, height, (across * x_across, across * y_across))
