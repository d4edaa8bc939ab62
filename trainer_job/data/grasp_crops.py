"""Labelled depth crops: what every network on crops learns from, whatever format they came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Split = Literal["ordered", "random"] | str


@dataclass(frozen=True)
class GraspCrops:
    """images (N, h, w) float32 m (may be memory-mapped); depths (N,) of the gripper, m; labels (N,) bool; metric (N,) the
    number behind the label; named: index sets that the data bring along (`<split>/train`, `<split>/val`); groups (N,): rows of
    one group must stay on one side of a split (-1 throughout: not known); leans (N,): of suction, the angle of the
    approach from the optical axis, rad."""

    images: np.ndarray
    depths: np.ndarray
    labels: np.ndarray
    metric: np.ndarray
    named: dict[str, np.ndarray]
    groups: np.ndarray
    leans: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, kind: Split, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from and to validate on.

        `ordered`: the first share of the rows validates, cut between groups; objects follow each other in the published files,
        so this keeps objects apart. `random`: shuffled rows (or groups). Any other name: a split that the data bring along.
        """
        if kind not in ("ordered", "random"):
            try:
                return self.named[f"{kind}/train"], self.named[f"{kind}/val"]
            except KeyError:
                there = sorted({name.split("/")[0] for name in self.named})
                raise ValueError(f"split: expected ordered, random or one of {there}, got {kind!r}") from None
        groups = self.groups if self.groups.max(initial=-1) >= 0 else np.arange(len(self))
        order = np.unique(groups)
        if kind == "random":
            order = np.random.default_rng(seed).permutation(order)
        held = np.isin(groups, order[: max(1, round(share * len(order)))])
        return np.flatnonzero(~held), np.flatnonzero(held)

    def statistics(self) -> dict[str, float]:
        """Counts, share of positives, and mean and deviation over all pixels of up to 10,000 images, m."""
        rows = np.linspace(0, len(self) - 1, min(len(self), 10_000)).astype(int)
        sample = np.asarray(self.images[rows], np.float64)
        return {
            "n": float(len(self)),
            "positive_share": float(self.labels.mean()),
            "image_mean": float(sample.mean()),
            "image_std": float(sample.std()),
            "depth_mean": float(self.depths.mean()),
            "depth_std": float(self.depths.std()),
            "metric_mean": float(self.metric.mean()),
            "metric_std": float(self.metric.std()),
        }
