"""Fully convolutional GQ-CNN: the quality of every 32x32 window of an image in one pass (FC-GQ-CNN of Dex-Net 5.0).

Weights come from a trained `GQCNN` by `convert`; names are those of the published state dicts: conv1..conv7.
With `valid` padding each output equals the crop network on that window; with `same` padding, as published, they are
equal only for an image of one window, since a crop sees zeros where the image goes on.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.gqcnn import CROP, GQCNNTrunk, golden_pose

TILE = 35
"""Side of a transform, pixels: with a kernel of 16 it gives 20 outputs along a side, what an image of 70 pixels needs."""
TILES_AT_ONCE = 8
"""Tiles are transformed in groups: the spectra of one tile of 1024 channels take 6 MB."""


class WideConv2d(nn.Conv2d):
    """`nn.Conv2d` without padding and stride, of the same parameters and values, in less than half the time: the whole network
    on 120 x 120 pixels takes 0.36 s instead of 0.76 s on a core.

    Where no gradient is asked for, on a CPU, it multiplies spectra of overlapping tiles (overlap-save). Rounding is smaller
    than that of the direct sum over many thousand products. The spectrum of the kernel is made at the first image and kept;
    it takes TILE^2 / side^2 times the memory of the weights.
    """

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__(in_channels, out_channels, side)
        self._spectrum: tuple[tuple[int, int], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled() or self.kernel_size[0] > TILE // 2:
            return super().forward(x)
        return self._by_spectrum(x)

    def _by_spectrum(self, x: Tensor) -> Tensor:
        """Values of the direct sum for x (N, C, H, W)."""
        images, channels, height, width = x.shape
        step = TILE - self.kernel_size[0] + 1
        rows, columns = height - self.kernel_size[0] + 1, width - self.kernel_size[1] + 1
        down, right = -(-rows // step), -(-columns // step)
        x = F.pad(x, (0, step * right + TILE - step - width, 0, step * down + TILE - step - height))
        tiles = x.unfold(2, TILE, step).unfold(3, TILE, step)  # (N, C, down, right, TILE, TILE)
        tiles = tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels, TILE, TILE)
        found = torch.cat([self._tile(part, step) for part in tiles.split(TILES_AT_ONCE)])
        found = found.reshape(images, down, right, self.out_channels, step, step).permute(0, 3, 1, 4, 2, 5)
        found = found.reshape(images, self.out_channels, step * down, step * right)[:, :, :rows, :columns]
        return found if self.bias is None else found + self.bias[:, None, None]

    def _tile(self, tiles: Tensor, step: int) -> Tensor:
        """(N, out, step, step) of tiles (N, C, TILE, TILE)."""
        spectra = torch.fft.rfft2(tiles).permute(2, 3, 0, 1)
        rows, columns = spectra.shape[:2]
        products = torch.bmm(spectra.reshape(rows * columns, *spectra.shape[2:]), self._kernel())
        products = products.reshape(rows, columns, len(tiles), self.out_channels).permute(2, 3, 0, 1)
        result: Tensor = torch.fft.irfft2(products, s=(TILE, TILE))[:, :, :step, :step]
        return result

    def _kernel(self) -> Tensor:
        """Conjugate spectrum (frequencies, in, out) of the weights as they are now: a convolution of a network correlates."""
        weight = self.weight.detach()
        version = (weight.data_ptr(), 0 if weight.is_inference() else weight._version)
        if self._spectrum is None or self._spectrum[0] != version:
            spectrum = torch.fft.rfft2(weight, s=(TILE, TILE)).conj().permute(2, 3, 1, 0)
            self._spectrum = version, spectrum.reshape(-1, weight.shape[1], weight.shape[0]).contiguous()
        return self._spectrum[1]


class FCGQCNN(GQCNNTrunk):
    """Depth images (N, 1, H, W) in metres, H, W >= 32 -> logit maps (N, H', W').

    Output (i, j) scores the window whose upper left pixel is (stride i, stride j). Stride 2 gives H' = H // 2 - 15;
    `high_resolution` runs the four phases of the pooling and interleaves them: stride 1, H' = H - 31.
    """

    window = CROP

    def __init__(self, high_resolution: bool = False, **trunk: Any) -> None:
        super().__init__(**trunk)
        self.high_resolution = high_resolution
        self.stride = 1 if high_resolution else 2
        self.conv5 = WideConv2d(64, 1024, self.field)
        self.conv6 = nn.Conv2d(1024 + self.pose_channels, 1024, 1)
        self.conv7 = nn.Conv2d(1024, 1, 1)

    def _head(self, features: Tensor, pose: Tensor | None) -> Tensor:
        """Logits (N, h, w) of conv4's map (N, 64, h', w')."""
        x = F.relu(self.conv5(features))
        if pose is not None:
            # One image may be asked about at many depths: what it shows is worked out once.
            x = torch.cat((x.expand(len(pose), -1, -1, -1), pose[:, :, None, None].expand(-1, -1, *x.shape[2:])), dim=1)
        logits: Tensor = self.conv7(F.relu(self.conv6(x)))[:, 0]
        return logits

    def forward(self, depth: Tensor, gripper_depth: Tensor | None = None) -> Tensor:
        height, width = depth.shape[2:]
        if min(height, width) < CROP:
            raise ValueError(f"expected an image of at least {CROP}x{CROP} pixels, got {height}x{width}: pad it first")
        pose, shallow = self.pose(gripper_depth), self.shallow(depth)
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
        return (depth, golden_pose(depth, self.takes_lean)) if self.takes_gripper_depth else (depth,)


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
