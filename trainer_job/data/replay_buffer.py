"""Which outcomes a round learns from and which it is tested on, and their views and labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import IndexEntry, OutcomeIndex
from trainer_job.training.loop import Examples

HELD_OUT_MOST = 4_000
"""The newest held-out outcomes on which versions are compared: the task of today, in bounded time."""
NEW_SHARE = 0.5
"""Most of a replay that outcomes since the last round may fill, when not all outcomes fit."""


class ReplayBuffer:
    """Learnable outcomes of a dataset, in the order in which they were stored."""

    def __init__(self, dataset: OutcomeIndex, cache: FeatureCache) -> None:
        self.dataset, self.cache = dataset, cache
        self.records: list[IndexEntry] = []
        self._rows: list[int] = []
        self._scanned = 0

    def refresh(self) -> None:
        """Takes in outcomes that were stored since; computes their views."""
        self.dataset.refresh()
        new = self.dataset.records[self._scanned :]
        self._scanned += len(new)
        for shard, members in groupby(new, lambda record: record.shard):
            _, _, rows = self.cache.load(self.dataset.directory / shard)
            view_row = {int(row): k for k, row in enumerate(rows)}
            learnable = [r for r in members if not r.judge and r.row in view_row]
            self.records += learnable
            self._rows += [view_row[r.row] for r in learnable]

    def __len__(self) -> int:
        return len(self.records)

    def training(self, most: int, seen: int, seed: int) -> np.ndarray:
        """Places of outcomes to train on, at most `most`: new ones (after the first `seen`) mixed with a sample of the old."""
        places = np.array([i for i, record in enumerate(self.records) if not record.held_out], np.int64)
        if len(places) <= most:
            return places
        rng = np.random.default_rng(seed)
        new, old = places[places >= seen], places[places < seen]
        take_new = min(len(new), max(int(most * NEW_SHARE), most - len(old)))
        chosen = [new[len(new) - take_new :], rng.choice(old, min(most - take_new, len(old)), replace=False)]
        return np.sort(np.concatenate(chosen))

    def held_out(self) -> np.ndarray:
        """Places of the newest outcomes of held-out scenes."""
        return np.array([i for i, record in enumerate(self.records) if record.held_out], np.int64)[-HELD_OUT_MOST:]

    def select(self, places: np.ndarray) -> SampleRefs:
        """Where the outcomes at these places lie, for another process to load."""
        chosen = [self.records[place] for place in places]
        return SampleRefs(
            shards=[record.shard for record in chosen],
            rows=[self._rows[place] for place in places],
            labels=[record.success for record in chosen],
            ids=(chosen[0].id, chosen[-1].id) if chosen else ("", ""),
        )

    def examples(self, places: np.ndarray) -> Examples:
        return examples(self.select(places), self.cache, self.dataset.directory)


@dataclass(frozen=True)
class SampleRefs:
    """Outcomes by shard and row of the shard's views, their labels, and the first and the last id."""

    shards: list[str]
    rows: list[int]
    labels: list[bool]
    ids: tuple[str, str]


def examples(selection: SampleRefs, cache: FeatureCache, shards: Path) -> Examples:
    """Views and labels of a selection, read shard by shard: an open memory map costs a file descriptor."""
    views = np.zeros((len(selection.shards), *cache.learner.view_shape), cache.learner.view_dtype)
    facts = np.zeros((len(selection.shards), cache.learner.facts), np.float32)
    members: dict[str, list[int]] = {}
    for k, shard in enumerate(selection.shards):
        members.setdefault(shard, []).append(k)
    for shard, mine in members.items():
        stored, beside, _ = cache.load(shards / shard)
        rows = [selection.rows[k] for k in mine]
        views[mine], facts[mine] = stored[rows], beside[rows]
    return Examples(views, np.array(selection.labels, np.float32), facts)


def shards_folder(data_dir: Path) -> Path:
    return data_dir / "shards"
