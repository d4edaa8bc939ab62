"""Relief: how high what each pixel sees rises above the table, told from colours alone.

A U-Net (arXiv 1505.04597) whose last step is a sub-pixel convolution (arXiv 1609.05158), so that edges are as sharp as the
picture: it is the sides of things that a hand must not touch. Seen from above, a disc and the end of a rod may look the same;
so the answer is not one height but how likely each is.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EDGES = (0.004, 0.010, 0.016, 0.022, 0.028, 0.034, 0.041, 0.048, 0.056, 0.064, 0.072, 0.081, 0.090, 0.100, 0.112)
"""Between bins of height over the table, m. The first bin is the table, the last one open."""
BOUNDS = (0.0, *EDGES, 0.130)
"""Where bins begin and end, m, the open one by assumption."""
WIDTHS = (16, 32, 64, 96)
"""Channels at a half, a quarter, an eighth and a sixteenth of the picture."""
TABLE = 4.0
"""Most of a picture shows the table: its logit begins here."""
FINE = 2
"""The finest features have a cell for as many pixels along a side."""


class Relief(nn.Module):
    """Pictures (N, inputs, H, W), H and W multiples of 16, colours in [0, 1] and `rays` behind them -> logits of the bins of
    height, (N, bins, H, W).

    pixels_per_metre: of table, in the pictures that it learns from.
    """

    def __init__(self, pixels_per_metre: float, inputs: int = 5) -> None:
        super().__init__()
        self.pixels_per_metre = pixels_per_metre
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for before, width in zip((inputs, *WIDTHS), WIDTHS, strict=False):
            self.down.append(nn.Sequential(_layer(before, width, 2), _layer(width, width)))
        for width, coarser in pairwise(WIDTHS):
            self.up.append(nn.ModuleDict({"lift": nn.Conv2d(coarser, width, 1), "merge": _layer(width, width)}))
        self.head = nn.Conv2d(WIDTHS[0], (len(EDGES) + 1) * FINE**2, 1)
        nn.init.constant_(self.head.bias[: FINE**2], TABLE)  # type: ignore[index]

    def forward(self, pictures: Tensor) -> Tensor:
        seen = []
        for down in self.down:
            pictures = down(pictures)
            seen.append(pictures)
        features = seen.pop()
        for skip, up in zip(reversed(seen), reversed(list(self.up)), strict=True):
            assert isinstance(up, nn.ModuleDict)
            lifted = F.interpolate(up["lift"](features), scale_factor=2.0, mode="bilinear", align_corners=False)
            features = up["merge"](lifted + skip)
        return F.pixel_shuffle(self.head(features), FINE)


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def bins(heights: Tensor) -> Tensor:
    """Bin (any shape, int64) of heights over the table, m."""
    return torch.bucketize(heights, torch.tensor(EDGES, device=heights.device), right=True)


def median(shares: Tensor) -> Tensor:
    """Height (...), m, that a thing exceeds as likely as not, of probabilities (..., bins), whatever that of the table."""
    things = shares[..., 1:] / shares[..., 1:].sum(-1, keepdim=True).clamp(min=1e-9)
    below = things.cumsum(-1)
    which = (below < 0.5).sum(-1, keepdim=True).clamp(max=things.shape[-1] - 1)
    bounds = torch.tensor(BOUNDS[1:], device=shares.device)
    into = 1 - (below.gather(-1, which) - 0.5) / things.gather(-1, which).clamp(min=1e-9)
    return torch.lerp(bounds[which], bounds[which + 1], into.clamp(0, 1))[..., 0]


def below(shares: Tensor, heights: Tensor) -> Tensor:
    """Probability (..., K) that a thing rises less than heights (..., K), m, over the table, of probabilities (..., bins)."""
    things = shares[..., 1:] / shares[..., 1:].sum(-1, keepdim=True).clamp(min=1e-9)
    bounds = torch.tensor(BOUNDS[1:], device=shares.device)
    reached = (heights[..., None] - bounds[:-1]) / (bounds[1:] - bounds[:-1])
    return (things[..., None, :] * reached.clamp(0, 1)).sum(-1)
