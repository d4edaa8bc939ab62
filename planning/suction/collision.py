"""The way in of a cup: what its body would hit on a straight approach along the surface's normal."""

import math

import torch
from torch import Tensor

from planning.limits import PADDING
from planning.scene.scene import Face, PlanningScene
from shared.grasp_poses import CupPose

LIP = 0.005
"""The soft part of a cup, m behind its rim: it may touch, and what bulges into the cup reaches no farther."""
RING = 16
DENSE = 0.004
"""Distance between the first two rings of samples along the body, m."""


def body_overlap(scene: PlanningScene, radius: float, pose: CupPose) -> Tensor:
    """How far (N,) the highest thing in the way of each cup's body reaches into it, m; negative: the least free height."""
    angle = 2 * math.pi * torch.arange(RING, device=pose.x.device) / RING
    inner = 2 * math.pi * torch.arange(RING // 2, device=pose.x.device) / (RING // 2)
    wide = radius + PADDING
    along = torch.cat([wide * torch.cos(angle), wide / 2 * torch.cos(inner), torch.zeros(1, device=pose.x.device)])
    across = torch.cat([wide * torch.sin(angle), wide / 2 * torch.sin(inner), torch.zeros(1, device=pose.x.device)])
    x, y = pose.offsets(along, across)
    [overlap] = scene.overlap(pose.approach, Face(x, y, pose.plane(x, y), lambda back: scene.upper_bound, LIP, DENSE))
    return overlap


def lowest(radius: float, pose: CupPose) -> Tensor:
    """Height (N,) of the lowest point of each cup's body."""
    upright = pose.normal()[:, 2]
    return pose.height + LIP * upright - radius * torch.sqrt(1 - upright**2)
