"""U-Net from a whole depth image to the quality of a grasp at every pixel, one map per angle of the closing axis.

Method: Ronneberger et al., U-Net, 2015, with padded convolutions and batch normalisation, so that maps have the image's size.
By default it has the published 64 to 1,024 channels, 31 million parameters, and one map for grasps of any angle.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.layers import conv_unit

GOLDEN_SIDE = 64


class UNetQualityMap(nn.Module):
    """Depth (N, 1, H, W) -> logits (N, R, H, W); H and W are multiples of `stride`. Map k is for a closing axis at k pi / R
    from +u towards +v.

    widths: channels from the image's resolution down, each at half of the one before. mean, std: of the depths, m.
    """

    def __init__(
        self,
        rotations: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        super().__init__()
        self.rotations, self.mean, self.std = rotations, mean, std
        self.angles = [k * math.pi / rotations for k in range(rotations)]
        self.stride = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(_double_unit(inputs, width) for inputs, width in zip([1, *widths], widths, strict=False))
        upward = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(deep, width, 2, 2) for deep, width in upward)
        self.up = nn.ModuleList(_double_unit(2 * width, width) for _, width in upward)
        self.maps = nn.Conv2d(widths[0], rotations, 1)

    def forward(self, depth: Tensor) -> Tensor:
        height, width = depth.shape[2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"expected sides that are multiples of {self.stride}, got {height}x{width}: pad or resize first")
        seen: list[Tensor] = []
        x = (depth - self.mean) / self.std
        for level, unit in enumerate(self.down):
            x = unit(F.max_pool2d(x, 2) if level else x)
            seen.append(x)
        # What was seen at each resolution is joined again on the way up: it says where, what comes from below says what.
        for enlarge, unit, fine in zip(self.enlarge, self.up, seen[-2::-1], strict=True):
            x = unit(torch.cat([fine, enlarge(x)], 1))
        logits: Tensor = self.maps(x)
        return logits

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed input for checks of loaded weights."""
        noise = torch.randn(1, 1, GOLDEN_SIDE, GOLDEN_SIDE, generator=torch.Generator().manual_seed(0))
        return (self.mean + self.std * noise,)


def _double_unit(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*conv_unit(inputs, outputs), *conv_unit(outputs, outputs))


NETWORK = UNetQualityMap
