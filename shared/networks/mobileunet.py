"""MobileUNet: an RGB image to one grasp-quality heat map per jaw angle.

The trunk is MobileNetV3-small up to its sixth stage (arXiv 1905.02244), with torchvision's parameter names, so that published
state dicts (110 tensors with two rotations) load. Those were trained behind a final ReLU, which silences most of their
output; it is off here unless `output_relu` asks for the published forward pass.

Ours differ in two more options, both off in the published network: several heights of the fingertips over the table, each
with its own maps, and a decoder that goes on to a quarter of the picture's resolution, where the published one starts from an
eighth. Without `squeeze` the trunk has no squeeze-and-excitation, which sees the whole picture at once: the network can then
learn on windows cut out of pictures, at a fraction of the cost, and says the same of a place whatever lies far from it.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.height_from_rgb import HeightFromRgb
from shared.networks.layers import SqueezeExcite, conv_unit

_unit = partial(conv_unit, eps=1e-3, momentum=0.01)


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, kernel: int, expand: int, outputs: int, squeeze: int, act: type, stride: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_unit(inputs, expand, 1, act=act)] if expand != inputs else []
        layers.append(_unit(expand, expand, kernel, stride, groups=expand, act=act))
        if squeeze:
            layers.append(SqueezeExcite(expand, squeeze, F.relu, F.hardsigmoid))
        layers.append(_unit(expand, outputs, 1, act=None))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.block(x) if self.residual else self.block(x)
        return result


BIAS = -1.5
"""Most grasps fail: maps begin at a low quality."""


class _QuarterDecoder(nn.Module):
    """Features at 1/4, 1/8 and 1/16 of the picture -> maps at 1/4."""

    def __init__(self, channels: tuple[int, int, int], width: int, maps: int) -> None:
        super().__init__()
        quarter, eighth, sixteenth = channels
        self.deep, self.wide = nn.Conv2d(sixteenth, width, 1), nn.Conv2d(eighth, width, 1)
        self.fine = nn.Conv2d(quarter, width, 1)
        self.merge = _unit(width, width)
        self.refine = nn.Sequential(_unit(width, width), _unit(width, width))
        self.maps = nn.Conv2d(width, maps, 1)
        nn.init.constant_(self.maps.bias, BIAS)  # type: ignore[arg-type]

    def forward(self, quarter: Tensor, eighth: Tensor, sixteenth: Tensor) -> Tensor:
        merged = self.merge(_enlarge(self.deep(sixteenth)) + self.wide(eighth))
        result: Tensor = self.maps(self.refine(_enlarge(merged) + self.fine(quarter)))
        return result


class MobileUNet(nn.Module):
    """RGB (N, 3, H, W) in [0, 1], H and W multiples of 16 -> logits (N, R T, h, w) on a grid over the picture.

    R rotations, T heights of the tips (1 when none are given): map t R + r is for height t and rotation r. The grid has the
    picture's size, or a quarter of it with a `decoder_width`.
    angles: image angle of the closing axis of each rotation, radians from +u towards +v; default k pi / R. (The published
    two-rotation network counts from the image rows: [pi / 2, 0].) inputs: 4 when depth is stacked behind RGB.
    tip_heights: of the fingertips over the table, m. decoder_width: channels of the finer decoder, 0 for the published one.
    squeeze: with squeeze-and-excitation, as published. rays: two more channels behind the others, the direction in which each
    pixel looks (`rays` in picture.py): how much is seen of a side tells the height to those who know from where they look.
    height_from_rgb: with a network beside the maps that tells how high things are, taught the same heights of the tips, and
    trained apart; in cards of version 0.1 it is `stature`.
    """

    def __init__(
        self,
        rotations: int = 2,
        inputs: int = 3,
        output_relu: bool = False,
        angles: list[float] | None = None,
        image_size: int = 64,
        tip_heights: list[float] | None = None,
        decoder_width: int = 0,
        squeeze: bool = True,
        rays: bool = False,
        height_from_rgb: bool = False,
        stature: bool = False,
    ) -> None:
        super().__init__()
        if not 2 <= rotations <= 16:
            raise ValueError(f"rotations: expected 2 to 16, got {rotations}")
        self.rotations, self.inputs, self.output_relu, self.rays = rotations, inputs, output_relu, rays
        self.image_size = image_size
        self.angles = angles or [k * math.pi / rotations for k in range(rotations)]
        if len(self.angles) != rotations:
            raise ValueError(f"angles: expected one per rotation ({rotations}), got {len(self.angles)}")
        self.tip_heights = tip_heights or []
        maps = rotations * max(1, len(self.tip_heights))
        width = 2 * maps
        relu, swish, on = nn.ReLU, nn.Hardswish, int(squeeze)
        self.backbone1 = nn.Sequential(
            _unit(inputs + 2 * rays, 16, 3, 2, act=swish),
            _InvertedResidual(16, 3, 16, 16, 8 * on, relu, 2),
            _InvertedResidual(16, 3, 72, 24, 0, relu, 2),
        )
        self.backbone2 = nn.Sequential(
            _InvertedResidual(24, 3, 88, 24, 0, relu, 1),
            _InvertedResidual(24, 5, 96, 40, 24 * on, swish, 2),
            _InvertedResidual(40, 5, 240, 40, 64 * on, swish, 1),
        )
        self.conv1 = nn.Conv2d(40, 128, 1)
        # What is learned from outcomes must not move it, nor wait for its gradients where several processes train.
        self.height_from_rgb = None
        if height_from_rgb or stature:
            self.height_from_rgb = HeightFromRgb(max(1, len(self.tip_heights))).requires_grad_(False)
        self.register_load_state_dict_pre_hook(_rename_stature)  # type: ignore[no-untyped-call]
        self.stride = 4 if decoder_width else 1
        self.decoder: nn.Module | None = None
        if decoder_width:
            self.decoder = _QuarterDecoder((16, 24, 128), decoder_width, maps)
            return
        self.conv2 = nn.Conv2d(128, width, 1)
        self.conv3 = nn.Conv2d(width, maps, 1)
        self.conv4 = nn.Conv2d(24, width, 1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        if height % 16 or width % 16:
            raise ValueError(f"expected sides that are multiples of 16, got {height}x{width}: pad or resize first")
        half = (height // 2, width // 2)
        quarter = self.backbone1[:2](image)
        wide = self.backbone1[2](quarter)
        deep = F.relu(self.conv1(self.backbone2(wide)))
        if self.decoder is not None:
            result: Tensor = self.decoder(quarter, wide, deep)
            return result
        # 1x1 convolutions and bilinear resizing commute; resizing fewer channels is cheaper.
        logits = self.conv3(_resize(self.conv2(deep), half) + _resize(self.conv4(wide), half))
        return _resize(F.relu(logits) if self.output_relu else logits, (height, width))

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed input for checks of loaded weights."""
        shape = (1, self.inputs + 2 * self.rays, self.image_size, self.image_size)
        return (torch.rand(shape, generator=torch.Generator().manual_seed(0)),)


def _rename_stature(module: nn.Module, weights: dict[str, Tensor], *_: object) -> None:
    """Names weights of versions of GraspLoop 0.1 as they are called now."""
    for name in [name for name in weights if name.startswith("stature.")]:
        weights["height_from_rgb." + name.removeprefix("stature.")] = weights.pop(name)


def _enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


NETWORK = MobileUNet
