"""How high what a camera sees from above rises over the table, where an open hand fits over it, and where it holds
what it grasps, estimated from its colours alone.

A disc and the end of a rod look the same from above. So the answer is not one height but how likely each is, by cross-entropy
over bins of height, and the learner of its features also has to tell where things are and how high each spot is.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.layers import conv_unit
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS

EDGES = (0.010, 0.016, 0.022, 0.028, 0.034, 0.041, 0.048, 0.056, 0.064, 0.072, 0.081, 0.090, 0.100, 0.112)
"""Between bins of height over the table, m. The first begins at the table, the last is open."""
BOUNDS = (0.0, *EDGES, 0.130)
"""Where bins begin and end, m, the open one by assumption."""
BINS = len(EDGES) + 1
REACHES = (0.035, 0.010)
"""Radii, m, of the discs around a window's middle whose highest points are estimated: under the palm, and between the jaws."""
PIXELS_PER_METRE = 600.0
"""Of table, in the windows."""
SIDE = 72
"""Of a window, pixels."""
COARSE, COARSER = 4, 8
"""Cells, pixels, on which it is learned where things are, and how high."""
DARKEST = 0.02
LEAN_SCALE = 4.0
"""Tangents of a common field of view become as large as the logarithms of colours."""


class HeightEstimate(NamedTuple):
    """holds (N, T, ROTATIONS): logits that a grasp at a window's middle holds, the jaw wide open on its way down, its tips at
    each of T heights and its closing axis k pi / ROTATIONS from +u towards +v. fits (N, T, ROTATIONS): logits that the open
    hand fits there.
    highest (N, 2, BINS): logits of the height of the highest point within each of REACHES. things (N, h, w): logits that cells
    of COARSE pixels show a thing. spots (N, 1 + BINS, h, w): logits of the highest point of cells of COARSER pixels, the first
    one of the table."""

    holds: Tensor
    fits: Tensor
    highest: Tensor
    things: Tensor
    spots: Tensor


class HeightFromRgb(nn.Module):
    """Windows (N, 3, SIDE, SIDE), colours in [0, 1], whose +u leads away from the nadir (`radial_windows`), and their `leans`
    (N,) -> logits (N, T, ROTATIONS) that a grasp holds there, and that the open hand fits there, and (N, 2, BINS) of the
    highest point within each of REACHES.

    tip_heights: T, how many heights of the tips it is taught."""

    def __init__(self, tip_heights: int = len(TIP_HEIGHTS)) -> None:
        super().__init__()
        self.tip_heights = tip_heights
        self.fine = nn.Sequential(
            conv_unit(4, 16, 5, stride=2), conv_unit(16, 24), conv_unit(24, 40, stride=2), conv_unit(40, 40)
        )
        self.wide = nn.Sequential(conv_unit(40, 64, stride=2), _Residual(64))
        self.deep = nn.Sequential(conv_unit(64, 96, stride=2), conv_unit(96, 96), nn.Flatten(), nn.Dropout(0.2))
        features = 96 * (-(-SIDE // 16)) ** 2
        self.head = nn.Sequential(nn.Linear(features, 96), nn.ReLU(), nn.Linear(96, len(REACHES) * BINS))
        self.fits = nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, tip_heights * ROTATIONS))
        self.holds = nn.Sequential(
            nn.Linear(features, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, tip_heights * ROTATIONS)
        )
        self.thing, self.spot = nn.Conv2d(40, 1, 1), nn.Conv2d(64, BINS + 1, 1)

    def forward(self, windows: Tensor, leans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        estimate = self.estimate(windows, leans)
        return estimate.holds, estimate.fits, estimate.highest

    def estimate(self, windows: Tensor, leans: Tensor) -> HeightEstimate:
        """All that is learned."""
        colours = torch.log(windows + DARKEST)  # light multiplies what a surface reflects
        colours = colours - colours.mean((2, 3), keepdim=True)
        lean = (LEAN_SCALE * leans)[:, None, None, None].expand(-1, 1, *windows.shape[2:])
        fine = self.fine(torch.cat([colours, lean], 1).contiguous(memory_format=torch.channels_last))
        wide = self.wide(fine)
        deep = self.deep(wide)
        return HeightEstimate(
            self.holds(deep).unflatten(1, (self.tip_heights, ROTATIONS)),
            self.fits(deep).unflatten(1, (self.tip_heights, ROTATIONS)),
            self.head(deep).unflatten(1, (len(REACHES), BINS)),
            self.thing(fine)[:, 0],
            self.spot(wide),
        )

    def golden_batch(self) -> tuple[Tensor, Tensor]:
        """Fixed input for checks of loaded weights."""
        return torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)), torch.tensor([0.2])


def bins(heights: Tensor) -> Tensor:
    """Bin of each height, m; any shape."""
    return torch.bucketize(heights, heights.new_tensor(EDGES), right=True)


def quantile(logits: Tensor, share: float) -> Tensor:
    """Height (N,), m, below which a thing is with a probability, by logits (N, BINS)."""
    shares, bounds = logits.softmax(1), logits.new_tensor(BOUNDS)
    below = shares.cumsum(1)
    first = (below < share).sum(1, keepdim=True).clamp(max=BINS - 1)
    inside = shares.gather(1, first)
    part = 1 - (below.gather(1, first) - share) / inside
    return torch.lerp(bounds[first], bounds[first + 1], part)[:, 0]


def at_turns(values: Tensor, turns: Tensor) -> Tensor:
    """(N, T, K): values (N, T, R) for angles k pi / R at `turns` (N, K), in steps of pi / R, between the nearest two."""
    low = turns.floor()
    near, far = ((low.long() + step) % values.shape[2] for step in (0, 1))
    before, after = (values.gather(2, index[:, None].expand(-1, values.shape[1], -1)) for index in (near, far))
    return torch.lerp(before, after, (turns - low)[:, None].expand(-1, values.shape[1], -1))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv_unit(width, width)
        self.second = conv_unit(width, width, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))
