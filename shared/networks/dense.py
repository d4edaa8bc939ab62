"""The scorer of planner `dense`: probability that a grasp succeeds, from what the hand sees (shared.features.hand_frame)."""

import torch
from torch import Tensor

from shared.features.hand_frame import COLUMNS, ROWS
from shared.networks.layers import PatchScorer


class DenseScorer(PatchScorer):
    """Patches (N, CHANNELS, ROWS, COLUMNS) to logits (N,). `width`: channels of the first layer. `channels`: how many of the
    patches' first channels it looks at; 5 is for weights that take every hand for one of the Panda's size."""

    def __init__(self, width: int = 24, channels: int = 5) -> None:
        super().__init__(channels, ROWS, COLUMNS, (width, width + width // 2, 2 * width, 2 * width))
        self.channels = channels

    def forward(self, patches: Tensor) -> Tensor:
        return super().forward(patches[:, : self.channels])

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed patches: a bar between the fingers, an empty table, and a smooth pattern."""
        columns = torch.linspace(-1, 1, COLUMNS).expand(ROWS, COLUMNS)
        fingers = ((columns.abs() > 0.6) & (columns.abs() < 0.8)).float()
        known = torch.ones(ROWS, COLUMNS)
        bar = torch.where(columns.abs() < 0.3, 0.4, -0.5)
        table = torch.full((ROWS, COLUMNS), -0.5)
        pattern = torch.sin(3 * columns) * torch.cos(2 * torch.linspace(-1, 1, ROWS))[:, None]
        layers = ([height, known, fingers, height / 2, known, 0 * known] for height in (bar, table, pattern))
        return (torch.stack([torch.stack(each) for each in layers]),)


NETWORK = DenseScorer
