"""Waiting for what is away: how often, how long, and how it ends."""

from __future__ import annotations

import errno
import threading

import pytest

from shared.retrying import JITTER, LONGEST_PAUSE, Troubles, retrying


class Away:
    """Raises `error` for the first `failures` calls."""

    def __init__(self, failures: int, error: BaseException) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls


class Pauses(threading.Event):
    """An event that notes waits instead of waiting; set after so many."""

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self.most, self.pauses = most, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0.0)
        if len(self.pauses) >= self.most:
            self.set()
        return self.is_set()


def test_waits_longer_each_time_up_to_a_limit() -> None:
    pauses, told = Pauses(), list[str]()
    assert retrying(OSError, pauses, lambda error, pause: told.append(str(error)))(Away(8, OSError("full"))) == 9
    assert told == ["full"] * 8
    assert pauses.pauses[0] < pauses.pauses[2] < pauses.pauses[4] <= max(pauses.pauses) <= LONGEST_PAUSE + JITTER


def test_other_errors_are_not_waited_for() -> None:
    with pytest.raises(KeyError):
        retrying((OSError, ValueError), Pauses())(Away(1, KeyError("x")))


def test_an_error_is_known_by_a_function_too() -> None:
    assert retrying(lambda error: "later" in str(error), Pauses())(Away(1, RuntimeError("later"))) == 2


def test_stops_when_it_is_told_to() -> None:
    away = Away(1_000, OSError("full"))
    with pytest.raises(OSError, match="full"):
        retrying(OSError, Pauses(most=3))(away)
    assert away.calls <= 4


def test_gives_up_after_so_many_seconds() -> None:
    with pytest.raises(OSError, match="full"):
        retrying(OSError, Pauses(), seconds=0.0)(Away(1_000, OSError("full")))


def test_what_is_waited_for_is_told_while_it_is_waited_for() -> None:
    troubles, told, stopping = Troubles(), list[str](), Pauses()
    away = Away(2, OSError(errno.ENOSPC, "No space left on device", "data/x"))

    def action() -> int:
        told.append(str(troubles))
        return away()

    assert troubles.patiently("ingest", stopping, action) == 3
    assert told[0] == ""
    assert told[1].startswith("disk full: ")
    assert str(troubles) == ""
    with pytest.raises(OSError, match="No space"):
        troubles.patiently("ingest", Pauses(most=1), Away(9, OSError(errno.ENOSPC, "No space left")))
    assert str(troubles) == ""
