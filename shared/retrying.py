"""One way to wait for what is away for a while (the queue, the disk, the server), to say so, and to end when told to."""

import _thread
import logging
import signal
import threading
from collections.abc import Callable
from typing import TypeVar

import redis
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_delay,
    stop_never,
    stop_when_event_set,
    wait_exponential_jitter,
)

from shared.durable import is_disk_full

log = logging.getLogger(__name__)
T = TypeVar("T")

AWAY = (redis.RedisError, OSError)
"""What the queue and the disk raise while they are away or full."""
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
"""Seconds between attempts: doubled after each, so that what comes back is neither missed for long nor flooded."""
JITTER = 0.25
"""Most seconds by which pauses differ, so that many that wait do not all come at once."""

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


def retrying(
    errors: Errors,
    stopping: threading.Event,
    tell: Callable[[BaseException, float], None] = lambda error, pause: None,
    seconds: float | None = None,
) -> Retrying:
    """Calls a function again after each of `errors` until it returns: `retrying(...)(function, *arguments)`.

    errors: types, or what tells by the error. tell: hears each error, and how many seconds pass until the next attempt.
    The last error is raised when `stopping` is set, which also ends a pause, or after `seconds` by the monotonic clock.
    """
    matches = (lambda error: isinstance(error, errors)) if isinstance(errors, type | tuple) else errors

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            tell(error, state.upcoming_sleep)

    return Retrying(
        retry=retry_if_exception(matches),
        wait=wait_exponential_jitter(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE, jitter=JITTER),
        stop=stop_when_event_set(stopping) | (stop_never if seconds is None else stop_after_delay(seconds)),
        sleep=sleep_using_event(stopping),
        before_sleep=before_sleep,
        reraise=True,
    )


class Troubles:
    """What the parts of a process wait for just now, each told by the part that waits: for the process's status."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def __str__(self) -> str:
        """One line; empty where nobody waits."""
        return "; ".join(sorted(set(self._told.copy().values())))

    def patiently(
        self, part: str, stopping: threading.Event, action: Callable[[], T], told: Callable[[], None] = lambda: None
    ) -> T:
        """Result of `action`, called again while queue or disk are away or full. Raises the last error once `stopping`.

        told: called after each failure, when this knows of it.
        """

        def tell(error: BaseException, pause: float) -> None:
            self._told[part] = f"disk full: {error}" if is_disk_full(error) else f"{type(error).__name__}: {error}"
            told()
            log.warning("%s waits", part, extra={"error": self._told[part], "retry_seconds": round(pause, 2)})

        try:
            return retrying(AWAY, stopping, tell)(action)
        finally:
            self._told.pop(part, None)


def stop_on_signals(stop: threading.Event) -> None:
    """Sets `stop` at SIGTERM and SIGINT. Of the main thread, as all that handles signals.

    A handler runs between two steps of the main thread, also of those in which it waits for this very event and holds its lock:
    whoever sets it there waits for himself. So a thread does; of the lowest kind, since to start another takes locks as well.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _thread.start_new_thread(stop.set, ()))
