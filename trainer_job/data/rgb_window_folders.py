"""Folders of windows of pictures with true heights, read from disk as they are needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shared.rgb_windows import ARRAYS, RgbWindows, parts, read
from trainer_job.data.examples import TensorBatch

HELD_OUT = 10
"""Every so many parts, from the first on, none of whose scenes is learned from."""


@dataclass(frozen=True)
class RgbWindowBatch(TensorBatch):
    """The arrays of `shared.rgb_windows.RgbWindows`. first: the number of the first of them."""

    first: int
    colours: Tensor
    heights: Tensor
    lenses: Tensor
    fits: Tensor
    tried: Tensor


class RgbWindowFolders:
    """Windows of several parts, numbered through."""

    def __init__(self, folders: Sequence[RgbWindows]) -> None:
        self._parts = [each for each in folders if len(each)]
        self._starts = np.cumsum([0, *(len(each) for each in self._parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batch(self, rows: np.ndarray) -> RgbWindowBatch:
        which = np.searchsorted(self._starts, rows, "right") - 1
        each = [(self._parts[part], row - self._starts[part]) for part, row in zip(which, rows, strict=True)]
        arrays = [np.stack([getattr(windows, name)[row] for windows, row in each]) for name in ARRAYS]
        return RgbWindowBatch(int(rows[0]), *map(torch.from_numpy, arrays))


def held_apart(folders: Sequence[Path]) -> tuple[RgbWindowFolders, RgbWindowFolders]:
    """Windows to learn from, and held-out ones: whole scenes. Raises ValueError without some of both."""
    learned: list[RgbWindows] = []
    held: list[RgbWindows] = []
    for folder in folders:
        for number, part in parts(folder).items():
            (learned if number % HELD_OUT else held).append(read(part))
    both = RgbWindowFolders(learned), RgbWindowFolders(held)
    if not all(map(len, both)):
        raise ValueError(
            f"{', '.join(map(str, folders))}: {len(both[0])} windows to learn from and {len(both[1])} to validate on; expected "
            "at least two parts, as python -m sim_worker.collect.rgb_windows writes them"
        )
    tries = {windows.tried.shape[1] for windows in learned + held}
    if len(tries) > 1 or 0 in tries:
        found = ", ".join(map(str, sorted(tries)))
        raise ValueError(f"windows with {found} tried grasps: expected some, and as many in every folder")
    return both
