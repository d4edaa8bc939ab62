"""What keeps the registry or the trainer from going on, for `/ready`."""

import shutil
import threading
from contextlib import suppress
from pathlib import Path

import redis

from shared.durable import LEAST_FREE_BYTES
from shared.streams import TRAINERS, WorkerStatusStore, connect

LOOK_SECONDS = 2.0
SILENCE_SECONDS = 10.0
"""What a trainer said longer ago counts no more."""


class TroubleWatch(threading.Thread):
    """Looks every LOOK_SECONDS, so that nobody who asks waits for disk or queue. text: empty without trouble."""

    def __init__(self, models_dir: Path, redis_url: str | None) -> None:
        super().__init__(name="trouble", daemon=True)
        self.models_dir = models_dir
        self._board = WorkerStatusStore(connect(redis_url), TRAINERS) if redis_url else None
        self._stopping = threading.Event()
        self.text = ""

    def run(self) -> None:
        while True:
            self.text = self.look()
            if self._stopping.wait(LOOK_SECONDS):
                return

    def stop(self) -> None:
        self._stopping.set()

    def look(self) -> str:
        """One line of what the disk and the trainers say."""
        told = set[str]()
        with suppress(OSError):  # no registry yet
            if shutil.disk_usage(self.models_dir).free < LEAST_FREE_BYTES:
                told.add(f"disk full: less than {LEAST_FREE_BYTES >> 20} MiB free at {self.models_dir}")
        if self._board is not None:
            with suppress(redis.RedisError):  # the field outcome_queue and the outcomes' own errors tell of that
                told |= {row["trouble"] for row in self._board.read(SILENCE_SECONDS).values()}
        return "; ".join(sorted(told - {""}))
