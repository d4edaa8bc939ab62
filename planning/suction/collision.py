"""The way in of a cup: what its body would hit on a straight approach along the surface's normal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from planning.limits import PADDING
from planning.scene.scene import PlanningScene
from shared.networks.cup_frame import CupPose

LIP = 0.006
"""The soft part of a cup, m behind its rim: it may touch. A little more than lips are, because readings are noisy."""
LENGTH = 0.30
"""Straight approach that must be free, m."""
RING = 16
DENSE, GROWTH = 0.004, 1.25
"""Distance between the first two rings of samples along the body, m, and how fast it grows: what leans out far only meets
things that are tall, and those are wide."""


def body_overlap(scene: PlanningScene, radius: float, pose: CupPose) -> Tensor:
    """How far (N,) the highest thing in the way of each cup's body reaches into it, m; negative: the least free height."""
    angle = 2 * math.pi * torch.arange(RING, device=pose.x.device) / RING
    inner = 2 * math.pi * torch.arange(RING // 2, device=pose.x.device) / (RING // 2)
    wide = radius + PADDING
    along = torch.cat([wide * torch.cos(angle), wide / 2 * torch.cos(inner), torch.zeros(1, device=pose.x.device)])
    across = torch.cat([wide * torch.sin(angle), wide / 2 * torch.sin(inner), torch.zeros(1, device=pose.x.device)])
    x, y = pose.offsets(along, across)
    height = pose.plane(x, y)
    normal = pose.normal()
    top = float(scene.bound.max())
    deepest = torch.full_like(pose.x, -torch.inf)
    back, step = LIP, DENSE
    while back <= LENGTH:
        level = height + back * normal[:, 2:]
        bound = scene.sample(scene.bound, x + back * normal[:, :1], y + back * normal[:, 1:2])
        deepest = torch.maximum(deepest, (bound - level).amax(1))
        if bool((level.amin(1) > top).all()):
            break
        back, step = back + step, step * GROWTH
    return deepest


def lowest(radius: float, pose: CupPose) -> Tensor:
    """Height (N,) of the lowest point of each cup's body."""
    upright = pose.normal()[:, 2]
    return pose.height + LIP * upright - radius * torch.sqrt(1 - upright**2)
