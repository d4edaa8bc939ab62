"""What workers and trainers last said of themselves."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Annotated, Any

import redis
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

WORKERS = "grasp:workers"
TRAINERS = "grasp:trainers"
ROW_BYTES = 65_536
"""What is longer is no status."""
FORGOTTEN_SECONDS = 3600.0

Count = Annotated[int, Field(ge=0, lt=2**63)]
Line = Annotated[str, AfterValidator(lambda text: "".join(each if each.isprintable() else "?" for each in text[:300]))]
"""Text that a terminal may show."""


class StatusRow(BaseModel):
    """What everybody reads of a row; a row that does not fit is nobody's status."""

    model_config = ConfigDict(extra="allow")

    time: FiniteFloat
    attempts: Count = 0
    successes: Count = 0
    state: Line = "running"
    trouble: Line = ""
    asks: bool = False


class WorkerStatusStore:
    """What each worker last said of itself; for people to look at."""

    def __init__(self, client: redis.Redis, key: str = WORKERS):
        self.client: Any = client
        self.key = key
        self._reported = False

    def report(self, worker: str, status: dict[str, Any]) -> None:
        """Replace this worker's row; the first time also forget those that have been silent for FORGOTTEN_SECONDS."""
        self.client.hset(self.key, worker, json.dumps({**status, "time": time.time()}))
        if not self._reported:
            self._reported = True
            rows = self.client.hgetall(self.key)
            if old := [name for name in rows if name not in self._recent(rows, FORGOTTEN_SECONDS)]:
                self.client.hdel(self.key, *old)

    def read(self, max_age_seconds: float = 60.0) -> dict[str, dict[str, Any]]:
        """Rows of those that reported lately, with every field of `StatusRow`."""
        recent = self._recent(self.client.hgetall(self.key), max_age_seconds)
        return {name.decode(errors="replace"): row.model_dump() for name, row in recent.items()}

    @staticmethod
    def _recent(rows: dict[bytes, bytes], max_age_seconds: float) -> dict[bytes, StatusRow]:
        found, now = {}, time.time()
        for name, text in rows.items():
            if len(text) <= ROW_BYTES:
                with suppress(ValidationError):
                    row = StatusRow.model_validate_json(text)
                    if now - max_age_seconds <= row.time <= now + FORGOTTEN_SECONDS:
                        found[name] = row
        return found
