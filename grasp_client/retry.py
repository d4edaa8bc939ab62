"""When to try again and when to give up; no I/O here, so that both clients share it."""

import random
import time
from email.utils import parsedate_to_datetime

import httpx

from grasp_client.errors import DeadlineExceeded, GraspServerError, ServerUnreachable, error_of

RETRIED_STATUS = (429, 503)
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
CONNECT_SECONDS = 3.0
"""Longest wait for one connection, so that a lost packet leaves time for a second try."""
LONGEST_DEADLINE_MS = 600_000
"""The server refuses longer ones."""
REPLY_GRACE = 0.5
"""The server answers 504 at the deadline; we listen this much longer to hear it say so. Seconds."""


class RetryPolicy:
    """The attempts of one call: at most `max_attempts`, all inside `deadline` seconds from now."""

    def __init__(self, url: str, deadline: float, max_attempts: float) -> None:
        self._url = url
        self._deadline = deadline
        self._end = time.monotonic() + deadline
        self._max_attempts = max_attempts
        self._made = 0

    def begin(self) -> tuple[dict[str, str], httpx.Timeout]:
        """Headers and timeout of the next attempt. Raises DeadlineExceeded when no time is left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._too_late()
        self._made += 1
        timeout = httpx.Timeout(left + REPLY_GRACE, connect=min(left, CONNECT_SECONDS))
        return {"X-Deadline-Ms": str(min(max(1, int(left * 1000)), LONGEST_DEADLINE_MS))}, timeout

    def after_reply(self, response: httpx.Response) -> float | None:
        """None when the reply is a success, else seconds to wait before the next attempt. Raises when that is no use."""
        if response.is_success:
            return None
        error = error_of(response)
        if response.status_code not in RETRIED_STATUS:
            raise error
        return self._pause(error, retry_after(response))

    def after_error(self, error: httpx.TransportError) -> float:
        """Seconds to wait before the next attempt. Raises when trying again is no use."""
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
            raise self._too_late() from error
        unreachable = ServerUnreachable(
            f"no server answers at {self._url} ({error or type(error).__name__}): start one with `make run` "
            "(or `python -m inference_server`), or give the url of one that runs",
            code="unreachable",
        )
        return self._pause(unreachable, 0.0)

    def _pause(self, error: GraspServerError, at_least: float) -> float:
        # Jitter keeps clients that failed together from returning together.
        pause: float = at_least + random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._made - 1))
        if self._made >= self._max_attempts or time.monotonic() + pause >= self._end:
            raise error
        return pause

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self._url} did not answer within {self._deadline:g} s: give a longer deadline, or look at the server's load",
            code="deadline_exceeded",
        )


def retry_after(response: httpx.Response) -> float:
    """Seconds that the reply asks us to wait (a number or an HTTP date), 0 when it does not say."""
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return seconds if 0.0 < seconds < float("inf") else 0.0
