"""What workers and trainers last said of themselves."""

from __future__ import annotations

import json
import time
from typing import Any

import redis

WORKERS = "grasp:workers"
TRAINERS = "grasp:trainers"


class WorkerStatusStore:
    """What each worker last said of itself; for people to look at."""

    def __init__(self, client: redis.Redis, key: str = WORKERS):
        self.client: Any = client
        self.key = key

    def report(self, worker: str, status: dict[str, Any]) -> None:
        """Replace this worker's line."""
        self.client.hset(self.key, worker, json.dumps({**status, "time": time.time()}))

    def read(self, max_age_seconds: float = 60.0) -> dict[str, dict[str, Any]]:
        """Lines of the workers that reported lately."""
        lines = {name.decode(): json.loads(line) for name, line in self.client.hgetall(self.key).items()}
        stale = [name for name, line in lines.items() if line["time"] < time.time() - max_age_seconds]
        if stale:
            self.client.hdel(self.key, *stale)
        return {name: line for name, line in lines.items() if name not in stale}
