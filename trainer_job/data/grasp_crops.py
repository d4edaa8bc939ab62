"""Labelled depth crops of published data sets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from trainer_job.data.examples import FeatureBatch


@dataclass(frozen=True)
class GraspCrops:
    """images (N, h, w) float32 m (may be memory-mapped); poses (N, 2) float32: depth of the gripper, m, and lean of the
    approach from the optical axis, rad (0 but for suction); metrics (N,) the numbers behind the labels, 1 above `threshold`.

    rows (M,): of these, the ones that this is about. named: index sets that the data bring along (`<split>/train`,
    `<split>/val`).
    """

    images: np.ndarray
    poses: np.ndarray
    metrics: np.ndarray
    threshold: float
    rows: np.ndarray
    named: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def metric(self) -> np.ndarray:
        return np.asarray(self.metrics[self.rows])

    @property
    def labels(self) -> np.ndarray:
        return self.metric > self.threshold

    def batch(self, rows: np.ndarray) -> FeatureBatch:
        """Crops relative to the gripper, as those of outcomes are: see `tasks.gqcnn`."""
        rows = self.rows[rows]
        order, back = np.unique(rows, return_inverse=True)  # in the order of the file: memory maps read forwards
        images = np.asarray(self.images[order], np.float32)[back] - self.poses[rows, :1, None]
        labels = (self.metrics[rows] > self.threshold).astype(np.float32)
        return FeatureBatch(torch.from_numpy(images[:, None]), torch.from_numpy(self.poses[rows]), torch.from_numpy(labels))

    def split(self, kind: str, share: float, seed: int) -> tuple[GraspCrops, GraspCrops]:
        """What is learned from and what is validated on.

        `ordered`: the first share of the rows validates; objects follow each other in the published files, so this keeps
        objects apart. `random`: shuffled rows. Any other name: a split that the data bring along.
        """
        if kind in ("ordered", "random"):
            order = self.rows if kind == "ordered" else np.random.default_rng(seed).permutation(self.rows)
            held = np.sort(order[: max(1, round(share * len(order)))])
            return replace(self, rows=np.setdiff1d(self.rows, held)), replace(self, rows=held)
        if f"{kind}/train" not in self.named:
            there = sorted({name.split("/")[0] for name in self.named})
            raise ValueError(f"split: expected ordered, random or one of {there}, got {kind!r}")
        return replace(self, rows=self.named[f"{kind}/train"]), replace(self, rows=self.named[f"{kind}/val"])
