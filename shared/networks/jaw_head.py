"""Maps of all rotations of a jaw from one picture's features, by one small network that looks along the closing axis."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE_LOOKS = 3
"""Looks from the middle of the jaw to each side."""


class JawHead(nn.Module):
    """Features (N, C, h, w) -> maps (N, T R, h, w): one small network for all rotations.

    It looks at the features in the middle of the jaw and in SIDE_LOOKS steps to either side along the closing axis, out to the
    fingers, `reach` cells away: what it learns of one rotation it knows of all.
    """

    def __init__(self, features: int, angles: list[float], heights: int, reach: float, width: int = 16) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(features, width * (1 + SIDE_LOOKS), 1, bias=False),
            nn.BatchNorm2d(width * (1 + SIDE_LOOKS), eps=1e-3, momentum=0.01),
            nn.ReLU(),
        )
        self.judge = nn.Sequential(
            nn.BatchNorm2d(width), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, heights, 1, bias=False)
        )
        self.rim = math.ceil(reach)
        # Whole cells (column, row) to one side, per rotation; the other side mirrors them: a jaw is symmetric.
        self.steps = [
            [
                (round(reach * step / SIDE_LOOKS * math.cos(angle)), round(reach * step / SIDE_LOOKS * math.sin(angle)))
                for step in range(1, SIDE_LOOKS + 1)
            ]
            for angle in angles
        ]

    def forward(self, x: Tensor) -> Tensor:
        looks = F.pad(self.look(x), 4 * [self.rim]).contiguous().chunk(1 + SIDE_LOOKS, 1)
        seen = torch.stack([self._along(looks, steps, x.shape[2], x.shape[3]) for steps in self.steps], 1)
        judged = self.judge(seen.flatten(0, 1)).unflatten(0, (-1, len(self.steps)))
        return judged.transpose(1, 2).flatten(1, 2)

    def _along(self, looks: tuple[Tensor, ...], steps: list[tuple[int, int]], height: int, width: int) -> Tensor:
        def moved(which: int, column: int, row: int) -> Tensor:
            top, left = self.rim + row, self.rim + column
            return looks[which][:, :, top : top + height, left : left + width]

        total = moved(0, 0, 0)
        for which, (column, row) in enumerate(steps, 1):
            total = total + moved(which, column, row) + moved(which, -column, -row)
        return total
