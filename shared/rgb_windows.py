"""Looks: windows of colour pictures in whose middle something stands, with the true height of what every pixel sees.

A folder of parts, each a folder `part-00000` with colours.npy (N, S, S, 3) uint8; heights.npy (N, S, S) uint8, millimetres over
the table; lenses.npy (N, 3) float32, the nadir (u, v) in the window's pixels and the focal length; fits.npy (N, T R, h, w)
uint8, where an open hand fits (`open_hand.py`), on cells of CELL pixels; and tried.npy (N, K, 5) float32, grasps that were
executed there. They are read as they are needed, so that many more can be learned from than fit into memory.
"""

import os
import re
import shutil
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

ARRAYS = ("colours", "heights", "lenses", "fits", "tried")
PART = re.compile(r"part-(\d{5})$")
TALLEST = 255
"""mm; what is higher is written as this."""
CELL = 4


class TriedGrasp(IntEnum):
    """Columns of a grasp that was tried: where its tips are seen, pixels; image angle of its closing axis, rad; which of
    TIP_HEIGHTS its tips went to; 1 if it held, 0 if not, UNTRIED if there was nothing to try."""

    U, V, ANGLE, LEVEL, HELD = range(5)


UNTRIED = -1.0


@dataclass(frozen=True)
class RgbWindows:
    """colours (N, S, S, 3) uint8, heights (N, S, S) uint8 in mm, lenses (N, 3) float32, fits (N, T R, S / CELL, S / CELL)
    uint8 and tried (N, K, 5) float32 as in the module's text."""

    colours: np.ndarray
    heights: np.ndarray
    lenses: np.ndarray
    fits: np.ndarray
    tried: np.ndarray

    def __len__(self) -> int:
        return len(self.colours)


def part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}"


def parts(folder: Path) -> dict[int, Path]:
    """Whole parts of a folder by number."""
    found = ((PART.fullmatch(path.name), path) for path in folder.glob("part-*"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def write(folder: Path, number: int, looks: RgbWindows) -> None:
    """Writes a part; it appears whole or not at all."""
    unfinished = folder / f".part-{number:05d}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name in ARRAYS:
        np.save(unfinished / f"{name}.npy", getattr(looks, name))
    os.replace(unfinished, part_path(folder, number))


def read(part: Path) -> RgbWindows:
    """A part, mapped rather than loaded. Raises ValueError when it is not one."""
    try:
        arrays = [np.load(part / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS]
    except OSError as error:
        raise ValueError(f"{part}: expected {', '.join(f'{name}.npy' for name in ARRAYS)}: {error}") from error
    looks = RgbWindows(*arrays)
    shapes = [array.shape for array in arrays]
    count, side = shapes[0][:2] if len(shapes[0]) == 4 else (0, 0)
    cells = side // CELL
    maps = shapes[3][1] if len(shapes[3]) == 4 else 0
    tries = shapes[4][1] if len(shapes[4]) == 3 else 0
    right = [
        (count, side, side, 3),
        (count, side, side),
        (count, 3),
        (count, maps, cells, cells),
        (count, tries, len(TriedGrasp)),
    ]
    if shapes != right:
        expected = f"colours (N, S, S, 3), heights (N, S, S), lenses (N, 3), fits (N, T R, S / {CELL}, S / {CELL}) and "
        expected += f"tried (N, K, {len(TriedGrasp)})"
        raise ValueError(f"{part}: expected {expected}, got {shapes}")
    return looks
