"""How the learning loop stands, as workers and trainers tell it through the queue: for `/loop`, `/ready` and `/metrics`."""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.durable import LEAST_FREE_BYTES
from shared.streams import TRAINERS, FailureStore, OutcomeStream, PicturedFailure, WorkerStatusStore, connect

LOOK_SECONDS = 2.0
SILENCE_SECONDS = 10.0
"""What somebody said longer ago counts no more."""
STATES = ("starting", "working", "waiting for scene requests", "outbox full", "stopped")
"""Of workers; a label must not take values without end."""
WORKER_SUMS = {
    "recent_attempts": "best grasps among the last attempts of every worker",
    "recent_successes": "successes among them",
    "spooled": "outcomes that wait at the workers for the queue",
    "no_plan": "scenes without a grasp to try, since the workers started",
    "broken_scenes": "scenes that could not be simulated, since the workers started",
}
TRAINER_SUMS = {
    "outcomes": "outcomes in the dataset",
    "removed": "outcomes that were stored and are not kept any more",
    "kept_bytes": "bytes of the dataset on disk, with what is computed of it",
    "lag": "outcomes in the queue that are not in the dataset yet",
    "new": "outcomes that no training round has seen",
    "dead_letters": "outcomes that could not be read",
    "damaged_shards": "shards put aside because they are damaged",
}


@dataclass(frozen=True)
class LoopState:
    """One look. workers, trainers: rows by name, of those that spoke lately. sent: outcomes that the queue ever accepted.
    failures: the latest grasps that failed, the newest first."""

    queue: bool = False
    sent: int = 0
    workers: dict[str, dict[str, Any]] = field(default_factory=dict)
    trainers: dict[str, dict[str, Any]] = field(default_factory=dict)
    disk: str = ""
    failures: Sequence[PicturedFailure] = ()

    @property
    def trouble(self) -> str:
        """What the registry or a trainer waits for, as a full disk; empty without trouble."""
        return "; ".join(sorted({self.disk, *(row["trouble"] for row in self.trainers.values())} - {""}))


class LoopWatch(threading.Thread, Collector):
    """Looks every LOOK_SECONDS, so that nobody who asks waits for disk or queue. state: what was seen last."""

    def __init__(self, models_dir: Path, redis_url: str | None) -> None:
        super().__init__(name="loop watch", daemon=True)
        self.models_dir = models_dir
        self._queue = connect(redis_url) if redis_url else None
        self._stopping = threading.Event()
        self.state = LoopState()
        if self._queue:
            self._workers, self._trainers = WorkerStatusStore(self._queue), WorkerStatusStore(self._queue, TRAINERS)
            self._outcomes, self._failures = OutcomeStream(self._queue), FailureStore(self._queue)

    def run(self) -> None:
        while True:
            self.state = self.look()
            if self._stopping.wait(LOOK_SECONDS):
                return

    def stop(self) -> None:
        self._stopping.set()

    def look(self) -> LoopState:
        """What disk and queue say now."""
        disk = ""
        with suppress(OSError):  # no registry yet
            if shutil.disk_usage(self.models_dir).free < LEAST_FREE_BYTES:
                disk = f"disk full: less than {LEAST_FREE_BYTES >> 20} MiB free at {self.models_dir}"
        if self._queue is not None:
            with suppress(redis.RedisError):  # `queue` tells of that
                workers, trainers = self._workers.read(SILENCE_SECONDS), self._trainers.read(SILENCE_SECONDS)
                sent = sum(self._outcomes.sent().values())
                return LoopState(True, sent, workers, trainers, disk, self._failures.read())
        return LoopState(disk=disk)

    def collect(self) -> Iterator[Metric]:
        """Series of the loop; none where there is no queue to see it through."""
        if self._queue is None:
            return
        state = self.state
        yield GaugeMetricFamily("grasp_loop_queue_up", "1 where the queue answers", int(state.queue))
        yield CounterMetricFamily("grasp_loop_outcomes_sent", "outcomes that the queue accepted", state.sent)
        yield GaugeMetricFamily("grasp_loop_trainers", "trainers that spoke lately", len(state.trainers))
        workers = GaugeMetricFamily("grasp_loop_workers", "workers that spoke lately, by state", labels=["state"])
        counts = Counter(row["state"] if row["state"] in STATES else "other" for row in state.workers.values())
        for name in (*STATES, "other"):
            workers.add_metric([name], counts[name])
        yield workers
        trouble = GaugeMetricFamily(
            "grasp_loop_trouble", "of how many something is in the way, as a full disk", labels=["part"]
        )
        for part, texts in (
            ("registry", [state.disk]),
            ("workers", [row["trouble"] for row in state.workers.values()]),
            ("trainers", [row["trouble"] for row in state.trainers.values()]),
        ):
            trouble.add_metric([part], sum(map(bool, texts)))
        yield trouble
        for sums, rows in ((WORKER_SUMS, state.workers), (TRAINER_SUMS, state.trainers)):
            for name, description in sums.items():
                yield GaugeMetricFamily(f"grasp_loop_{name}", description, sum(_count(row.get(name)) for row in rows.values()))


def _count(value: object) -> int:
    """What a row says it counts; its writer may be of another version."""
    return value if isinstance(value, int) and 0 <= value < 2**63 else 0
