"""Which part of a hand meets something, and where: points inside of its fingers and palm held against the map."""

import torch
from torch import Tensor

from grasp_client.contract import Gripper, HandPart
from planning.limits import PADDING
from planning.scene.scene import PlanningScene
from planning.suction.collision import LIP
from shared.grasp_poses import CupPose, HandPose

STEP = 0.003
"""Distance of the points inside of a part, m."""
PALM = 0.03
"""As far up the palm as is looked, m."""
CUP = 0.04
"""The same of a cup's body."""


def meeting_points(
    scene: PlanningScene, gripper: Gripper, poses: HandPose | CupPose
) -> list[tuple[HandPart, tuple[float, float, float]]]:
    """For each of N poses the part that reaches deepest into something, or comes nearest to that, and where on the surface of
    what it meets, in the map frame, m; what nobody has seen is met where the part enters it."""
    found = []
    for index in range(len(poses)):
        position, rotation = poses.position[index], poses.rotation[index]
        parts = _jaw(gripper, float(poses.width[index])) if isinstance(poses, HandPose) else _cup(gripper)
        meetings: list[tuple[float, HandPart, tuple[float, float, float]]] = []
        for part, local in parts.items():
            points = local.to(position.device, position.dtype) @ rotation.T + position
            x, y, level = points[:, 0], points[:, 1], -points[:, 2]
            [height] = scene.sample(x.clone(), y.clone(), scene.obstacle)
            depth, where = (height - level).max(0)
            meets = float(height[where] if torch.isfinite(height[where]) else level[where])
            meetings.append((float(depth), part, (float(x[where]), float(y[where]), -meets)))
        found.append(max(meetings)[1:])
    return found


def _jaw(gripper: Gripper, width: float) -> dict[HandPart, Tensor]:
    """Points (N, 3) in the grasp frame of both fingers, padded outwards and across, and of the palm."""
    thin, low = gripper.pad
    finger = gripper.finger_width + 2 * PADDING
    plates = [
        _box(thin + PADDING, finger, 0.0, low),
        _box(gripper.finger_thickness + PADDING, finger, low, gripper.finger_depth),
    ]
    right = torch.cat([plate + plate.new_tensor([width / 2, 0.0, 0.0]) for plate in plates])
    left = right * right.new_tensor([-1.0, 1.0, 1.0])
    palm = _box(gripper.palm_width, gripper.palm_thickness, gripper.finger_depth, gripper.finger_depth + PALM)
    return {"finger_right": right, "finger_left": left, "palm": palm - palm.new_tensor([gripper.palm_width / 2, 0.0, 0.0])}


def _cup(gripper: Gripper) -> dict[HandPart, Tensor]:
    body = _box(2 * gripper.cup_radius, 2 * gripper.cup_radius, LIP, CUP) - torch.tensor([gripper.cup_radius, 0.0, 0.0])
    return {"cup": body[torch.hypot(body[:, 0], body[:, 1]) <= gripper.cup_radius + 1e-6]}


def _box(along: float, across: float, low: float, high: float) -> Tensor:
    """Points (N, 3) of a box from 0 to `along`, across the middle, and from `low` to `high` back from the tips."""
    axes = (_steps(0.0, along), _steps(-across / 2, across / 2), -_steps(low, max(high, low + 1e-4)))
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def _steps(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, max(2, round((high - low) / STEP) + 1))
