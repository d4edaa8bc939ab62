"""Changes of pictures while a heat map is learned: turned, mirrored and shifted with all their labels, and in other colours."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer_job.data.examples import TensorBatch
from trainer_job.training.recipe import AugmentRecipe

LUMA = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class Labels(TensorBatch):
    """Tried grasps. picture (L,): place in the batch, rising. place (L, 2): row, column in pixels. map (L,). success (L,).

    size: rows and columns of the pictures, by which places are brought to a coarser grid. fits (N, maps, h, w), where known:
    answers of geometry, 0 to 1, on a grid over the pictures. lenses (N, 3), where known: principal point (u, v), focal length.
    """

    picture: Tensor
    place: Tensor
    map: Tensor
    success: Tensor
    size: tuple[int, int]
    fits: Tensor | None = None
    lenses: Tensor | None = None

    def place_on(self, grid: tuple[int, int]) -> Tensor:
        """Places (L, 2) in cells of a grid over the same picture; a cell's centre is at its integer value."""
        scale = torch.tensor([grid[0] / self.size[0], grid[1] / self.size[1]], device=self.place.device)
        return (self.place + 0.5) * scale - 0.5

    def pick(self, rows: Tensor) -> Labels:
        """These labels of the same pictures."""
        return replace(self, picture=self.picture[rows], place=self.place[rows], map=self.map[rows], success=self.success[rows])


def augment_images(
    images: Tensor, labels: Labels, angles: Tensor, augment: AugmentRecipe, generator: torch.Generator
) -> tuple[Tensor, Labels]:
    """Pictures (N, 3, H, W) changed as the recipe says, and their labels moved along; those that leave the picture are dropped.

    Turns are multiples of pi / rotations, so that every label falls on a rotation again. Turned about the middle, or, where a
    window is cut out, about one of the labels, which comes to lie in the window's middle before the shift. A picture that all
    labels would leave stays as it was.
    """
    count, (height, width), device = len(images), labels.size, images.device
    drawn = partial(_uniform, count, generator, device)
    by = torch.floor(drawn() * 2 * len(angles)) * math.pi / len(angles) if augment.turn else images.new_zeros(count)
    flip = torch.where(drawn() < 0.5, -1.0, 1.0) if augment.mirror else images.new_ones(count)
    size = (augment.window, augment.window) if augment.window else labels.size
    shift = (2 * torch.stack([drawn(), drawn()], 1) - 1) * augment.shift * images.new_tensor(size[::-1])
    about = images.new_tensor([(width - 1) / 2, (height - 1) / 2]).expand(count, 2)
    if augment.window:
        about = _one_each(labels, drawn())
    middle = images.new_tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
    motion = _Motion(_matrix(by, flip), about, shift.round() + middle, size, labels.size)
    moved, inside = motion.labels(labels, angles)
    if not augment.window:
        leaves = images.new_zeros(count).index_add_(0, labels.picture, inside.float()) == 0
        motion.matrix[leaves], motion.to[leaves] = torch.eye(2, device=device), about[leaves]
        moved, inside = motion.labels(labels, angles)
    if augment.turn or augment.mirror or augment.shift or augment.window:
        images = motion.pictures(images)
    return jitter_colour(images, augment, generator), moved.pick(inside)


