"""What workers and trainers last said of themselves."""

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import redis
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from shared.streams.group import of_type

WORKERS = "grasp:workers"
TRAINERS = "grasp:trainers"
ROW_BYTES = 65_536
"""What is longer is no status."""
FORGOTTEN_SECONDS = 3600.0
HERE_SECONDS = 15.0
"""Rows come every second, but for a worker that builds a scene or waits for a plan."""
STOPPED = "stopped"

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
    note: Line = ""
    model: Line = ""
    held_out: Count = 0
    held_out_needed: Count = 0
    removed: Count = 0
    kept_bytes: Count = 0
    refused: dict[Line, Line] = Field(default_factory=dict, max_length=16)


class WorkerStatusStore:
    """What each worker last said of itself; for people to look at. clock: monotonic seconds."""

    def __init__(self, client: redis.Redis, key: str = WORKERS, clock: Callable[[], float] = time.monotonic):
        self.client: Any = client
        self.key, self.clock = key, clock
        self._reported = False
        self._seen: dict[bytes, tuple[bytes, float]] = {}

    def report(self, worker: str, status: dict[str, Any]) -> None:
        """Replace this worker's row; the first time also forget those that have been silent for FORGOTTEN_SECONDS."""
        row = json.dumps({**status, "time": time.time()})
        of_type(self.client, {self.key: "hash"}, lambda: self.client.hset(self.key, worker, row))
        if not self._reported:
            self._reported = True
            rows = self.client.hgetall(self.key)
            recent = self._recent(rows, FORGOTTEN_SECONDS)
            if old := [name for name in rows if name not in recent]:
                self.client.hdel(self.key, *old)

    def read(self, max_age_seconds: float = 60.0) -> dict[str, dict[str, Any]]:
        """Rows of those that reported lately, with every field of `StatusRow`."""
        rows = of_type(self.client, {self.key: "hash"}, lambda: self.client.hgetall(self.key))
        recent = self._recent(rows, max_age_seconds)
        return {name.decode(errors="replace"): row.model_dump() for name, row in recent.items()}

    def refusal(self, planner: str) -> str:
        """Why no worker gets plans from a planner, where every one that is there says that it is refused; else nothing."""
        here = [row for row in self.read(max_age_seconds=HERE_SECONDS).values() if row["state"] != STOPPED]
        reasons = [row["refused"].get(planner, "") for row in here]
        return reasons[0] if reasons and all(reasons) else ""

    def _recent(self, rows: dict[bytes, bytes], max_age_seconds: float) -> dict[bytes, StatusRow]:
        """Rows whose age is at most this. A row's age is how long it has been unchanged by this reader's clock, whatever clocks
        on the wall do; only for one that was never seen before what it says of the time must do."""
        found, seen, now = {}, dict[bytes, tuple[bytes, float]](), self.clock()
        for name, text in rows.items():
            if len(text) <= ROW_BYTES:
                with suppress(ValidationError):
                    row = StatusRow.model_validate_json(text)
                    before, since = self._seen.get(name, (None, now - _age(row)))
                    seen[name] = text, since if before in (None, text) else now
                    if now - seen[name][1] <= max_age_seconds:
                        found[name] = row
        self._seen = seen
        return found


def _age(row: StatusRow) -> float:
    age = time.time() - row.time
    return math.inf if age < -FORGOTTEN_SECONDS else max(age, 0.0)
