"""The suction scorer in the cup's frame (shared.features.cup_frame)."""

import math
from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
import torch
from torch.nn import functional as F

from shared.features import cup_frame
from shared.features.circumstances import NAMES
from shared.features.cup_frame import FINE, PLAIN_CHANNELS, SIDE
from shared.grasp_poses import STEEPEST
from trainer_job.data.examples import FeatureBatch
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.tasks.dense import DenseTask

WHITE_NOISE = 0.0004
"""Standard deviation of independent height noise per cell, m."""
SMOOTH_NOISE = 0.0006
"""Standard deviation of height noise that neighbouring cells share, m."""
SMOOTH_CELLS = 3
"""Cells between independent values of the shared noise."""


class SuctionDenseTask(DenseTask):
    """Patches of the height map in the plane of executed cups, which may lean as far as the patches show it."""

    architectures = ("suction-dense",)
    max_tilt = STEEPEST

    @cached_property
    def spec(self) -> FeatureSpec:
        channels = self.outline.channels
        return FeatureSpec(
            "cup-frame-2" if channels == PLAIN_CHANNELS else "cup-frame-3", (channels, SIDE, SIDE), aux=len(NAMES)
        )

    @property
    def patches(self) -> Callable[..., np.ndarray]:
        return partial(cup_frame.outcome_patches, channels=self.outline.channels)

    def augment(self, batch: FeatureBatch, noise: torch.Generator | None) -> FeatureBatch:
        """Turns and mirrors, since a cup is round, and disturbs the fine heights as a real camera does.

        features: (N, channels, SIDE, SIDE), the cup in the middle. A third of them keep the grid that they were read on, turned
        by quarters: other angles smooth the sensor's noise a little.
        """
        if noise is None:
            return batch
        patches, count, device = batch.features, len(batch.features), batch.features.device
        angle = 2 * math.pi * torch.rand(count, generator=noise, device=device)
        quarter = torch.rand(count, generator=noise, device=device) < 1 / 3
        angle = torch.where(quarter, torch.round(angle / (math.pi / 2)) * (math.pi / 2), angle)
        mirror = 1 - 2 * (torch.rand(count, generator=noise, device=device) < 0.5).to(patches.dtype)
        cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
        turn = torch.stack([torch.stack([cos, -sin * mirror, zero], 1), torch.stack([sin, cos * mirror, zero], 1)], 1)
        grid = F.affine_grid(turn, list(patches.shape), align_corners=False)
        patches = F.grid_sample(patches, grid, mode="bilinear", padding_mode="border", align_corners=False)
        coarse = torch.randn((count, 1, SIDE // SMOOTH_CELLS, SIDE // SMOOTH_CELLS), generator=noise, device=device)
        smooth = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        white = torch.randn((count, 1, SIDE, SIDE), generator=noise, device=device)
        amount = torch.rand((count, 1, 1, 1), generator=noise, device=device)  # from clean to noisy cameras
        error = amount * (WHITE_NOISE * white + SMOOTH_NOISE * smooth)
        told = patches.shape[1] > PLAIN_CHANNELS
        scale = torch.exp2(patches[:, PLAIN_CHANNELS : PLAIN_CHANNELS + 1, :1, :1]) if told else 1.0
        fine = (patches[:, :1] + error / (FINE * scale)).clamp(-1, 1)
        return FeatureBatch(torch.cat([fine, patches[:, 1:]], dim=1), batch.aux, batch.labels)


TASK = SuctionDenseTask
