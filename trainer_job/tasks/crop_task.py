"""Learning the success of crops: batches with noise and mirrors, cross-entropy, and what held-out crops say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer_job.data.grasp_crops import GraspCrops
from trainer_job.evaluation.figures import draw_crops
from trainer_job.evaluation.metrics import binary_metrics, sigmoid
from trainer_job.training.recipe import AugmentRecipe, TrainingRecipe

EVALUATED = 512


class CropTask:
    """Crops and labels for one recipe."""

    def __init__(self, data: GraspCrops, recipe: TrainingRecipe):
        self.data, self.recipe = data, recipe
        self.training, self.validation = data.split(recipe.data.split, recipe.data.validation_share, recipe.seed)
        self.rng = np.random.default_rng(recipe.seed)
        self.noise = torch.Generator().manual_seed(recipe.seed)

    def epoch(self) -> np.ndarray:
        """Rows of one pass, shuffled; with `positive_share`, positives are drawn that often."""
        share = self.recipe.data.positive_share
        if share is None:
            return self.rng.permutation(self.training)
        labels = self.data.labels[self.training]
        weight = np.where(labels, share / max(labels.sum(), 1), (1 - share) / max((~labels).sum(), 1))
        return self.rng.choice(self.training, len(self.training), p=weight / weight.sum())

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
        """Augmented network inputs and targets."""
        images, depths, labels = self._read(rows)
        return (augment_crops(images, self.recipe.augment, self.noise).to(device), depths.to(device)), labels.to(device)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs, targets)

    def forward(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        image, pose = inputs
        if not network.takes_gripper_depth:
            return network(image)
        return network(image, pose if getattr(network, "takes_lean", False) else pose[:, 0])

    @torch.inference_mode()
    def logits(self, network: nn.Module, rows: np.ndarray, device: torch.device) -> np.ndarray:
        """(N,) of rows as they are."""
        parts = []
        for start in range(0, len(rows), EVALUATED):
            images, depths, _ = self._read(rows[start : start + EVALUATED])
            parts.append(self.forward(network, (images.to(device), depths.to(device))).double().cpu().numpy())
        return np.concatenate(parts)

    def held_out_logits(self, network: nn.Module, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits (N,) of the validation rows."""
        return self.data.labels[self.validation], self.logits(network, self.validation, device)

    def evaluate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Metrics on the validation rows; `loss` is what the best epoch is chosen by."""
        metrics = binary_metrics(*self.held_out_logits(network, device))
        return {"loss": metrics.pop("log_loss"), **metrics}

    def picture(self, network: nn.Module, device: torch.device, path: Path) -> None:
        """Crops of the validation rows with what was predicted."""
        rows = self.validation[np.linspace(0, len(self.validation) - 1, min(25, len(self.validation))).astype(int)]
        quality = sigmoid(self.logits(network, rows, device))
        draw_crops(np.asarray(self.data.images[rows]), self.data.labels[rows], quality, path)

    def _read(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        order = np.sort(rows)  # in the order of the file: memory maps read forwards
        images = torch.from_numpy(np.asarray(self.data.images[order], np.float32))[:, None]
        labels = torch.from_numpy(self.data.labels[order].astype(np.float32))
        back = np.argsort(np.argsort(rows, kind="stable"), kind="stable")
        leans = np.zeros(len(order), np.float32) if self.data.leans is None else self.data.leans[order]
        return images[back], torch.from_numpy(np.stack([self.data.depths[order], leans], 1))[back], labels[back]


def augment_crops(images: Tensor, augment: AugmentRecipe, generator: torch.Generator) -> Tensor:
    """Noise in metres on what was read (depth > 0), as a depth camera makes it, and mirrors in both axes of the jaw.

    images: (N, 1, H, W) m. Smooth noise is drawn on a coarse grid and interpolated (Dex-Net 2.0, section IV-C).
    """
    count, device = len(images), images.device
    seen = images > 0
    if augment.gamma_shape:
        shape = torch.full((count, 1, 1, 1), augment.gamma_shape, device=device)
        images = images * torch._standard_gamma(shape, generator=generator) / augment.gamma_shape
    if augment.noise:
        cells = (count, 1, augment.noise_cells, augment.noise_cells)
        coarse = augment.noise * torch.randn(cells, generator=generator, device=device)
        smooth = F.interpolate(coarse, size=images.shape[2:], mode="bicubic", align_corners=False)
        chosen = torch.rand((count, 1, 1, 1), generator=generator, device=device) < augment.noise_share
        images = torch.where(seen & chosen, images + smooth, images)
    if augment.mirror:
        for axis in (2, 3):
            flip = torch.rand((count, 1, 1, 1), generator=generator, device=device) < 0.5
            # The grasp is at size / 2, between two pixels of the flipped picture: one step brings it back there.
            images = torch.where(flip, images.flip(axis).roll(1, axis), images)
    return images
