"""Filters that count what they refuse, and the ranking that makes ten answers ten different grasps."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import Gripper
from planning.jaw.candidates import JawCandidates
from planning.jaw.collision import finger_height, palm_height
from planning.jaw.fit import MARGIN, PALM_GAP
from planning.jaw.sampling import FLOOR
from planning.scene.projection import ProjectedGrasps, map_pixels, project_jaw
from planning.scene.region import outside_region
from planning.scene.scene import FORBIDDEN, PlanningScene
from planning.suction.candidates import SuctionCandidates

LEAST_DISTANCE = 0.015
LEAST_TURN = math.radians(30)
"""Two grasps nearer than both of these to each other are one grasp, m and rad."""
ROUNDING = 1e-5


def veto(scene: PlanningScene, gripper: Gripper, hands: JawCandidates) -> tuple[JawCandidates, ProjectedGrasps, Counter]:
    """The hands that may be returned, where they are in image and camera, and how many were refused for what.

    Every refusal is counted once, for the first reason in the order tried.
    """
    placed = project_jaw(scene, gripper, hands)
    tips = hands.tip + ROUNDING
    under_fingers = finger_height(scene, gripper, hands)
    reasons = {
        "no_depth": ~_seen(scene, hands, placed) | (under_fingers == FORBIDDEN),
        "border": ~_in_view(scene, gripper, hands),
        "too_wide": hands.width > gripper.max_width + ROUNDING,
        "too_narrow": hands.grip < gripper.min_width,
        "below_table": tips < scene.table_at(hands.x, hands.y) + FLOOR,
        "collision": (under_fingers > tips - MARGIN)
        | (palm_height(scene, gripper, hands.x, hands.y, hands.angle) > tips + gripper.finger_depth - PALM_GAP),
        **outside_region(scene, placed.pixel),
    }
    rejected: Counter = Counter()
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


def _in_view(scene: PlanningScene, gripper: Gripper, hands: JawCandidates) -> Tensor:
    """Both fingertips, open, lie inside the picture: what is beyond it cannot be judged."""
    rows, columns = scene.observation.size
    good = torch.ones(len(hands), dtype=torch.bool, device=hands.x.device)
    reach = hands.width / 2 + gripper.finger_thickness
    for sign in (-1, 1):
        pixel = map_pixels(
            scene, hands.x + sign * reach * torch.cos(hands.angle), hands.y + sign * reach * torch.sin(hands.angle), hands.tip
        )
        u, v = pixel.unbind(1)
        good &= (u >= -0.5) & (u <= columns - 0.5) & (v >= -0.5) & (v <= rows - 0.5)
    return good


def distinct(
    hands: JawCandidates | SuctionCandidates, most: int, distance: float = LEAST_DISTANCE, turn: float = LEAST_TURN
) -> Tensor:
    """Indices of at most `most` hands or cups, which are sorted best first, of which none repeats a better one."""
    x, y, angle = (values.detach().cpu().numpy() for values in (hands.x, hands.y, hands.angle))
    alive = np.ones(len(x), dtype=bool)
    chosen: list[int] = []
    for index in range(len(x)):
        if not alive[index]:
            continue
        chosen.append(index)
        if len(chosen) == most:
            break
        near = (x - x[index]) ** 2 + (y - y[index]) ** 2 < distance**2
        between = np.abs((angle - angle[index] + math.pi / 2) % math.pi - math.pi / 2)
        alive &= ~(near & (between < turn))
    return torch.as_tensor(chosen, dtype=torch.int64, device=hands.x.device)
