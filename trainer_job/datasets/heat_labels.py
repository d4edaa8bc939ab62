"""MobileUNet data: pictures `imgs` (N, H, W, 3) uint8 and `actions` (N, 3) = row, column, rotation of good grasps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class HeatLabels:
    """images (M, H, W, 3) uint8; which (N,) of them each grasp was made on; cells (N, 3) int64 as row, column, rotation;
    success (N,) bool."""

    images: np.ndarray
    which: np.ndarray
    cells: np.ndarray
    success: np.ndarray

    def __len__(self) -> int:
        return len(self.which)

    def pick(self, rows: np.ndarray | slice) -> HeatLabels:
        """These grasps on the same pictures."""
        return HeatLabels(self.images, self.which[rows], self.cells[rows], self.success[rows])


def read(path: Path, rotations: int) -> HeatLabels:
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
    return HeatLabels(images, np.arange(len(images)), cells.astype(np.int64), success)
