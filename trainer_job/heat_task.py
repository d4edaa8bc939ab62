"""Learning heat maps: the picture turns with its label, cross-entropy, and how near the best cell comes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer_job.datasets.heat_labels import HeatLabels
from trainer_job.pictures import draw_heatmaps
from trainer_job.recipe import AugmentRecipe, Recipe

EVALUATED = 64


class HeatTask:
    """Pictures and labelled cells for one recipe. angles: image angle of each rotation id, rad."""

    def __init__(self, training: HeatLabels, validation: HeatLabels | None, recipe: Recipe, angles: list[float]):
        self.data, self.recipe, self.angles = training, recipe, torch.tensor(angles)
        cut = len(training) if validation is not None else round(len(training) * (1 - recipe.data.validation_share))
        self.training = np.arange(cut)
        self.held_out = training.pick(slice(cut, None)) if validation is None else validation
        if not len(self.held_out) or not cut:
            raise ValueError(f"{len(training)} pictures are too few to hold back {recipe.data.validation_share} of them")
        self.rng = np.random.default_rng(recipe.seed)
        self.noise = torch.Generator().manual_seed(recipe.seed)

    def epoch(self) -> np.ndarray:
        return self.rng.permutation(self.training)

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
        """Augmented pictures, and targets (N, 4): row, column, rotation, success."""
        images, targets = tensors(self.data, rows)
        images, targets = turn(images, targets, self.angles, self.recipe.augment, self.noise)
        return (images.to(device),), targets.to(device)

    def forward(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        return network(*inputs)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`cells`: which of all cells and rotations it was; `success`: whether the one that was tried held."""
        row, column, rotation, success = targets.unbind(1)
        if self.recipe.loss == "cells":
            height, width = outputs.shape[2:]
            return F.cross_entropy(outputs.flatten(1), (rotation * height + row) * width + column)
        tried = outputs[torch.arange(len(outputs), device=outputs.device), rotation, row, column]
        return F.binary_cross_entropy_with_logits(tried, success.to(tried.dtype))

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """loss; median distance of the best cell from the label (pixels) and share of right rotations, of successes."""
        losses, distances, right = [], [], []
        for start in range(0, len(self.held_out), EVALUATED):
            rows = np.arange(start, min(start + EVALUATED, len(self.held_out)))
            images, targets = tensors(self.held_out, rows)
            outputs = network(images.to(device)).cpu()
            losses.append(float(self.loss(outputs, targets)) * len(rows))
            found = torch.stack(torch.unravel_index(outputs.flatten(1).argmax(1), outputs.shape[1:]), 1)
            distances.append(torch.linalg.norm((found[:, 1:] - targets[:, :2]).float(), dim=1)[targets[:, 3] > 0])
            right.append((found[:, 0] == targets[:, 2])[targets[:, 3] > 0])
        return {
            "loss": sum(losses) / len(self.held_out),
            "median_pixels": float(torch.cat(distances).median()),
            "rotation_right": float(torch.cat(right).float().mean()),
            "n": float(len(self.held_out)),
        }

    @torch.inference_mode()
    def picture(self, network: nn.Module, device: torch.device, path: Path) -> None:
        images, targets = tensors(self.held_out, np.arange(min(5, len(self.held_out))))
        logits = network(images.to(device)).cpu()
        share = logits.flatten(1).softmax(1).reshape(logits.shape) if self.recipe.loss == "cells" else logits.sigmoid()
        draw_heatmaps(images.permute(0, 2, 3, 1).numpy(), share.numpy(), targets.numpy(), path)


def tensors(data: HeatLabels, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W) in 0..1 and targets (N, 4)."""
    images = torch.from_numpy(data.images[data.which[rows]]).permute(0, 3, 1, 2).float() / 255
    success = torch.from_numpy(data.success[rows].astype(np.int64))
    return images, torch.cat([torch.from_numpy(data.cells[rows]), success[:, None]], 1)


def turn(
    images: Tensor, targets: Tensor, angles: Tensor, augment: AugmentRecipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, H, W) turned, mirrored, shifted and greyed, and their targets moved along.

    Turns are multiples of pi / rotations, so that every label falls on a rotation again. A picture whose label would leave
    it stays as it was.
    """
    count, (height, width) = len(images), images.shape[2:]
    drawn = lambda: torch.rand(count, generator=generator)  # noqa: E731
    by = torch.zeros(count)
    if augment.turn:
        by = torch.floor(drawn() * 2 * len(angles)) * math.pi / len(angles)
    flip = torch.where(drawn() < 0.5, -1.0, 1.0) if augment.mirror else torch.ones(count)
    shift = (2 * torch.stack([drawn(), drawn()], 1) - 1) * augment.shift * torch.tensor([width, height])
    shift = shift.round()
    cosine, sine = by.cos(), by.sin()
    # (u, v) of the new picture = matrix (u, v of the old) about the centre, then shifted; the mirror turns u over first.
    matrix = torch.stack([torch.stack([cosine * flip, -sine], 1), torch.stack([sine * flip, cosine], 1)], 1)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    old = targets[:, [1, 0]].float() - centre
    new = ((matrix @ old[:, :, None])[:, :, 0] + shift + centre).round()
    stays = ((new >= 0) & (new <= 2 * centre)).all(1)
    axis = torch.stack([angles[targets[:, 2]].cos(), angles[targets[:, 2]].sin()], 1)
    moved = (matrix @ axis[:, :, None])[:, :, 0]
    off = (torch.atan2(moved[:, 1], moved[:, 0])[:, None] - angles + math.pi / 2) % math.pi - math.pi / 2
    rotation = off.abs().argmin(1)
    turned = torch.stack([new[:, 1].long(), new[:, 0].long(), rotation, targets[:, 3]], 1)
    pictures = _resample(images, matrix, shift)
    images = torch.where(stays[:, None, None, None], pictures, images)
    targets = torch.where(stays[:, None], turned, targets)
    grey = (drawn() < augment.grey)[:, None, None, None]
    weights = torch.tensor([0.2989, 0.587, 0.114])[None, :, None, None]
    return torch.where(grey, (images * weights).sum(1, keepdim=True).expand_as(images), images), targets


def _resample(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Pictures with pixel p moved to matrix (p - centre) + centre + shift; what comes from beyond repeats the rim."""
    height, width = images.shape[2:]
    half = torch.tensor([width, height]) / 2
    back = matrix.transpose(1, 2)  # orthogonal
    # affine_grid asks, for each new place in units of half the picture, where it came from.
    linear = back * half[None, None, :] / half[None, :, None]
    offset = -(back @ shift[:, :, None])[:, :, 0] / half
    grid = F.affine_grid(torch.cat([linear, offset[:, :, None]], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
