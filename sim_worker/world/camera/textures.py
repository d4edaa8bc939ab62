"""Patterns of tables and things from pictures: their brightness alone, so that colours stay drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from sim_worker.world.camera.photographic import Pattern
from sim_worker.world.simulation.spec import Looks

ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}
SIDE = 384
"""Pixels of a side that a picture is kept with."""
PERIODS = 4
"""A picture spans so many periods of a pattern: whatever it shows is much larger than a stripe."""
LEAST_CONTRAST = 0.05
"""Between the 5th and the 95th percentile of brightness: what has less is noise."""


Textures = Annotated[
    Path | None,
    Field(description="folder of pictures whose brightness tables and things of photographic looks may have for a pattern"),
]
"""Option of commands."""


def read_textures(folder: Path) -> tuple[Pattern, ...]:
    """One pattern for each picture under `folder`, in the order of their paths. Raises ValueError for a folder without any."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    patterns = [_pattern(image) for path in found if (image := cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) is not None]
    if not patterns:
        raise ValueError(
            f"no picture ({', '.join(sorted(ENDINGS))}) that can be read under {folder}: name a folder of pictures, or make "
            "one with `python -m services.textures --out DIR`"
        )
    return tuple(patterns)


def _pattern(brightness: np.ndarray) -> Pattern:
    """Of a picture (H, W) uint8, stretched so that a tenth of it is black or white."""
    small = cv2.resize(brightness, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    low, high = np.percentile(small, [5, 95])
    share = np.clip((small - low) / max(high - low, LEAST_CONTRAST), 0, 1)

    def at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        row, column = (np.floor(each * SIDE / PERIODS).astype(int) % SIDE for each in (y, x))
        result: np.ndarray = share[row, column]
        return result

    return at


def textures_of(folder: Path | None) -> Sequence[Pattern]:
    """As `read_textures`; none without a folder."""
    return read_textures(folder) if folder else ()


def check_looks(looks: Sequence[Looks], textures: Path | None) -> None:
    """Raises ValueError for pictures that nothing would show."""
    if textures and "photographic" not in looks:
        raise ValueError(
            f"textures are of photographic looks, got looks {', '.join(looks)}: add --looks photographic, or leave them out"
        )
