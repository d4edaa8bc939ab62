"""Carries the outbox's outcomes to the queue, in a thread of its own, so that physics never waits for the network."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import redis

from grasp_client.errors import GraspServerError
from shared.outcome_codec import EncodedOutcome
from shared.retrying import retrying
from sim_worker.worker.outbox import Outbox, OutboxEntry, no_room

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 10.0
IDLE_SECONDS = 0.5

Deliver = Callable[[OutboxEntry], bool]
"""Hands one outcome over; False when the receiver already had it. Raises one of RETRIED while the receiver is away or full; any
other error is the outcome's own."""

RETRIED = (redis.RedisError, GraspServerError, OSError, sqlite3.OperationalError)


class DeliveryRefused(Exception):
    """The receiver will never take this outcome, however often it is sent."""


class OutboxPublisher(threading.Thread):
    """Empties the outbox in order; while the receiver is away or the disk is full it waits, and loses nothing.

    trouble: what is wrong with the disk, for people; empty when nothing is.
    """

    def __init__(self, outbox: Outbox, deliver: Deliver) -> None:
        super().__init__(name="publisher", daemon=True)
        self.outbox = outbox
        self.deliver = deliver
        self.delivered = 0
        self.away_since: float | None = None
        self.trouble = ""
        self._wake = threading.Event()
        self._stop_requested = threading.Event()
        self._claimed_at = float("-inf")

    def put(self, outcome: EncodedOutcome) -> None:
        """Keep the outcome on disk and wake the publisher."""
        self.outbox.put(outcome)
        self._wake.set()

    def run(self) -> None:
        again = retrying(RETRIED, self._stop_requested, self.held_up)
        with suppress(*RETRIED):  # stopped while the receiver was away
            while not self._stop_requested.is_set():
                self._claim_orphans()
                again(self.deliver_waiting)
                self._wake.wait(IDLE_SECONDS)
                self._wake.clear()

    def deliver_waiting(self) -> None:
        """Deliver what waits, oldest first. Raises one of RETRIED when receiver or disk failed before the end."""
        for place, entry in self.outbox.entries():
            try:
                fresh = self.deliver(entry)
            except RETRIED:
                raise
            except Exception as error:  # whatever is odd about one outcome must not keep the others waiting
                reason = f"{type(error).__name__}: {error}"
                logger.error("outcome %s goes into quarantine: %s", entry.outcome.id, reason)
                self.outbox.quarantine(place, reason)
                continue
            self._receiver_answered()
            self.outbox.done(place)
            self.trouble = ""
            self.delivered += fresh
            if self._stop_requested.is_set():
                break

    def stop(self, seconds: float) -> int:
        """End the thread after at most one more try of `seconds`; returns how many outcomes stay on disk."""
        deadline = time.monotonic() + seconds
        while self.outbox.waiting() and not self._held_up() and time.monotonic() < deadline and self.is_alive():
            self._wake.set()
            time.sleep(0.02)
        self._stop_requested.set()
        self._wake.set()
        self.join(timeout=max(deadline - time.monotonic(), 0.1))
        return len(self.outbox.waiting())

    def _held_up(self) -> bool:
        return self.away_since is not None or bool(self.trouble)

    def _claim_orphans(self) -> None:
        if time.monotonic() - self._claimed_at >= CLAIM_SECONDS:
            self._claimed_at = time.monotonic()
            try:
                found = self.outbox.claim_orphans()
            except (OSError, sqlite3.Error) as error:  # our own outcomes must not wait for somebody else's folder
                logger.warning("cannot look for what stopped workers left in %s: %s", self.outbox.root, error)
                return
            if found:
                logger.info("sending %d outcomes that a stopped worker left in %s", found, self.outbox.root)

    def held_up(self, error: BaseException, pause: float) -> None:
        """Hears what keeps outcomes waiting; told in the log once."""
        if isinstance(error, sqlite3.Error) or no_room(error):
            if not self.trouble:
                logger.error("cannot write the outbox %s (%s): trying again", self.outbox.root, error)
            self.trouble = f"disk full: {self.outbox.root}" if no_room(error) else f"cannot write {self.outbox.root}: {error}"
        elif self.away_since is None:
            self.away_since = time.monotonic()
            where = self.outbox.root
            logger.warning("cannot deliver outcomes (%s: %s): keeping them in %s", type(error).__name__, error, where)

    def _receiver_answered(self) -> None:
        if self.away_since is not None:
            seconds = time.monotonic() - self.away_since
            self.away_since = None
            logger.info("outcomes are delivered again after %.1f s; %d waited on disk", seconds, len(self.outbox.waiting()))
