"""How far cups lie from the middle of what they hold, and the weight that they hold there before the seal peels off."""

import math

import torch
from torch import Tensor

from grasp_client.contract import Gripper
from shared.grasp_poses import CupPose
from shared.maps.heightmap import HeightMap

VACUUM = 60e3
"""Usual pressure difference under a cup, Pa."""
UNTOLD_MOMENT = 0.5
"""Of the vacuum's force times the cup's radius: the moment to count on where none is told. Seals peel between there and 1."""
MIDDLE_ERROR = 0.002
"""Typical error of a middle that is only seen, m."""
GRAVITY = 9.81


def seal_moment(gripper: Gripper) -> float:
    """The moment to count on, N m: told, or half of force times radius."""
    told = gripper.cup_moment
    return UNTOLD_MOMENT * VACUUM * math.pi * gripper.cup_radius**3 if told is None else told


def to_middle(scene: HeightMap, cups: CupPose) -> tuple[Tensor, Tensor]:
    """Level offsets (N,), (N,) from contacts to the middle of the things under them, m; 0 where there is none."""
    rows, columns = scene.height.shape
    row, column = (
        ((at - first) / scene.resolution).round().long().clamp(0, cells - 1)
        for at, first, cells in zip((cups.y, cups.x), reversed(scene.corner), (rows, columns), strict=True)
    )
    return scene.things.to_middle(row * columns + column, cups.x, cups.y)


def heaviest_held(gripper: Gripper, lever: Tensor) -> Tensor:
    """Greatest weight (N,), kg, that cups so far (N,), m, from the middle of a thing hold."""
    return seal_moment(gripper) / (GRAVITY * torch.hypot(lever, lever.new_tensor(MIDDLE_ERROR)))
