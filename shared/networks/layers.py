"""Layers that several networks are built of."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_unit(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU,
    **norm: Any,
) -> nn.Sequential:
    """Padded convolution, batch normalisation with `norm`, activation if any."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, **norm),
    ]
    return ConvUnit(*layers, *([act(inplace=True)] if act else []))


class ConvUnit(nn.Sequential):
    """Convolution, batch normalisation, and whatever follows; outside of training the first two are one convolution."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            return _in_turn(self, x)
        conv, norm, *rest = self
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight, bias = conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        return _in_turn(rest, F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups))


def _in_turn(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


class PatchScorer(nn.Module):
    """Patches (N, channels, rows, columns) to logits (N,); `widths`: channels of the four layers of 3 x 3 and more."""

    def __init__(self, channels: int, rows: int, columns: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.trunk = nn.Sequential(
            conv_unit(channels, first, 5, stride=2),
            conv_unit(first, second),
            conv_unit(second, third, stride=2),
            conv_unit(third, fourth),
            conv_unit(fourth, first, 1),
        )
        last = nn.Linear(96, 1)
        # Untrained it finds all patches equal, which leaves a planner's own order as it is.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        # Where things lie relative to the hand decides, so the head sees positions and not only their mean.
        positions = first * (rows // 4) * (columns // 4)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(positions, 96), nn.ReLU(inplace=True), nn.Dropout(0.2), last)

    def forward(self, patches: Tensor) -> Tensor:
        if patches.device.type == "cpu":
            patches = patches.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.trunk(patches)).squeeze(1)
        return logits


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole map holds (Hu et al. 2018), with torchvision's parameter names."""

    def __init__(
        self,
        channels: int,
        squeeze: int,
        act: Callable[[Tensor], Tensor] = F.silu,
        gate: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeeze, 1), nn.Conv2d(squeeze, channels, 1)
        self.act, self.gate = act, gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc2(self.act(self.fc1(F.adaptive_avg_pool2d(x, 1)))))
