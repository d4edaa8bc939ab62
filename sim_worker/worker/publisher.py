"""Carries the outbox's outcomes to the queue, in a thread of its own, so that physics never waits for the network."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import redis

from grasp_client.errors import GraspServerError
from shared.outcome_codec import EncodedOutcome
from shared.retrying import retrying
from shared.streams.outcome_batches import OutcomeBatch
from sim_worker.worker.outbox import Outbox, Place, no_room

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 10.0
IDLE_SECONDS = 0.5

MOST_TOGETHER = 64
MOST_BYTES = 4 * 2**20
"""So many batches, or of so many bytes, are handed over together: one answer, and one write to the queue's disk, is for all."""

Deliver = Callable[[Sequence[OutcomeBatch]], int]
"""Hands batches over and returns how many of their outcomes the receiver did not have. Raises one of RETRIED while the receiver
is away or full; any other error is the batches' own."""

RETRIED = (redis.RedisError, GraspServerError, OSError, sqlite3.OperationalError)


class DeliveryRefused(Exception):
    """The receiver will never take these outcomes, however often they are sent."""


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

    def put(self, outcomes: Sequence[EncodedOutcome]) -> None:
        """Keep a scene's outcomes on disk and wake the publisher."""
        self.outbox.put(outcomes)
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
        for together in _chunks(self.outbox.batches()):
            try:
                self._deliver(together)
            except RETRIED:
                raise
            except Exception:  # whatever is odd about one batch must not keep the others waiting
                for each in together:
                    self._deliver_or_set_aside(each)
            if self._stop_requested.is_set():
                break

    def _deliver(self, together: Sequence[tuple[Place, OutcomeBatch]]) -> None:
        fresh = self.deliver([batch for _, batch in together])
        self._receiver_answered()
        self.outbox.done([place for place, _ in together])
        self.trouble = ""
        self.delivered += fresh

    def _deliver_or_set_aside(self, each: tuple[Place, OutcomeBatch]) -> None:
        try:
            self._deliver([each])
        except RETRIED:
            raise
        except Exception as error:
            place, batch = each
            reason = f"{type(error).__name__}: {error}"
            where = batch.worker, batch.first, batch.last
            logger.error("outcomes of %s from number %d to %d go into quarantine: %s", *where, reason)
            self.outbox.quarantine(place, reason)

    def stop(self, seconds: float) -> int:
        """End the thread after at most one more try of `seconds`; returns how many outcomes stay on disk."""
        deadline = time.monotonic() + seconds
        while self.outbox.waiting() and not self._held_up() and time.monotonic() < deadline and self.is_alive():
            self._wake.set()
            time.sleep(0.02)
        self._stop_requested.set()
        self._wake.set()
        self.join(timeout=max(deadline - time.monotonic(), 0.1))
        return self.outbox.waiting()

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
            logger.info("outcomes are delivered again after %.1f s; %d waited on disk", seconds, self.outbox.waiting())


def _chunks(batches: Iterable[tuple[Place, OutcomeBatch]]) -> Iterator[list[tuple[Place, OutcomeBatch]]]:
    """What is handed over at a time."""
    chunk: list[tuple[Place, OutcomeBatch]] = []
    size = 0
    for each in batches:
        if chunk and (len(chunk) == MOST_TOGETHER or size + each[1].size_bytes > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(each)
        size += each[1].size_bytes
    if chunk:
        yield chunk
