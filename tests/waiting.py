"""Waiting for what must happen: as short as it takes, with a limit that only a failure reaches."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds. No test that passes comes near it, however busy the machine is: it only ends one that would hang."""


def wait_until(
    true: Callable[[], object], story: Callable[[], str] = str, seconds: float = PATIENCE, every: float = 0.01
) -> None:
    """Return as soon as `true()` holds, asked `every` so many seconds; fail after `seconds`, telling `story()`."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"not within {seconds:g} s: {story()}"
        time.sleep(every)


class FakeClock:
    """Stands in for the module `time` in a module under test: it moves only when somebody sleeps, and keeps for how long."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
