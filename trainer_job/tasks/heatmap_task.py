"""Learning heat maps: pictures turn with all their labels, cross-entropy, and what held-out pictures say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.rgb_input import rays
from shared.open_hand import AROUND
from trainer_job.data.heatmap_labels import HeatmapLabels
from trainer_job.evaluation.figures import draw_heatmaps
from trainer_job.evaluation.metrics import binary_metrics
from trainer_job.training.augmentation import Labels, augment_images
from trainer_job.training.recipe import TrainingRecipe

EVALUATED = 32
FITS = (0.02, 0.95)
"""Share of grasps that succeed where geometry says that a wide open hand fits nowhere around, and that it fits everywhere.
Measured on 6,720 grasps over the table: 2 % and 95 %, nearly linear between."""


class HeatmapTask:
    """Pictures and labelled places for one recipe; a batch is of pictures, each with all its labels.

    angles: image angle of each rotation id, rad.
    """

    def __init__(self, training: HeatmapLabels, validation: HeatmapLabels | None, recipe: TrainingRecipe, angles: list[float]):
        self.recipe, self.angles = recipe, torch.tensor(angles)
        if validation is None:
            pictures = training.pictures
            held = pictures[round(len(pictures) * (1 - recipe.data.validation_share)) :]
            is_held = np.isin(training.which, held)
            training, validation = training.pick(~is_held), training.pick(is_held)
        if not len(training) or not len(validation):
            raise ValueError(
                f"{len(training)} labels to learn from and {len(validation)} to validate on are too few: expected some of both"
            )
        self.data, self.held_out = _Grouped(training), _Grouped(validation)
        self.training = training.pictures
        self.rays = bool(recipe.parameters.get("rays", False))
        self.rng = np.random.default_rng(recipe.seed)
        self.noise = torch.Generator().manual_seed(recipe.seed)

    def epoch(self) -> np.ndarray:
        """Pictures of one pass, shuffled."""
        return self.rng.permutation(self.training)

    def batch(self, pictures: np.ndarray, device: torch.device) -> tuple[tuple[Tensor, ...], Labels]:
        """Changed pictures and their labels."""
        images, labels = augment_images(*self.data.tensors(pictures), self.angles, self.recipe.augment, self.noise)
        return (self._inputs(images, labels, device),), labels.to(device)

    def _inputs(self, images: Tensor, labels: Labels, device: torch.device) -> Tensor:
        """Pictures, with the directions of their pixels where the network asks for them."""
        if self.rays:
            if labels.lenses is None:
                raise ValueError("the network asks for `rays`: expected pictures whose camera is known, such as our own shards")
            lenses = labels.lenses.numpy()
            images = torch.cat([images, torch.from_numpy(rays(labels.size, lenses[:, :2], lenses[:, 2]))], 1)
        return images.to(device, memory_format=torch.channels_last)

    def forward(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        return network(*inputs)

    def loss(self, outputs: Tensor, labels: Labels) -> Tensor:
        """`cells`: which of all cells and rotations it was; `success`: whether the one that was tried held."""
        if self.recipe.loss == "cells":
            height, width = outputs.shape[2:]
            row, column = _cells(outputs, labels).unbind(1)
            return F.cross_entropy(outputs.flatten(1)[labels.picture], (labels.map * height + row) * width + column)
        tried = F.binary_cross_entropy_with_logits(at(outputs, labels), labels.success)
        if labels.fits is None:
            return tried
        expected = FITS[0] + (FITS[1] - FITS[0]) * labels.fits
        return tried + self.recipe.fits * F.binary_cross_entropy_with_logits(outputs, expected)

    @torch.inference_mode()
    def held_out_logits(self, network: nn.Module, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits (N,) of all held-out grasps."""
        found = [
            (labels.success.numpy(), at(network(self._inputs(images, labels, device)).cpu(), labels).numpy())
            for images, labels in self.held_out.batches(EVALUATED)
        ]
        return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])

    def evaluate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """`loss`, by which the best epoch is chosen, and metrics: of probabilities, or of how near the best cell comes."""
        if self.recipe.loss == "cells":
            return self._cells_metrics(network, device)
        metrics = binary_metrics(*self.held_out_logits(network, device))
        return {"loss": metrics.pop("log_loss"), **metrics}

    @torch.inference_mode()
    def _cells_metrics(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """loss; median distance of the best cell from the label (pixels) and share of right rotations, of successes."""
        losses, distances, right = [], [], []
        for images, labels in self.held_out.batches(EVALUATED):
            outputs = network(self._inputs(images, labels, device)).cpu()
            losses.append(float(self.loss(outputs, labels)) * len(labels.map))
            found = torch.stack(torch.unravel_index(outputs.flatten(1).argmax(1), outputs.shape[1:]), 1)[labels.picture]
            good = labels.success > 0
            distances.append(torch.linalg.norm((found[:, 1:] - _cells(outputs, labels)).float(), dim=1)[good])
            right.append((found[:, 0] == labels.map)[good])
        return {
            "loss": sum(losses) / len(self.held_out.labels),
            "median_pixels": float(torch.cat(distances).median()),
            "rotation_right": float(torch.cat(right).float().mean()),
            "n": float(len(self.held_out.labels)),
        }

    @torch.inference_mode()
    def picture(self, network: nn.Module, device: torch.device, path: Path) -> None:
        images, labels = next(self.held_out.batches(5))
        logits = network(self._inputs(images, labels, device)).cpu()
        share = logits.flatten(1).softmax(1).reshape(logits.shape) if self.recipe.loss == "cells" else logits.sigmoid()
        first = torch.searchsorted(labels.picture, torch.arange(len(images)))
        targets = torch.cat([labels.place[first], labels.map[first, None]], 1)
        draw_heatmaps(images.permute(0, 2, 3, 1).numpy(), share.numpy(), targets.numpy(), path)


class _Grouped:
    """Labels in the order of their pictures."""

    def __init__(self, labels: HeatmapLabels) -> None:
        self.labels = labels.pick(np.argsort(labels.which, kind="stable"))

    def tensors(self, pictures: np.ndarray) -> tuple[Tensor, Labels]:
        """Pictures (N, 3, H, W) in 0..1 and their labels."""
        starts, ends = (np.searchsorted(self.labels.which, pictures, side) for side in ("left", "right"))
        rows = np.concatenate([np.arange(*span) for span in zip(starts, ends, strict=True)])
        images = torch.from_numpy(self.labels.images[pictures]).permute(0, 3, 1, 2).float() / 255
        some = self.labels.pick(rows)
        return images, Labels(
            torch.from_numpy(np.repeat(np.arange(len(pictures)), ends - starts)),
            torch.from_numpy(some.places),
            torch.from_numpy(some.maps),
            torch.from_numpy(some.success.astype(np.float32)),
            (images.shape[2], images.shape[3]),
            None if some.fits is None else torch.from_numpy(some.fits[pictures]).float() / AROUND,
            None if some.lenses is None else torch.from_numpy(some.lenses[pictures]).float(),
        )

    def batches(self, size: int) -> Iterator[tuple[Tensor, Labels]]:
        """All pictures in order, unchanged."""
        pictures = self.labels.pictures
        for start in range(0, len(pictures), size):
            yield self.tensors(pictures[start : start + size])


def at(outputs: Tensor, labels: Labels) -> Tensor:
    """Logits (L,) of outputs (N, maps, h, w) at the labelled places, between cells where need be."""
    height, width = outputs.shape[2:]
    place = labels.place_on((height, width)).clamp(min=0)
    low = torch.minimum(place.long(), torch.tensor([height - 1, width - 1], device=place.device))
    high = torch.minimum(low + 1, torch.tensor([height - 1, width - 1], device=place.device))
    share = (place - low).clamp(0, 1)

    def read(row: Tensor, column: Tensor) -> Tensor:
        return outputs[labels.picture, labels.map, row, column]

    upper = torch.lerp(read(low[:, 0], low[:, 1]), read(low[:, 0], high[:, 1]), share[:, 1])
    lower = torch.lerp(read(high[:, 0], low[:, 1]), read(high[:, 0], high[:, 1]), share[:, 1])
    return torch.lerp(upper, lower, share[:, 0])


def _cells(outputs: Tensor, labels: Labels) -> Tensor:
    """Row and column (L, 2) int64 of the cell in which each label lies."""
    return labels.place_on((outputs.shape[2], outputs.shape[3])).round().long()
