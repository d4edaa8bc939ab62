"""Small folders in the published data formats, made up by tests: no published data are in here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer_job.data.dexnet import FORMATS


def bars(count: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Depth crops (N, size, size, 1) of a bar on a table at 0.7 m, and whether it lies across the closing axis."""
    good = rng.random(count) < 0.4
    v, u = np.mgrid[:size, :size] - size / 2
    images = np.full((count, size, size), 0.7, np.float32) + rng.normal(0, 0.0005, (count, size, size)).astype(np.float32)
    for image, across in zip(images, good, strict=True):
        half = rng.uniform(0.08, 0.14) * size
        image[np.abs(u if across else v) < half] -= 0.03
    return images[..., None], good


def dexnet_folder(folder: Path, kind: str, files: tuple[int, ...] = (1000, 1000, 850), size: int = 32, seed: int = 0) -> Path:
    """A tensor folder with files of so many rows."""
    form, rng = FORMATS[kind], np.random.default_rng(seed)
    tensors = folder / "tensors"
    tensors.mkdir(parents=True)
    for number, rows in enumerate(files):
        images, good = bars(rows, size, rng)
        poses = np.zeros((rows, 7), np.float32)
        poses[:, 2] = 0.68 + rng.normal(0, 0.005, rows)
        poses[:, 3] = np.arange(rows) / 100
        metric = np.where(good, 1.5, 0.5) * form.threshold
        for field, values in ((form.images, images), (form.poses, poses), (form.metric, metric)):
            np.savez_compressed(tensors / f"{field}_{number:05d}.npz", arr_0=values.astype(np.float32))
    return folder


def heat_file(path: Path, count: int, size: int = 32, seed: int = 0) -> Path:
    """Pictures of a dark bar; the label is its middle, rotation 0 where it lies along the rows' direction u, else 1."""
    rng = np.random.default_rng(seed)
    images, actions = np.full((count, size, size, 3), 240, np.uint8), np.zeros((count, 3), np.int64)
    for image, action in zip(images, actions, strict=True):
        row, column = rng.integers(8, size - 8, 2)
        rotation = rng.integers(2)
        high, wide = (2, 6) if rotation == 0 else (6, 2)
        image[row - high : row + high + 1, column - wide : column + wide + 1] = (40, 80, 160)
        action[:] = row, column, rotation
    np.savez(path, imgs=images, actions=actions)
    return path
