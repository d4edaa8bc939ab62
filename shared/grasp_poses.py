"""N poses of a jaw or of a cup in the frame of a height map: where it is, which way it comes, how it is turned about that way.

The map's z points down along its approach, so that a height is -z. Straight down is one approach among others: what sweeps,
filters, compares or looks through a pose reads its `position` and `rotation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import Grasp, Gripper, Proposal
from grasp_client.geometry import invert

STRAIGHT = 1e-6
"""An approach that leans less than this from the map's, rad, is straight down: matrices that travel are rounded."""
STEEPEST = math.radians(80)
"""Most that the approach of a cup is seen to lean from that of the map, rad."""


@dataclass(frozen=True)
class HandPose:
    """N open jaws in a map. position (N, 3): midway between the fingertips, m. approach (N, 3): unit vectors. angle (N,): turn
    about the approach, rad. width (N,): opening, m.

    The orientation is kept as swing and twist: a turn about the map's z by `angle`, then the shortest rotation that takes z to
    the approach. Of a hand that goes straight down `angle` is that of the closing axis from map x to map y.
    """

    axisymmetric: ClassVar[bool] = False

    position: Tensor
    approach: Tensor
    angle: Tensor
    width: Tensor
    x: Tensor = field(init=False, repr=False)
    y: Tensor = field(init=False, repr=False)
    tip: Tensor = field(init=False, repr=False)
    """Heights (N,) midway between the fingertips, m."""
    rotation: Tensor = field(init=False, repr=False)
    """(N, 3, 3) with the closing axis, the axis across it and the approach as columns."""
    straight: bool = field(init=False, repr=False)
    """Whether all come straight down."""

    def __post_init__(self) -> None:
        x, y, z = self.position.unbind(1)
        first, second = _swing(self.approach)
        cos, sin = torch.cos(self.angle)[:, None], torch.sin(self.angle)[:, None]
        rotation = torch.stack([cos * first + sin * second, cos * second - sin * first, self.approach], 2)
        straight = not bool(self.approach[:, :2].any())
        # All of it follows from the four above, but is read at every step of a plan: it is kept, not asked for.
        self.__dict__.update(x=x, y=y, tip=-z, rotation=rotation, straight=straight)

    @classmethod
    def straight_down(cls, x: Tensor, y: Tensor, tip: Tensor, angle: Tensor, width: Tensor) -> HandPose:
        """Hands that come along the map's z, their tips at heights `tip` (N,), m."""
        approach = torch.zeros((len(x), 3), dtype=x.dtype, device=x.device)
        approach[:, 2] = 1
        return cls(torch.stack([x, y, -tip], 1), approach, angle, width)

    @classmethod
    def of(cls, position: Tensor, rotation: Tensor, width: Tensor) -> HandPose:
        """Hands with rotations (N, 3, 3): closing axis, axis across it, approach; those that lean hardly come straight down."""
        approach = rotation[:, :, 2].clone()
        approach[torch.linalg.norm(approach[:, :2], dim=1) < STRAIGHT] = approach.new_tensor([0.0, 0.0, 1.0])
        first, second = _swing(approach)
        closing = rotation[:, :, 0]
        angle = torch.atan2((second * closing).sum(1), (first * closing).sum(1))
        return cls(position.float(), approach.float(), angle.float(), width)

    def __len__(self) -> int:
        return len(self.position)


def _swing(approach: Tensor) -> tuple[Tensor, Tensor]:
    """Where the shortest rotation that takes z to approaches (N, 3) takes x and y, each (N, 3).

    Rodrigues' formula about z x approach; for approaches along z the results are exactly x and y.
    """
    ax, ay, az = approach.unbind(1)
    share = 1 / (1 + az)
    mixed = -ax * ay * share
    return torch.stack([1 - ax * ax * share, mixed, -ax], 1), torch.stack([mixed, 1 - ay * ay * share, -ay], 1)


