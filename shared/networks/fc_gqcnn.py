"""Fully convolutional GQ-CNN: the quality of every 32x32 window of an image in one pass (FC-GQ-CNN of Dex-Net 5.0).

Weights come from a trained `GQCNN` by `convert`; names are those of the published state dicts: conv1..conv7.
With `valid` padding each output equals the crop network on that window; with `same` padding, as published, they are
equal only for an image of one window, since a crop sees zeros where the image goes on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.gqcnn import CROP, GQCNNTrunk, GripperDepth, Padding
from shared.networks.wide_convolution import WideConv2d


class FCGQCNN(GQCNNTrunk):
    """Depth images (N, 1, H, W) in metres, H, W >= 32 -> logit maps (N, H', W').

    Output (i, j) scores the window whose upper left pixel is (stride i, stride j). Stride 2 gives H' = H // 2 - 15;
    `high_resolution` runs the four phases of the pooling and interleaves them: stride 1, H' = H - 31.
    """

    window = CROP

    def __init__(
        self,
        high_resolution: bool = False,
        gripper_depth: bool = False,
        padding: Padding = "same",
        mean: float = 0.70004099,
        std: float = 0.00400076,
        depth_mean: float = 0.70,
        depth_std: float = 0.03,
        lrn_size: int = 2,
        lrn_alpha: float = 2e-5,
    ) -> None:
        super().__init__(padding, mean, std, lrn_size, lrn_alpha)
        self.high_resolution, self.takes_gripper_depth = high_resolution, gripper_depth
        self.stride = 1 if high_resolution else 2
        self.pc1 = GripperDepth(depth_mean, depth_std) if gripper_depth else None
        self.conv5 = WideConv2d(64, 1024, self.field)
        self.conv6 = nn.Conv2d(1024 + (16 if gripper_depth else 0), 1024, 1)
        self.conv7 = nn.Conv2d(1024, 1, 1)

    def _head(self, features: Tensor, pose: Tensor | None) -> Tensor:
        """Logits (N, h, w) of conv4's map (N, 64, h', w')."""
        x = F.relu(self.conv5(features))
        if pose is not None:
            x = torch.cat((x, pose[:, :, None, None].expand(-1, -1, *x.shape[2:])), dim=1)
        logits: Tensor = self.conv7(F.relu(self.conv6(x)))[:, 0]
        return logits

    def forward(self, depth: Tensor, gripper_depth: Tensor | None = None) -> Tensor:
        height, width = depth.shape[2:]
        if min(height, width) < CROP:
            raise ValueError(f"expected an image of at least {CROP}x{CROP} pixels, got {height}x{width}: pad it first")
        pose = None
        if self.pc1 is not None:
            if gripper_depth is None:
                raise ValueError("this network has a gripper-depth stream: expected gripper_depth (N,) in metres, got none")
            pose = self.pc1(gripper_depth)
        shallow = self.shallow(depth)
        if not self.high_resolution:
            return self._head(self.deep(shallow), pose)
        phases = [self.deep(shallow[:, :, row:, column:]) for row in (0, 1) for column in (0, 1)]
        rows, columns = phases[0].shape[2:]  # the widest; what the others are padded with, their outputs are cut off with
        padded = [F.pad(phase, (0, columns - phase.shape[3], 0, rows - phase.shape[2])) for phase in phases]
        found = self._head(torch.cat(padded), None if pose is None else pose.repeat(4, 1)).split(len(depth))
        logits = depth.new_empty(len(depth), 2 * found[0].shape[1], 2 * found[0].shape[2])
        for index, phase in enumerate(found):
            logits[:, index // 2 :: 2, index % 2 :: 2] = phase
        return logits[:, : height - CROP + 1, : width - CROP + 1]

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed input for checks of loaded weights."""
        noise = torch.randn(1, 1, CROP + 2, CROP + 2, generator=torch.Generator().manual_seed(0))
        depth = self.mean + self.std * noise
        return (depth, depth[:, 0, CROP // 2, CROP // 2]) if self.takes_gripper_depth else (depth,)


LAYERS = {"fc": "conv5", "fc2": "conv6", "fc3": "conv7"}


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict of a `GQCNN` -> state dict of the `FCGQCNN` that has the same parameters."""
    side = math.isqrt(state["fc.weight"].shape[1] // 64)
    converted = {}
    for name, value in state.items():
        layer, _, part = name.partition(".")
        if name == "fc.weight":
            value = value.reshape(-1, 64, side, side)
        elif layer in LAYERS and part == "weight":
            value = value[:, :, None, None]
        converted[f"{LAYERS.get(layer, layer)}.{part}"] = value
    return converted


def crop_form(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `convert`."""
    names = {new: old for old, new in LAYERS.items()}
    reverted = {}
    for name, value in state.items():
        layer, _, part = name.partition(".")
        reverted[f"{names.get(layer, layer)}.{part}"] = value.flatten(1) if layer in names and part == "weight" else value
    return reverted


NETWORK = FCGQCNN
