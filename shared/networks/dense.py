"""The scorer of planner `dense`: probability that a grasp succeeds, from what the hand sees (shared.features.hand_frame)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shared.features.hand_frame import CHANNELS, COLUMNS, ROWS


class DenseScorer(nn.Module):
    """Patches (N, CHANNELS, ROWS, COLUMNS) to logits (N,). `width`: channels of the first layer."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.trunk = nn.Sequential(
            _unit(CHANNELS, width, kernel=5, stride=2),
            _unit(width, width + width // 2),
            _unit(width + width // 2, 2 * width, stride=2),
            _unit(2 * width, 2 * width),
            _unit(2 * width, width, kernel=1),
        )
        last = nn.Linear(96, 1)
        # Untrained it finds all grasps equal, which leaves a planner's own order as it is.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        # Where things lie relative to the fingers decides, so the head sees positions and not only their mean.
        positions = width * (ROWS // 4) * (COLUMNS // 4)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(positions, 96), nn.ReLU(inplace=True), nn.Dropout(0.2), last)

    def forward(self, patches: Tensor) -> Tensor:
        if patches.device.type == "cpu":
            patches = patches.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.trunk(patches)).squeeze(1)
        return logits

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed patches: a bar between the fingers, an empty table, and a smooth pattern."""
        columns = torch.linspace(-1, 1, COLUMNS).expand(ROWS, COLUMNS)
        fingers = ((columns.abs() > 0.6) & (columns.abs() < 0.8)).float()
        known = torch.ones(ROWS, COLUMNS)
        bar = torch.where(columns.abs() < 0.3, 0.4, -0.5)
        table = torch.full((ROWS, COLUMNS), -0.5)
        pattern = torch.sin(3 * columns) * torch.cos(2 * torch.linspace(-1, 1, ROWS))[:, None]
        return (torch.stack([torch.stack([height, known, fingers, height / 2, known]) for height in (bar, table, pattern)]),)


def _unit(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


NETWORK = DenseScorer
