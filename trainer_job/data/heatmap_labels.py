"""Labelled places in pictures, and how they are read from MobileUNet data: `imgs` (N, H, W, 3) uint8 and `actions` (N, 3) =
row, column, rotation of good grasps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class HeatmapLabels:
    """images (M, H, W, 3) uint8; which (N,) of them each grasp was made on; places (N, 2) float32 as row, column in pixels of
    the picture; maps (N,) int64, the network's map that the grasp belongs to; success (N,) bool.
    fits (M, maps, h, w) uint8, where known: answers of geometry on the network's grid, of AROUND (see open_hand.py).
    lenses (M, 3), where known: principal point (u, v) and focal length of each picture, in its pixels."""

    images: np.ndarray
    which: np.ndarray
    places: np.ndarray
    maps: np.ndarray
    success: np.ndarray
    fits: np.ndarray | None = None
    lenses: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.which)

    def pick(self, rows: np.ndarray | slice) -> HeatmapLabels:
        """These grasps on the same pictures."""
        return replace(self, which=self.which[rows], places=self.places[rows], maps=self.maps[rows], success=self.success[rows])

    @property
    def pictures(self) -> np.ndarray:
        """The pictures that have labels, in rising order."""
        return np.unique(self.which)


def read(path: Path, rotations: int) -> HeatmapLabels:
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
    return HeatmapLabels(images, np.arange(len(images)), cells[:, :2].astype(np.float32), cells[:, 2].astype(np.int64), success)
