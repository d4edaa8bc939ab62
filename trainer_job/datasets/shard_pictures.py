"""Pictures of executed grasps, from our own shards: the colour image, the cell and angle that were tried, and the outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from shared.shards import ShardReader, shard_folders
from trainer_job.dataset import is_held_out, scene_key
from trainer_job.datasets.heat_labels import HeatLabels


def read(folders: Sequence[Path], kind: str, side: int, angles: list[float]) -> tuple[HeatLabels, HeatLabels]:
    """Grasps to learn from and held-out ones (whole scenes), on pictures whose shorter side has `side` pixels.

    angles: image angle of each rotation id; a grasp belongs to the nearest. Raises ValueError when nothing can be used.
    """
    images: list[np.ndarray] = []
    rows: list[tuple[int, int, int, int, bool, bool]] = []
    for shard in (shard for folder in folders for shard in shard_folders(folder)):
        reader, seen = ShardReader(shard), dict[int, int]()
        for index, outcome in enumerate(reader):
            meta = outcome.meta
            if (
                "rgb" not in outcome.images
                or meta.grasp.kind != kind
                or meta.contact_rule != "strict"
                or meta.failure == "unreachable"
            ):
                continue
            rgb = outcome.images["rgb"]
            offset = reader.image_offset(index, "rgb")
            if offset not in seen:
                seen[offset] = len(images)
                images.append(shrink(np.asarray(rgb), side))
            row, column = _cell(meta.grasp.center_px, rgb.shape, images[-1].shape)
            off = (meta.grasp.angle - np.asarray(angles) + math.pi / 2) % math.pi - math.pi / 2
            held = is_held_out(scene_key(outcome.id, meta.scene))
            rows.append((seen[offset], row, column, int(np.abs(off).argmin()), meta.success, held))
    if not rows or len({image.shape for image in images}) > 1:
        shapes = sorted({image.shape for image in images})
        raise ValueError(
            f"{', '.join(map(str, folders))}: expected {kind} outcomes with colour images of one shape, got {shapes}"
        )
    table = np.array(rows, np.int64)
    labels = HeatLabels(np.stack(images), table[:, 0], table[:, 1:4], table[:, 4].astype(bool))
    held_out = table[:, 5] > 0
    return labels.pick(~held_out), labels.pick(held_out)


def shrink(rgb: np.ndarray, side: int) -> np.ndarray:
    """(H, W, 3) with the shorter side at about `side` pixels, both multiples of 16."""
    factor = side / min(rgb.shape[:2])
    height, width = (max(16, 16 * round(length * factor / 16)) for length in rgb.shape[:2])
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)


def _cell(pixel: Sequence[float], size: tuple[int, ...], shrunk: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of a pixel (u, v) in the shrunken picture."""
    row = math.floor((pixel[1] + 0.5) * shrunk[0] / size[0])
    column = math.floor((pixel[0] + 0.5) * shrunk[1] / size[1])
    return min(max(row, 0), shrunk[0] - 1), min(max(column, 0), shrunk[1] - 1)
