"""A process ends when it is told to, whatever it is doing."""

import signal
import threading
from collections.abc import Iterator

import pytest
from waiting import PATIENCE

from shared.retrying import stop_on_signals

NUMBERS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    usual = [signal.getsignal(number) for number in NUMBERS]
    yield
    for number, handler in zip(NUMBERS, usual, strict=True):
        signal.signal(number, handler)


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_heard_while_the_event_is_looked_at(number: signal.Signals) -> None:
    stop = threading.Event()
    stop_on_signals(stop)
    with stop._cond:  # type: ignore[attr-defined]  # as within `wait` and `set`
        signal.raise_signal(number)
        assert not stop.is_set()
    assert stop.wait(PATIENCE)
