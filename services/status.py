"""What the terminal view shows, gathered from the queue, the registry and the dataset on disk."""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import redis

from shared.rates import rate_with_interval
from shared.registry import Registry
from shared.shards import ShardError, ShardReader, shard_folders, shard_span
from shared.streams import TRAINERS, OutcomeStream, WorkerStatusStore, connect, stream_names

RECENT = 200
BOARD_SECONDS = 10.0
CARDS_READ = 4
"""Newest versions of a model whose decisions may be the last."""
UNDECIDED = "to be tested"
"""What the offline gate's record of a candidate says that goes on to the A/B test."""
SHARDS_READ = 40
"""Of the shards that are there at the start only the last are read for the recent results: older ones are but counted."""


@dataclass(frozen=True)
class Status:
    """One look at the loop. simulated, robots: attempts, successes, rate, low, high of the last RECENT best grasps of each.
    trainer: what it last said of itself, empty when it is silent. decided: the last decision on a version, and why."""

    workers: dict[str, dict[str, Any]]
    sent: int | None
    lag: int | None
    stored: int
    simulated: dict[str, float]
    robots: dict[str, float]
    champions: dict[str, int]
    trainer: dict[str, Any] = field(default_factory=dict)
    decided: str = ""


@dataclass
class DatasetStatus:
    """Outcomes on disk; each shard is read once. The recent ones leave exploration out: it is meant to fail more often."""

    directory: Path
    simulated: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    robots: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    _counts: dict[str, int] = field(default_factory=dict)
    _last: int = 0

    @property
    def stored(self) -> int:
        return sum(self._counts.values())

    def refresh(self) -> None:
        folders = shard_folders(self.directory)
        self._counts = {folder.name: self._counts.get(folder.name, -1) for folder in folders}
        new = [(position, folder) for position, folder in enumerate(folders) if self._counts[folder.name] < 0]
        for position, folder in new:
            first, last, _ = shard_span(folder.name)
            self._counts[folder.name] = 0
            with suppress(ShardError):  # the trainer says what is wrong with it
                self._take(ShardReader(folder), with_results=first > self._last and position >= len(folders) - SHARDS_READ)
            self._last = max(self._last, last)

    def _take(self, shard: ShardReader, with_results: bool) -> None:
        self._counts[shard.folder.name] = len(shard)
        if with_results:
            for meta in (row.meta for row in shard.rows):
                if "success" in meta and not meta.get("exploration"):
                    (self.simulated if meta.get("scene") else self.robots).append(meta["success"] is True)


def last_decision(registry: Registry) -> str:
    """What was decided last on a version of any model, and why; empty where nothing has been. A test that was begun decides
    nothing."""
    decisions = [
        (str(decision.get("time", "")), f"{name} version {card.version} {decision['action']}: {decision.get('reason', '')}")
        for name in registry.names()
        for card in islice(registry.cards(name), CARDS_READ)
        for decision in card.decisions
        if decision.get("action", UNDECIDED) != UNDECIDED
    ]
    return max(decisions, default=("", ""))[1]


class StatusReader:
    """Looks at a running loop without disturbing it."""

    def __init__(self, redis_url: str, models_dir: Path, shards_dir: Path, streams: int = 1):
        client = connect(redis_url)
        self.outcomes = [OutcomeStream(client, name) for name in stream_names(streams)]
        self.board, self.trainers = WorkerStatusStore(client), WorkerStatusStore(client, TRAINERS)
        self.registry, self.dataset = Registry(models_dir), DatasetStatus(shards_dir)

    def read(self) -> Status:
        """The status now; what only the queue knows is empty while the queue is away."""
        self.dataset.refresh()
        try:
            workers = self.board.read(max_age_seconds=BOARD_SECONDS)
            lag: int | None = sum(stream.lag() + stream.pending() for stream in self.outcomes)
            sent: int | None = sum(self.outcomes[0].sent().values())
            trainer = next(iter(self.trainers.read(max_age_seconds=BOARD_SECONDS).values()), {})
        except redis.RedisError:
            workers, lag, sent, trainer = {}, None, None, {}
        simulated, robots = (rate_with_interval(sum(its), len(its)) for its in (self.dataset.simulated, self.dataset.robots))
        champions = {name: version for name in self.registry.names() if (version := self.registry.champion(name))}
        return Status(
            workers, sent, lag, self.dataset.stored, simulated, robots, champions, trainer, last_decision(self.registry)
        )
