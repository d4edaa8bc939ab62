"""One request on its way: whose it is, until when an answer is wanted, and what took how long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace


@dataclass
class RequestContext:
    """Times are time.monotonic(). stages: name to start and seconds."""

    client: str
    id: str
    started: float
    deadline: float
    stages: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is done in the block is a stage of the request."""
        started = time.monotonic()
        yield
        self.stages[name] = started, time.monotonic() - started

    def timings(self, more: Mapping[str, float]) -> dict[str, float]:
        """Milliseconds per stage; `total` counts from the moment that the request came."""
        stages = {name: seconds * 1e3 for name, (_, seconds) in self.stages.items()}
        total = (time.monotonic() - self.started) * 1e3
        return {name: round(value, 3) for name, value in {**stages, **more, "total": total}.items()}

    def part(self, number: int) -> RequestContext:
        """The call of one of several observations in a request, with an id of its own."""
        return replace(self, id=f"{self.id}.{number}", stages={})
