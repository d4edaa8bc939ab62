"""The scorer of planner `suction_dense`: probability that a cup holds, from what the cup sees (shared.features.cup_frame)."""

import torch
from torch import Tensor

from shared.features.cup_frame import PLAIN_CHANNELS, SIDE
from shared.networks.layers import PatchScorer


class SuctionScorer(PatchScorer):
    """Patches (N, channels, SIDE, SIDE) to logits (N,). `width`: channels of the first layer; `channels`: of the patches, see
    `cup_frame.patches`."""

    def __init__(self, width: int = 24, channels: int = PLAIN_CHANNELS) -> None:
        self.channels = channels
        super().__init__(channels, SIDE, SIDE, (width, 2 * width, 2 * width, 2 * width))

    def golden_batch(self) -> tuple[Tensor, ...]:
        """Fixed patches: a plate, a ball, the edge of a box, and a smooth pattern."""
        line = torch.linspace(-1, 1, SIDE)
        across, along = line[:, None].expand(SIDE, SIDE), line.expand(SIDE, SIDE)
        known = torch.ones(SIDE, SIDE)
        cup = (across**2 + along**2 < 0.14).float()
        ball, edge = -(across**2 + along**2).clamp(max=1.0), -(along > 0.2).float()
        pattern = torch.sin(3 * along) * torch.cos(2 * across)
        surfaces = (torch.zeros(SIDE, SIDE), ball, edge, pattern)
        seen = torch.stack([torch.stack([each, each / 10, known, cup, each / 20, known]) for each in surfaces])
        told = torch.linspace(-0.5, 0.5, self.channels - PLAIN_CHANNELS)[:, None, None].expand(len(seen), -1, SIDE, SIDE)
        return (torch.cat([seen, told], 1),)


NETWORK = SuctionScorer
