"""What a jaw may never do: filters of the answer that count what they refuse."""

from collections import Counter

import torch
from torch import Tensor

from planning.goal.contacts import misses_goal
from planning.jaw.candidates import JawCandidates
from planning.jaw.collision import hand_overlap
from planning.limits import FINGER_GAP, PALM_GAP, TABLE_GAP
from planning.scene.projection import view_of_jaw
from planning.scene.region import outside_region
from planning.scene.scene import PlanningScene
from shared.grasp_poses import HandPose

WALL_GAP = 0.001
"""Between an open finger and the inner face of a bin's wall, m: its place is the middle of many readings."""
ROUNDING = 1e-5
"""Fits take all the room that these limits leave, so that they must not be refused for a rounding, m."""


def veto(scene: PlanningScene, hands: JawCandidates) -> tuple[JawCandidates, Counter[str]]:
    """The hands that may be returned, and how many were refused for what."""
    return hands.filtered(objections(scene, hands))


def objections(scene: PlanningScene, hands: JawCandidates) -> dict[str, Tensor]:
    """By reason, which hands (N,) bool it refuses."""
    gripper = scene.gripper
    pixels, read, in_view = view_of_jaw(scene, hands.pose)
    under_fingers, under_palm = hand_overlap(scene, hands.pose, hands.inner)
    reasons = {
        "no_depth": ~(hands.known & read) | torch.isinf(under_fingers),
        "border": ~in_view,
        "too_wide": hands.width > gripper.max_width + ROUNDING,
        "too_narrow": hands.grip < gripper.min_width,
        "below_table": hands.rise - dip(scene, hands.pose) + ROUNDING < TABLE_GAP,
        "collision": (under_fingers > ROUNDING - FINGER_GAP) | (under_palm > ROUNDING - PALM_GAP),
    }
    if scene.restricted:
        reasons |= outside_region(scene, pixels)
    if scene.goal is not None:
        reasons["not_goal"] = misses_goal(scene, hands.pose)
    if scene.bin:
        reasons["bin"] = _at_wall(scene, hands)
    return reasons


def dip(scene: PlanningScene, hands: HandPose) -> Tensor:
    """How far (N,) the lowest point of the open fingers of N hands lies under the middle between their tips, m."""
    slope_x, slope_y = hands.rotation[:, 2, 0].abs(), hands.rotation[:, 2, 1].abs()
    gripper, (thickness, pad_depth) = scene.gripper, scene.pad
    tips = slope_x * (hands.width / 2 + thickness)
    above = slope_x * (hands.width / 2 + gripper.finger_thickness) - pad_depth * hands.rotation[:, 2, 2].abs()
    return torch.maximum(tips, above) + slope_y * gripper.finger_width / 2


def _at_wall(scene: PlanningScene, hands: JawCandidates) -> Tensor:
    """Whether (N,) a hand would hold a wall of the bin or what lies beyond it, or run a finger into one.

    Contacts must lie inside. So must the open fingers whose tips are lower than the rim, whose faces there are planes: padding
    for cells and holes is not needed, WALL_GAP is what the noise of a wall's place asks for.
    """
    assert scene.bin is not None
    pose, gripper = hands.pose, scene.gripper
    contact = (0.5 * hands.grip)[:, None] * pose.rotation[:, :, 0]
    contacts = torch.stack([pose.position + contact, pose.position - contact])
    outer = (0.5 * pose.width + gripper.finger_thickness)[:, None] * pose.rotation[:, :, 0]
    beside = 0.5 * gripper.finger_width * pose.rotation[:, :, 1]
    corners = torch.stack([pose.position + a * outer + b * beside for a in (1, -1) for b in (1, -1)])
    over_wall = (scene.bin.gap(contacts[..., 0], contacts[..., 1]) < 0).any(0)
    in_wall = (scene.bin.gap(corners[..., 0], corners[..., 1]) < WALL_GAP).any(0) & (hands.rise < scene.bin.rim + FINGER_GAP)
    result: Tensor = over_wall | in_wall
    return result