@dataclass(frozen=True)
class _Motion:
    """Pixel p = (u, v) of picture k moves to matrix[k] (p - about[k]) + to[k] of a picture of `size` (rows, columns).

    old: the size before."""

    matrix: Tensor
    about: Tensor
    to: Tensor
    size: tuple[int, int]
    old: tuple[int, int]

    def labels(self, labels: Labels, angles: Tensor) -> tuple[Labels, Tensor]:
        """Labels where they come to lie, and which of them (L,) are in the new picture."""
        matrix = self.matrix[labels.picture]
        new = (matrix @ (labels.place.flip(1) - self.about[labels.picture])[:, :, None])[:, :, 0] + self.to[labels.picture]
        new = torch.where((new - new.round()).abs() < 1e-3, new.round(), new)  # quarter turns are exact
        inside = ((new >= 0) & (new <= new.new_tensor([self.size[1] - 1, self.size[0] - 1]))).all(1)
        rotation, level = labels.map % len(angles), labels.map // len(angles)
        becomes = self.rotations(angles)
        nearest = level * len(angles) + becomes[labels.picture, rotation]
        dense = None if labels.fits is None else self._fits(labels.fits, becomes)
        lenses = labels.lenses
        if lenses is not None:
            principal = (self.matrix @ (lenses[:, :2] - self.about)[:, :, None])[:, :, 0] + self.to
            lenses = torch.cat([principal, lenses[:, 2:]], 1)
        return replace(labels, place=new.flip(1), map=nearest, size=self.size, fits=dense, lenses=lenses), inside

    def rotations(self, angles: Tensor) -> Tensor:
        """(N, R) what each rotation becomes."""
        axes = torch.stack([angles.cos(), angles.sin()])
        turned = self.matrix @ axes
        off = (torch.atan2(turned[:, 1], turned[:, 0])[:, :, None] - angles + math.pi / 2) % math.pi - math.pi / 2
        return off.abs().argmin(2)

    def _fits(self, fits: Tensor, becomes: Tensor) -> Tensor:
        """Moved answers, of the rotations that they come to belong to; beyond the picture nothing fits."""
        rows, columns = (side * cells // old for side, cells, old in zip(self.size, fits.shape[2:], self.old, strict=True))
        grid = F.affine_grid(self._theta(), [len(fits), 1, rows, columns], align_corners=False)
        moved = F.grid_sample(fits, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        came_from = torch.argsort(becomes, 1)[:, None, :, None, None]
        by_rotation = moved.reshape(len(moved), -1, becomes.shape[1], *moved.shape[2:])
        return by_rotation.gather(2, came_from.expand_as(by_rotation)).flatten(1, 2)

    def pictures(self, images: Tensor) -> Tensor:
        """The moved pictures (N, 3, *size); what comes from beyond the old ones repeats their rim."""
        grid = F.affine_grid(self._theta(), [len(images), 1, *self.size], align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _theta(self) -> Tensor:
        """(N, 2, 3): for each new place in units of half the new picture, where it came from in units of half the old one."""
        old, new = (self.to.new_tensor(size[::-1]) for size in (self.old, self.size))
        back = self.matrix.transpose(1, 2)  # orthogonal
        linear = back * new[None, None, :] / old[None, :, None]
        source = self.about + (back @ ((new - 1) / 2 - self.to)[:, :, None])[:, :, 0]
        return torch.cat([linear, ((source + 0.5) * 2 / old - 1)[:, :, None]], 2)


def _uniform(count: int, generator: torch.Generator, device: torch.device, low: float = 0.0, high: float = 1.0) -> Tensor:
    """(count,) numbers from low..high."""
    return low + (high - low) * torch.rand(count, generator=generator, device=device)


def smooth_noise(images: Tensor, augment: AugmentRecipe, generator: torch.Generator) -> Tensor:
    """(N, 1, H, W) m to add to depths of that shape: noise that neighbouring pixels of a depth camera share; 0 for the rest."""
    count, device = len(images), images.device
    coarse = augment.noise * torch.randn((count, 1, *[augment.noise_cells] * 2), generator=generator, device=device)
    smooth = F.interpolate(coarse, size=images.shape[2:], mode="bicubic", align_corners=False)
    return smooth * (torch.rand((count, 1, 1, 1), generator=generator, device=device) < augment.noise_share)


def _matrix(by: Tensor, flip: Tensor) -> Tensor:
    """(N, 2, 2): (u, v) turned by an angle after a mirror that turns u over."""
    cosine, sine = by.cos(), by.sin()
    return torch.stack([torch.stack([cosine * flip, -sine], 1), torch.stack([sine * flip, cosine], 1)], 1)


def _one_each(labels: Labels, drawn: Tensor) -> Tensor:
    """(N, 2) as (u, v): one label of each picture, by numbers drawn from 0..1."""
    starts = torch.searchsorted(labels.picture, torch.arange(len(drawn), device=drawn.device))
    counts = torch.bincount(labels.picture, minlength=len(drawn))
    return labels.place[starts + (drawn * counts).long().clamp(max=counts - 1)].flip(1)


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


def cells_of(outputs: Tensor, labels: Labels) -> Tensor:
    """Row and column (L, 2) int64 of the cell in which each label lies."""
    return labels.place_on((outputs.shape[2], outputs.shape[3])).round().long()


def jitter_colour(images: Tensor, augment: AugmentRecipe, generator: torch.Generator) -> Tensor:
    """Pictures in another hue, saturation, contrast and brightness, by a matrix on (r, g, b); some of them grey.

    The hue turns all the way round: colours say nothing about what can be grasped.
    """
    count, device = len(images), images.device
    drawn = partial(_uniform, count, generator, device)
    luma = images.new_tensor(LUMA).expand(3, 3)
    grey = (drawn(0, 1) < augment.grey).float()[:, None, None]
    matrix = grey * luma + (1 - grey) * torch.eye(3, device=device)
    if augment.colour:
        hue, strength = drawn(-math.pi, math.pi), augment.colour
        saturation, contrast = drawn(1 - strength, 1 + strength)[:, None, None], drawn(1 - strength, 1 + strength)
        matrix = contrast[:, None, None] * (matrix @ (luma + saturation * (_hue(hue) - luma)))
        offset = drawn(-strength, strength)[:, None, None, None] / 2 + 0.5 * (1 - contrast[:, None, None, None])
        return (torch.einsum("nij,njhw->nihw", matrix, images) + offset).clamp(0, 1)
    return torch.einsum("nij,njhw->nihw", matrix, images) if augment.grey else images


def _hue(angle: Tensor) -> Tensor:
    """(N, 3, 3): rotation of (r, g, b) about the grey axis (Rodrigues)."""
    axis, unit = angle.new_full((3,), 1 / math.sqrt(3)), torch.eye(3, device=angle.device)
    cross = torch.linalg.cross(unit, axis.expand(3, 3)).T
    outer = torch.outer(axis, axis)
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    rotation: Tensor = cosine * unit + sine * cross + (1 - cosine) * outer
    return rotation
