"""The scorer of planner `dense`: probability that a grasp succeeds, from what the hand sees (shared.features.hand_frame)."""

import torch
from torch import Tensor

from shared.features.hand_frame import CHANNELS, COLUMNS, ROWS
from shared.networks.layers import PatchScorer


class DenseScorer(PatchScorer):
    """Patches (N, CHANNELS, ROWS, COLUMNS) to logits (N,). `width`: channels of the first layer."""

    def __init__(self, width: int = 24) -> None:
        super().__init__(CHANNELS, ROWS, COLUMNS, (width, width + width // 2, 2 * width, 2 * width))

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed patches: a bar between the fingers, an empty table, and a smooth pattern."""
        columns = torch.linspace(-1, 1, COLUMNS).expand(ROWS, COLUMNS)
        fingers = ((columns.abs() > 0.6) & (columns.abs() < 0.8)).float()
        known = torch.ones(ROWS, COLUMNS)
        bar = torch.where(columns.abs() < 0.3, 0.4, -0.5)
        table = torch.full((ROWS, COLUMNS), -0.5)
        pattern = torch.sin(3 * columns) * torch.cos(2 * torch.linspace(-1, 1, ROWS))[:, None]
        return (torch.stack([torch.stack([height, known, fingers, height / 2, known]) for height in (bar, table, pattern)]),)


NETWORK = DenseScorer
