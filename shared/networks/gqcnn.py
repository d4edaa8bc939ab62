"""GQ-CNN in the size of Dex-Net 5.0: quality of one 32x32 depth crop, 18,008,385 parameters.

The grasp centre is the crop's centre and the closing axis lies along its middle row (Dex-Net 2.0, arXiv 1703.09312).
Parameter names are those of the published PyTorch state dicts: conv1..conv4, fc, fc2, fc3. `pc1` exists only with the
gripper-depth stream, which the published networks lack.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["same", "valid"]
CROP = 32
AT_ONCE = 16
"""Crops that go through the convolutions together on a CPU: the maps of more leave the cache."""


class ResponseNorm(nn.LocalResponseNorm):
    """Values of `nn.LocalResponseNorm` with beta = 0.75, for maps (N, C, H, W), without its pooling and powers, which take ten
    times as long: the 320 crops of a plan of `gqcnn` take 0.97 s with it and 1.28 s with torch's on a core."""

    def __init__(self, size: int, alpha: float, k: float = 1.0) -> None:
        super().__init__(size, alpha=alpha, beta=0.75, k=k)

    def forward(self, x: Tensor) -> Tensor:
        squares = x * x
        total = squares.clone()
        for shift in range(1, self.size // 2 + 1):
            total[:, shift:] += squares[:, :-shift]
        for shift in range(1, (self.size - 1) // 2 + 1):
            total[:, :-shift] += squares[:, shift:]
        root = (self.k + self.alpha / self.size * total).rsqrt()
        return x * root * root.sqrt()


class GripperDepth(nn.Module):
    """The optional stream of Dex-Net 2.0: gripper depth (N,) in metres -> (N, 16).

    lean: as in Dex-Net 3.0 for suction, mean and deviation of the approach's angle from the optical axis, rad; the input is
    then (N, 2), depth and angle.
    """

    def __init__(self, mean: float, std: float, lean: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.mean, self.std, self.lean = mean, std, lean
        self.linear = nn.Linear(1 if lean is None else 2, 16)

    def forward(self, pose: Tensor) -> Tensor:
        return F.relu(self.linear(standard_pose(pose, self.mean, self.std, self.lean)))


def standard_pose(pose: Tensor, mean: float, std: float, lean: tuple[float, float] | None) -> Tensor:
    """Gripper depths (N,) as (N, 1), or poses (N, 2) of depth and lean, less their mean and over their deviation."""
    if lean is None:
        return ((pose - mean) / std)[:, None]
    return (pose - pose.new_tensor([mean, lean[0]])) / pose.new_tensor([std, lean[1]])


class GQCNNTrunk(nn.Module):
    """conv1..conv4 with normalised input and the optional stream of the gripper's depth, for crops and whole images.

    padding: `same` as published (a crop then sees zeros beyond its rim), or `valid`, with which crops and the fully
    convolutional forms agree everywhere. mean, std: of the training images, metres. lean: for suction, see GripperDepth.
    """

    def __init__(
        self,
        gripper_depth: bool = False,
        padding: Padding = "same",
        mean: float = 0.70004099,
        std: float = 0.00400076,
        depth_mean: float = 0.70,
        depth_std: float = 0.03,
        lrn_size: int = 2,
        lrn_alpha: float = 2e-5,
        lean: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if padding not in ("same", "valid"):
            raise ValueError(f"padding: expected 'same' or 'valid', got {padding!r}")
        self.padding, self.mean, self.std = padding, mean, std
        self.takes_gripper_depth, self.takes_lean = gripper_depth, gripper_depth and lean is not None
        same = padding == "same"
        self.conv1 = nn.Conv2d(1, 64, 7, padding=3 * same)
        self.conv2 = nn.Conv2d(64, 64, 5, padding=2 * same)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1 * same)
        self.conv4 = nn.Conv2d(64, 64, 3, padding=1 * same)
        self.lrn = ResponseNorm(lrn_size, lrn_alpha)
        self.field = 16 if same else 7  # side of conv4's map over one crop
        self.pc1 = GripperDepth(depth_mean, depth_std, lean) if gripper_depth else None
        self.pose_channels = 16 if gripper_depth else 0

    def shallow(self, depth: Tensor) -> Tensor:
        """(N, 1, H, W) metres -> conv2's map before the pooling, at full resolution."""
        x = F.relu(self.conv1((depth - self.mean) / self.std))
        result: Tensor = self.lrn(F.relu(self.conv2(x)))
        return result

    def deep(self, x: Tensor) -> Tensor:
        """conv2's map, pooled by two, through conv3 and conv4."""
        x = F.relu(self.conv3(F.max_pool2d(x, 2)))
        result: Tensor = self.lrn(F.relu(self.conv4(x)))
        return result

    def pose(self, gripper_depth: Tensor | None) -> Tensor | None:
        """(N, pose_channels) of the gripper's depth; None for a network that does not take it. Raises ValueError without."""
        if self.pc1 is not None and gripper_depth is None:
            raise ValueError("this network has a gripper-depth stream: expected gripper_depth (N,) in metres, got none")
        return None if self.pc1 is None else self.pc1(gripper_depth)


class GQCNN(GQCNNTrunk):
    """Depth crops (N, 1, 32, 32) in metres and, with `gripper_depth`, tip depths (N,) in metres -> logits (N,)."""

    crop_size = CROP

    def __init__(self, **trunk: Any) -> None:
        super().__init__(**trunk)
        self.fc = nn.Linear(64 * self.field**2, 1024)
        self.fc2 = nn.Linear(1024 + self.pose_channels, 1024)
        self.fc3 = nn.Linear(1024, 1)

    def forward(self, depth: Tensor, gripper_depth: Tensor | None = None) -> Tensor:
        x, pose = F.relu(self.fc(self._maps(depth))), self.pose(gripper_depth)
        result: Tensor = self.fc3(F.relu(self.fc2(x if pose is None else torch.cat((x, pose), dim=1))))[:, 0]
        return result

    def _maps(self, depth: Tensor) -> Tensor:
        """conv4's maps, flattened (N, features), in parts where that is quicker."""
        whole = depth.device.type != "cpu" or torch.is_grad_enabled()
        parts = [depth] if whole else depth.split(AT_ONCE)
        return torch.cat([self.deep(self.shallow(part)).flatten(1) for part in parts])

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed input for checks of loaded weights."""
        noise = torch.randn(2, 1, CROP, CROP, generator=torch.Generator().manual_seed(0))
        depth = self.mean + self.std * noise
        return (depth, golden_pose(depth, self.takes_lean)) if self.takes_gripper_depth else (depth,)


def golden_pose(depth: Tensor, lean: bool) -> Tensor:
    """A fixed pose on each of some crops (N, 1, h, w): their middle depth (N,), or with a lean of the approach (N, 2)."""
    middle = depth[:, 0, depth.shape[2] // 2, depth.shape[3] // 2]
    return torch.stack([middle, torch.full_like(middle, 0.2)], 1) if lean else middle


NETWORK = GQCNN
