"""Would the weight of a thing peel the cup off that holds it beside its middle? Heights show middles, nothing shows weights."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates

VACUUM = 60e3
"""Pressure difference under a cup, Pa."""
LIGHTEST = 0.05
"""Least weight of a thing, kg: between it and HEAVIEST weights are even in their logarithm."""
HEAVIEST = 0.3
"""Greatest weight, kg."""
LEAST = 0.02
"""Probability with the worst peel moment: a thing may be lighter yet."""
RISE = 0.004
"""What rises so far over the table belongs to a thing, m."""
FARTHER = 0.030
"""What is connected may be more than one thing: its middle is believed to lie at most this much farther away than that of the
surface under the cup, m."""
GRAVITY = 9.81


def peel_probability(scene: PlanningScene, cups: SuctionCandidates) -> Tensor:
    """Probability (N,) that a thing of unknown weight does not peel off the cup that holds it.

    The rim gives way when weight times level distance exceeds vacuum times area times radius.
    """
    radius = scene.request.gripper.cup_radius
    distance = torch.minimum(_to_middle(scene, cups), cups.lever + FARTHER).clamp(min=1e-4)
    # Moment about the far rim: vacuum x area x radius against weight x distance.
    heaviest = VACUUM * math.pi * radius**3 / (GRAVITY * distance)
    return (torch.log(heaviest / LIGHTEST) / math.log(HEAVIEST / LIGHTEST)).clamp(LEAST, 1)


def _to_middle(scene: PlanningScene, cups: SuctionCandidates) -> Tensor:
    """Level distance (N,) from each contact to the middle of the volume of all that is connected to it, m."""
    height = scene.map.upper_bound - scene.map.table_map
    number, piece = cv2.connectedComponents((height > RISE).astype(np.uint8))
    row, column = np.nonzero(piece)
    pieces, volume = piece[row, column], height[row, column]
    total = np.maximum(np.bincount(pieces, volume, number), 1e-9)
    middle_x, middle_y = (
        torch.from_numpy(first + scene.map.resolution * np.bincount(pieces, volume * at, number) / total).to(cups.x)
        for first, at in zip(scene.map.corner, (column, row), strict=True)
    )
    [under] = scene.sample(cups.x, cups.y, torch.from_numpy(piece).to(scene.device).long())
    return torch.where(under > 0, torch.hypot(middle_x[under] - cups.x, middle_y[under] - cups.y), cups.lever)
