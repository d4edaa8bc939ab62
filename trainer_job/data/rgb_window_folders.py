"""Folders of looks: windows of pictures with true heights, read from disk as they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.rgb_windows import ARRAYS, RgbWindows, parts, read

HELD_OUT = 10
"""Every so many parts, from the first on, none of whose scenes is learned from."""


class RgbWindowFolders:
    """Looks of several parts, numbered through."""

    def __init__(self, folders: Sequence[RgbWindows]) -> None:
        self._parts = [each for each in folders if len(each)]
        self._starts = np.cumsum([0, *(len(each) for each in self._parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def pick(self, rows: np.ndarray) -> RgbWindows:
        """Looks of these numbers, in memory."""
        which = np.searchsorted(self._starts, rows, "right") - 1
        each = [(self._parts[part], row - self._starts[part]) for part, row in zip(which, rows, strict=True)]
        return RgbWindows(*(np.stack([getattr(looks, name)[row] for looks, row in each]) for name in ARRAYS))


def held_apart(folders: Sequence[Path]) -> tuple[RgbWindowFolders, RgbWindowFolders]:
    """Looks to learn from, and held-out ones: whole scenes. Raises ValueError without some of both."""
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
    tries = {looks.tried.shape[1] for looks in learned + held}
    if len(tries) > 1 or 0 in tries:
        found = ", ".join(map(str, sorted(tries)))
        raise ValueError(f"windows with {found} tried grasps: expected some, and as many in every folder")
    return both
