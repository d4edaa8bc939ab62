"""What a jaw may never do: filters of the answer that count what they refuse."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import Gripper
from planning.jaw.candidates import JawCandidates
from planning.jaw.collision import finger_overlap, lowest_tip, palm_overlap
from planning.limits import FINGER_GAP, PALM_GAP, TABLE_GAP
from planning.scene.projection import ProjectedGrasps, map_pixels, project_jaw
from planning.scene.region import outside_region
from planning.scene.scene import PlanningScene
from shared.grasp_poses import HandPose

ROUNDING = 1e-5
"""Fits take all the room that these limits leave, so that they must not be refused for a rounding, m."""


def veto(scene: PlanningScene, gripper: Gripper, hands: JawCandidates) -> tuple[JawCandidates, ProjectedGrasps, Counter[str]]:
    """The hands that may be returned, where they are in image and camera, and how many were refused for what.

    Every refusal is counted once, for the first reason in the order tried.
    """
    placed = project_jaw(scene, gripper, hands.pose)
    under_fingers = finger_overlap(scene, gripper, hands.pose)
    blocked = (under_fingers > ROUNDING - FINGER_GAP) | (palm_overlap(scene, gripper, hands.pose) > ROUNDING - PALM_GAP)
    reasons = {
        "no_depth": ~_seen(scene, hands, placed) | torch.isinf(under_fingers),
        "border": ~_in_view(scene, gripper, hands.pose),
        "too_wide": hands.width > gripper.max_width + ROUNDING,
        "too_narrow": hands.grip < gripper.min_width,
        "below_table": lowest_tip(gripper, hands.pose) + ROUNDING < scene.table_at(hands.x, hands.y) + TABLE_GAP,
        "collision": blocked,
        **outside_region(scene, placed.pixel),
    }
    rejected: Counter[str] = Counter()
    keep = torch.ones(len(hands), dtype=torch.bool, device=hands.x.device)
    for reason, refused in reasons.items():
        rejected[reason] += int((keep & refused).sum())
        keep &= ~refused
    return hands.pick(keep), placed.pick(keep), rejected


def _seen(scene: PlanningScene, hands: JawCandidates, placed: ProjectedGrasps) -> Tensor:
    """The cell under the hand and the pixel of its centre have readings."""
    depth = torch.from_numpy(np.ascontiguousarray(scene.observation.depth)).to(hands.x.device)
    rows, columns = depth.shape
    u, v = placed.pixel.unbind(1)
    column = torch.round(u).clamp(0, columns - 1).to(torch.int64)
    row = torch.round(v).clamp(0, rows - 1).to(torch.int64)
    known = scene.sample(scene.known, hands.x, hands.y)
    return known & (depth[row, column] > 0)


def _in_view(scene: PlanningScene, gripper: Gripper, hands: HandPose) -> Tensor:
    """Both fingertips, open, lie inside the picture: what is beyond it cannot be judged."""
    rows, columns = scene.observation.size
    good = torch.ones(len(hands), dtype=torch.bool, device=hands.width.device)
    reach = (hands.width / 2 + gripper.finger_thickness)[:, None] * hands.closing
    for end in (hands.position - reach, hands.position + reach):
        u, v = map_pixels(scene, end).unbind(1)
        good &= (u >= -0.5) & (u <= columns - 0.5) & (v >= -0.5) & (v <= rows - 0.5)
    return good
