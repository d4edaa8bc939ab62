"""Labelled places in pictures, and how they are read from MobileUNet data: `imgs` (N, H, W, 3) uint8 and `actions` (N, 3) =
row, column, rotation of good grasps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from shared.maps.open_hand import AROUND
from trainer_job.data.examples import Examples, TensorBatch
from trainer_job.training.augmentation import Labels

TRAINED = 0.7
"""Side of what is trained on as a share of a window: turned by any angle it still shows nothing from beyond the window."""
STRIDE = 16
"""Sides of windows are multiples of it."""


@dataclass(frozen=True)
class PictureBatch(TensorBatch):
    """images (N, C, H, W), colours in 0..1 or depths in metres, and what was tried in them.

    window: side of what is cut out of them round a label to learn from; 0: as the recipe says. maps (N, R, H, W), where given:
    quality at every pixel, 0 to 1.
    """

    images: Tensor
    labels: Labels
    window: int = 0
    maps: Tensor | None = None


@dataclass(frozen=True)
class Pictures:
    """images (M, H, W, 3) uint8; which (N,) of them each grasp was made on, rising; places (N, 2) float32 as row, column in
    pixels of the picture; maps (N,) int64, the network's map that the grasp belongs to; success (N,) bool.
    fits (M, maps, h, w) uint8, where known: answers of geometry on the network's grid, of AROUND (see open_hand.py).
    lenses (M, 3), where known: principal point (u, v) and focal length of each picture, in its pixels.

    A batch is of pictures that have labels, each with all of them."""

    images: np.ndarray
    which: np.ndarray
    places: np.ndarray
    maps: np.ndarray
    success: np.ndarray
    fits: np.ndarray | None = None
    lenses: np.ndarray | None = None

    @cached_property
    def pictures(self) -> np.ndarray:
        """Those that have labels, rising."""
        return np.unique(self.which)

    def __len__(self) -> int:
        return len(self.pictures)

    def pick(self, rows: np.ndarray) -> Pictures:
        """These grasps on the same pictures."""
        return replace(self, which=self.which[rows], places=self.places[rows], maps=self.maps[rows], success=self.success[rows])

    def batch(self, rows: np.ndarray) -> PictureBatch:
        pictures = self.pictures[rows]
        starts, ends = (np.searchsorted(self.which, pictures, side) for side in ("left", "right"))
        some = self.pick(np.concatenate([np.arange(*span) for span in zip(starts, ends, strict=True)]))
        images = torch.from_numpy(self.images[pictures]).permute(0, 3, 1, 2).float() / 255
        labels = Labels(
            torch.from_numpy(np.repeat(np.arange(len(pictures)), ends - starts)),
            torch.from_numpy(some.places),
            torch.from_numpy(some.maps),
            torch.from_numpy(some.success.astype(np.float32)),
            (images.shape[2], images.shape[3]),
            None if self.fits is None else torch.from_numpy(self.fits[pictures]).float() / AROUND,
            None if self.lenses is None else torch.from_numpy(self.lenses[pictures]).float(),
        )
        return PictureBatch(images, labels)


class Windows:
    """Features of outcomes as pictures with one label each, of which a smaller window is learned from.

    Features are windows (C, side, side), bytes of colours or metres, as `cut_windows` makes them; aux is row and column of the
    grasp in it and the map that it belongs to, and, where known, principal point (u, v) and focal length in its pixels.
    """

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, rows: np.ndarray) -> PictureBatch:
        found, bytes_ = self.examples.batch(rows), self.examples.features.dtype == np.uint8
        images, (place, which, lenses) = found.features, found.aux.tensor_split([2, 3], 1)
        size = (images.shape[2], images.shape[3])
        seen = lenses if lenses.shape[1] else None
        labels = Labels(torch.arange(len(rows)), place, which[:, 0].long(), found.labels, size, lenses=seen)
        return PictureBatch(images / 255 if bytes_ else images, labels, strides(TRAINED * size[0]))


def cut_windows(image: np.ndarray, places: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows (N, C, side, side) of a picture (H, W, C) whose middles are nearest to places (N, 2) as (u, v), and their corners
    (N, 2) in the picture; beyond it its rim repeats."""
    padded = cv2.copyMakeBorder(image, side, side, side, side, cv2.BORDER_REPLICATE).reshape(
        *(np.add(image.shape[:2], 2 * side)), -1
    )
    corners = np.array([[round(float(value)) for value in place - (side - 1) / 2] for place in places])
    windows = [padded[v + side : v + 2 * side, u + side : u + 2 * side].transpose(2, 0, 1) for u, v in corners]
    return np.stack(windows), corners


def strides(pixels: float) -> int:
    """The multiple of STRIDE that is nearest to so many pixels, at least one."""
    return max(STRIDE, STRIDE * round(pixels / STRIDE))


def read(path: Path, rotations: int) -> Pictures:
    """An npz of the published format; an array `success` (N,) may name failures. Raises ValueError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, cells = archive["imgs"], archive["actions"]
            success = archive["success"].astype(bool) if "success" in archive else np.ones(len(images), bool)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected an npz with imgs (N, H, W, 3) uint8 and actions (N, 3): {error}") from error
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or cells.shape != (len(images), 3):
        raise ValueError(
            f"{path}: expected imgs (N, H, W, 3) uint8 and actions (N, 3), got {images.shape} {images.dtype}, {cells.shape}"
        )
    limits = np.array([*images.shape[1:3], rotations])
    if ((cells < 0) | (cells >= limits)).any():
        raise ValueError(
            f"{path}: actions go beyond rows, columns and rotations {limits.tolist()}; check `rotations` of the recipe"
        )
    return Pictures(images, np.arange(len(images)), cells[:, :2].astype(np.float32), cells[:, 2].astype(np.int64), success)
