"""What the terminal view shows, gathered from the queue, the registry and the dataset on disk."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from shared.rates import rate_with_interval
from shared.registry import Registry
from shared.shards import ShardError, ShardReader, shard_folders
from shared.streams import OutcomeStream, WorkerStatusStore, connect

RECENT = 200
BOARD_SECONDS = 10.0
SHARDS_READ = 40
"""Of the shards that are there at the start only the last are read for the recent results: older ones are but counted."""


@dataclass(frozen=True)
class Status:
    """One look at the loop. recent: attempts, successes, rate, low, high of the last RECENT best grasps."""

    workers: dict[str, dict[str, Any]]
    sent: int | None
    lag: int | None
    stored: int
    recent: dict[str, float]
    champions: dict[str, int]


@dataclass
class DatasetStatus:
    """Outcomes on disk; each shard is read once. The recent ones leave exploration out: it is meant to fail more often."""

    directory: Path
    stored: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    _last: int = 0

    def refresh(self) -> None:
        folders = shard_folders(self.directory)
        for position, folder in enumerate(folders):
            if _number(folder) > self._last:
                self._last = _number(folder)
                with suppress(ShardError):  # the trainer says what is wrong with it
                    self._take(ShardReader(folder), with_results=position >= len(folders) - SHARDS_READ)

    def _take(self, shard: ShardReader, with_results: bool) -> None:
        self.stored += len(shard)
        if with_results:
            metas = (row.meta for row in shard.rows)
            self.recent.extend(meta["success"] for meta in metas if "success" in meta and not meta["exploration"])


def _number(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


class StatusReader:
    """Looks at a running loop without disturbing it."""

    def __init__(self, redis_url: str, models_dir: Path, shards_dir: Path):
        client = connect(redis_url)
        self.outcomes, self.board = OutcomeStream(client), WorkerStatusStore(client)
        self.registry, self.dataset = Registry(models_dir), DatasetStatus(shards_dir)

    def read(self) -> Status:
        """The status now; what only the queue knows is empty while the queue is away."""
        self.dataset.refresh()
        try:
            workers, lag = self.board.read(max_age_seconds=BOARD_SECONDS), self.outcomes.lag() + self.outcomes.pending()
            sent: int | None = sum(self.outcomes.sent().values())
        except redis.RedisError:
            workers, lag, sent = {}, None, None
        recent = rate_with_interval(sum(self.dataset.recent), len(self.dataset.recent))
        champions = {name: version for name in self.registry.names() if (version := self.registry.champion(name))}
        return Status(workers, sent, lag, self.dataset.stored, recent, champions)
