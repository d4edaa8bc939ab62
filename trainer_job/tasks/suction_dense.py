"""What the suction scorer sees of an outcome, and how its input is disturbed in training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from shared.networks.cup_frame import CHANNELS, FINE, SIDE, outcome_patches
from trainer_job.tasks.base import Learner

WHITE_NOISE = 0.0004
"""Standard deviation of independent height noise per cell, m."""
SMOOTH_NOISE = 0.0006
"""Standard deviation of height noise that neighbouring cells share, m."""
SMOOTH_CELLS = 3
"""Cells between independent values of the shared noise."""


@dataclass(frozen=True)
class SuctionLearner(Learner):
    """The suction scorer in the cup's frame."""

    name: str = "suction-dense"
    planner: str = "suction_dense"
    architecture: str = "suction-dense"
    kind: str = "suction"
    view_name: str = "cup-frame-1"
    view_shape: tuple[int, ...] = (CHANNELS, SIDE, SIDE)

    patches = staticmethod(outcome_patches)

    def augment(self, views: Tensor, facts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Turns and mirrors, since a cup is round, and disturbs the fine heights as a real camera does.

        views: (N, CHANNELS, SIDE, SIDE), the cup in the middle. A third of them keep the grid that they were read on, turned by
        quarters: other angles smooth the sensor's noise a little.
        """
        count, device = len(views), views.device
        angle = 2 * math.pi * torch.rand(count, generator=generator, device=device)
        quarter = torch.rand(count, generator=generator, device=device) < 1 / 3
        angle = torch.where(quarter, torch.round(angle / (math.pi / 2)) * (math.pi / 2), angle)
        mirror = 1 - 2 * (torch.rand(count, generator=generator, device=device) < 0.5).to(views.dtype)
        cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
        turn = torch.stack([torch.stack([cos, -sin * mirror, zero], 1), torch.stack([sin, cos * mirror, zero], 1)], 1)
        grid = F.affine_grid(turn, list(views.shape), align_corners=False)
        views = F.grid_sample(views, grid, mode="bilinear", padding_mode="border", align_corners=False)
        coarse = torch.randn((count, 1, SIDE // SMOOTH_CELLS, SIDE // SMOOTH_CELLS), generator=generator, device=device)
        smooth = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        white = torch.randn((count, 1, SIDE, SIDE), generator=generator, device=device)
        amount = torch.rand((count, 1, 1, 1), generator=generator, device=device)  # from clean to noisy cameras
        noise = amount * (WHITE_NOISE * white + SMOOTH_NOISE * smooth)
        return torch.cat([(views[:, :1] + noise / FINE).clamp(-1, 1), views[:, 1:]], dim=1), facts
