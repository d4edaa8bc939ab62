"""Which outcomes are learned from and which are tested on, and their features and labels."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from trainer_job.data.examples import Dataset, Examples
from trainer_job.data.feature_cache import FeatureCache, FeatureExtractor
from trainer_job.data.outcome_index import IndexEntry, OutcomeIndex
from trainer_job.data.sources import Sources, shares_by_source

log = logging.getLogger(__name__)

Raw = TypeVar("Raw")

MAX_HELD_OUT = 4_000
"""The newest held-out outcomes on which versions are compared: the task of today, in bounded time."""
NEW_SHARE = 0.5
"""Most of a replay that outcomes since the last round may fill, when not all outcomes fit."""


@dataclass(frozen=True)
class TrainingData(Generic[Raw]):
    """What is learned from, what is held out, and what the card says of the outcomes behind them."""

    training: Dataset[Raw]
    held_out: Dataset[Raw]
    outcomes: dict[str, Any] = field(default_factory=dict)


class ReplayBuffer:
    """Learnable outcomes of a dataset, in the order in which they were stored. refused: how many others, by reason.

    sources: whose outcomes may be learned from without limit, and held out to decide on versions; default: everybody's.
    """

    def __init__(self, dataset: OutcomeIndex, cache: FeatureCache, sources: Sources | None = None) -> None:
        self.dataset, self.cache, self.sources = dataset, cache, sources or Sources()
        self.records: list[IndexEntry] = []
        self.refused: Counter[str] = Counter()
        self._usable: dict[str, list[IndexEntry]] = {}
        self._refused: dict[str, Counter[str]] = {}

    def refresh(self) -> None:
        """Takes in outcomes that were stored since; computes their features. What it raises, the next call goes on from."""
        self.dataset.refresh()
        new = [shard for shard in self.dataset.shards if shard not in self._usable]
        for shard in new:
            cached = self.cache.load(self.dataset.directory / shard)
            usable = set(cached.rows.tolist())
            self._refused[shard] = cached.refused
            self._usable[shard] = [r for r in self.dataset.shards[shard] if not r.ab_test and r.row in usable]
        if new:
            self._usable = {shard: self._usable[shard] for shard in self.dataset.shards}
            self.records = [record for records in self._usable.values() for record in records]
            self.refused = sum((self._refused[shard] for shard in self._usable), Counter[str]())

    def __len__(self) -> int:
        return len(self.records)

    def position(self, shard: int) -> int:
        """How many outcomes were first written in shards up to this number."""
        return bisect_right(self.records, shard, key=lambda record: record.shard_number)

    @property
    def newest_shard(self) -> int:
        return self.records[-1].shard_number if self.records else 0

    def training(self, most: int, seen: int, seed: int) -> np.ndarray:
        """Places of outcomes to train on, at most `most`: new ones (after the first `seen`) mixed with a sample of the old."""
        places = np.array([i for i, record in enumerate(self.records) if not record.held_out], np.int64)
        places = self.sources.limit(self.records, places)
        if len(places) <= most:
            return places
        rng = np.random.default_rng(seed)
        new, old = places[places >= seen], places[places < seen]
        take_new = min(len(new), max(int(most * NEW_SHARE), most - len(old)))
        chosen = [new[len(new) - take_new :], rng.choice(old, min(most - take_new, len(old)), replace=False)]
        return self.sources.limit(self.records, np.sort(np.concatenate(chosen)))

    def held_out(self) -> np.ndarray:
        """Places of the newest outcomes of held-out scenes from sources that may decide on versions."""
        held_out = (i for i, record in enumerate(self.records) if record.held_out and self.sources.trusts(record))
        return np.array(list(held_out), np.int64)[-MAX_HELD_OUT:]

    def select(self, places: np.ndarray) -> SampleRefs:
        """Where the outcomes at these places lie, for another process to load."""
        chosen = [self.records[place] for place in places]
        return SampleRefs(
            shards=[record.shard for record in chosen],
            rows=[record.row for record in chosen],
            labels=[record.label for record in chosen],
            ids=(chosen[0].id, chosen[-1].id) if chosen else ("", ""),
            sources=shares_by_source(chosen),
        )

    def examples(self, places: np.ndarray) -> Examples:
        return examples(self.select(places), self.cache, self.dataset.directory)


@dataclass(frozen=True)
class SampleRefs:
    """Outcomes by shard and row, their labels, the first and the last id, and the shares of their sources."""

    shards: list[str]
    rows: list[int]
    labels: list[float]
    ids: tuple[str, str]
    sources: dict[str, Any] = field(default_factory=dict)


def examples(selection: SampleRefs, cache: FeatureCache, shards: Path) -> Examples:
    """Features and labels of what of a selection is still there, read shard by shard: an open memory map costs a file
    descriptor."""
    spec = cache.task.spec
    there = np.zeros(len(selection.shards), bool)
    features = np.zeros((len(selection.shards), *spec.shape), spec.dtype)
    aux = np.zeros((len(selection.shards), spec.aux), np.float32)
    members: dict[str, list[int]] = {}
    for k, shard in enumerate(selection.shards):
        members.setdefault(shard, []).append(k)
    for shard, mine in members.items():
        cached = cache.load(shards / shard)
        feature_row = {row: k for k, row in enumerate(cached.rows.tolist())}
        found = [k for k in mine if selection.rows[k] in feature_row]
        rows = [feature_row[selection.rows[k]] for k in found]
        features[found], aux[found], there[found] = cached.features[rows], cached.aux[rows], True
    labels = np.array(selection.labels, np.float32)
    if there.all():
        return Examples(features, labels, aux)
    return Examples(features[there], labels[there], aux[there])


def read_shards(
    task: FeatureExtractor, folders: Sequence[Path], validation: Sequence[Path], cache: Path, most: int, seed: int
) -> tuple[Examples, Examples, dict[str, Any]]:
    """Outcomes of folders of shards as (to learn from, held out, what the card says of them).

    most: the newest so many of each folder. Held out are whole scenes, or all of `validation`. cache: where features are kept.
    Raises ValueError without outcomes to learn from.
    """
    buffers = [_open(folder, cache, task) for folder in folders]
    learned = [(buffer, buffer.training(most, 0, seed)) for buffer in buffers]
    test = [(buffer, buffer.held_out()) for buffer in buffers]
    if validation:
        unseen = [_open(folder, cache, task) for folder in validation]
        learned = [(buffer, np.arange(len(buffer))[-most:]) for buffer in buffers]
        test = [(buffer, np.arange(len(buffer))) for buffer in unseen]
    count = sum(len(places) for _, places in learned)
    refused = sum((buffer.refused for buffer in buffers), Counter[str]())
    if count < 2:
        why = f"; refused: {dict(refused)}" if refused else ": expected folders that hold shard-*/"
        raise ValueError(f"no outcomes to learn from in {', '.join(map(str, folders))}{why}")
    ids = [buffer.records[place].id for buffer, places in learned for place in places[[0, -1]] if len(places)]
    outcomes = {"first": ids[0], "last": ids[-1], "count": count, "total": 0, "refused": dict(refused)}
    outcomes |= {"held_out": sum(len(places) for _, places in test), "test_shards": bool(validation)}
    return _gather(learned), _gather(test), outcomes


def _open(folder: Path, cache: Path, task: FeatureExtractor) -> ReplayBuffer:
    name = folder.resolve().as_posix().replace("/", "_")
    buffer = ReplayBuffer(OutcomeIndex(folder), FeatureCache(cache / "features" / name, task))
    buffer.refresh()
    counts = {"learnable": len(buffer), "stored": len(buffer.dataset), "refused": dict(buffer.refused)}
    log.info("outcomes", extra={"folder": str(folder), **counts})
    return buffer


def _gather(parts: Sequence[tuple[ReplayBuffer, np.ndarray]]) -> Examples:
    found = [buffer.examples(places) for buffer, places in parts]
    features, labels, aux = ([getattr(each, name) for each in found] for name in ("features", "labels", "aux"))
    return Examples(*(np.concatenate(arrays) for arrays in (features, labels, aux)))


def shards_folder(data_dir: Path) -> Path:
    return data_dir / "shards"