def hands_of(map_pose: np.ndarray, grasps: Sequence[Grasp | Proposal], gripper: Gripper) -> HandPose:
    """Grasps, by `pose_camera` and `width`, in the frame of a map whose pose in the camera's frame is `map_pose` (4, 4).

    Raises ValueError for a grasp without either.
    """
    if any(grasp.pose_camera is None or grasp.width is None for grasp in grasps):
        raise ValueError("expected grasps with pose_camera and width; a plan made without a camera has neither")
    poses = _in_map(map_pose, grasps)
    tips = poses[:, :3, 3] + gripper.tcp_offset * poses[:, :3, 2]
    width = torch.tensor([grasp.width for grasp in grasps])
    return HandPose.of(tips, poses[:, :3, :3], width.float())


@dataclass(frozen=True)
class CupPose:
    """N contacts in a map: x, y, height (m), and the slopes of the surface's height along map x and y; tensors (N,)."""

    axisymmetric: ClassVar[bool] = True

    x: Tensor
    y: Tensor
    height: Tensor
    slope_x: Tensor
    slope_y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @property
    def position(self) -> Tensor:
        """(N, 3): the contacts, m."""
        return torch.stack([self.x, self.y, -self.height], 1)

    @property
    def approach(self) -> Tensor:
        """Unit vectors (N, 3) into the surface."""
        return -self.normal() * self.x.new_tensor([1.0, 1.0, -1.0])

    @property
    def rotation(self) -> Tensor:
        """(N, 3, 3) with two tangents, chosen freely since a cup is round, and the approach as columns."""
        first, second = _swing(self.approach)
        return torch.stack([first, second, self.approach], 2)

    def tangents(self) -> tuple[Tensor, Tensor]:
        """Unit vectors (N, 3) in the plane of the cup, as x, y and height: the first without a part along map y."""
        first = torch.stack([torch.ones_like(self.slope_x), torch.zeros_like(self.slope_x), self.slope_x], 1)
        first = first / torch.linalg.norm(first, dim=1, keepdim=True)
        second = torch.linalg.cross(self.normal(), first)
        return first, second

    def normal(self) -> Tensor:
        """Unit vectors (N, 3) out of the surface, as x, y and height."""
        normal = torch.stack([-self.slope_x, -self.slope_y, torch.ones_like(self.slope_x)], 1)
        result: Tensor = normal / torch.linalg.norm(normal, dim=1, keepdim=True)
        return result

    def offsets(self, along: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
        """Map x, y (N, S) of points (S,) in the plane of each cup, m from its centre."""
        first, second = self.tangents()
        x = along * first[:, :1] + across * second[:, :1]
        y = along * first[:, 1:2] + across * second[:, 1:2]
        return self.x[:, None] + x, self.y[:, None] + y

    def plane(self, x: Tensor, y: Tensor) -> Tensor:
        """Height of each cup's plane over map points x, y (N, S), m."""
        return (
            self.height[:, None] + self.slope_x[:, None] * (x - self.x[:, None]) + self.slope_y[:, None] * (y - self.y[:, None])
        )


def cups_of(map_pose: np.ndarray, grasps: Sequence[Grasp], gripper: Gripper) -> CupPose:
    """Grasps, by `pose_camera`, in the frame of a map as in `hands_of`; those that come from the side are seen at STEEPEST.

    Raises ValueError for a grasp without pose_camera.
    """
    if any(grasp.pose_camera is None for grasp in grasps):
        raise ValueError("expected grasps with pose_camera; a plan made without a camera has none")
    poses = _in_map(map_pose, grasps)
    approach = poses[:, :3, 2]
    contact = poses[:, :3, 3] + gripper.tcp_offset * approach
    level = torch.linalg.norm(approach[:, :2], dim=1, keepdim=True)
    slopes = approach[:, :2] / torch.maximum(approach[:, 2:], level / math.tan(STEEPEST)).clamp(min=1e-6)
    values = (contact[:, 0], contact[:, 1], -contact[:, 2], slopes[:, 0], slopes[:, 1])
    return CupPose(*(value.float() for value in values))


def _in_map(map_pose: np.ndarray, grasps: Sequence[Grasp | Proposal]) -> Tensor:
    """(N, 4, 4) float64: `pose_camera` of grasps in the map's frame."""
    into_map = invert(map_pose)
    poses = [into_map @ np.asarray(grasp.pose_camera, dtype=float) for grasp in grasps]
    return torch.as_tensor(np.array(poses).reshape(-1, 4, 4))
