"""The scorer of planner `suction_dense`: probability that a cup holds, from what the cup sees (shared.features.cup_frame)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shared.features.cup_frame import CHANNELS, SIDE


class SuctionScorer(nn.Module):
    """Patches (N, CHANNELS, SIDE, SIDE) to logits (N,). `width`: channels of the first layer."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.trunk = nn.Sequential(
            _unit(CHANNELS, width, kernel=5, stride=2),
            _unit(width, 2 * width),
            _unit(2 * width, 2 * width, stride=2),
            _unit(2 * width, 2 * width),
            _unit(2 * width, width, kernel=1),
        )
        last = nn.Linear(96, 1)
        # Untrained it finds all contacts equal, which leaves a planner's own order as it is.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        # Whether the rim lies on or beyond an edge decides, so the head sees positions and not only their mean.
        positions = width * (SIDE // 4) ** 2
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(positions, 96), nn.ReLU(inplace=True), nn.Dropout(0.2), last)

    def forward(self, patches: Tensor) -> Tensor:
        if patches.device.type == "cpu":
            patches = patches.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.trunk(patches)).squeeze(1)
        return logits

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed patches: a plate, a ball, the edge of a box, and a smooth pattern."""
        line = torch.linspace(-1, 1, SIDE)
        across, along = line[:, None].expand(SIDE, SIDE), line.expand(SIDE, SIDE)
        known = torch.ones(SIDE, SIDE)
        cup = (across**2 + along**2 < 0.14).float()
        ball, edge = -(across**2 + along**2).clamp(max=1.0), -(along > 0.2).float()
        pattern = torch.sin(3 * along) * torch.cos(2 * across)
        surfaces = (torch.zeros(SIDE, SIDE), ball, edge, pattern)
        return (torch.stack([torch.stack([each, each / 10, known, cup, each / 20, known]) for each in surfaces]),)


def _unit(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


NETWORK = SuctionScorer
