"""Where a worker's scenes come from: the trainer's tickets, or its own when no trainer asks."""

from __future__ import annotations

import logging
import time
import zlib
from collections import deque
from collections.abc import Callable

import numpy as np
import redis

from grasp_client.contract import SceneRequest
from shared.settings import WorkerSettings
from shared.streams import SceneRequestStream, WorkerStatusStore

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0
"""How long a worker waits for a first ticket before it makes its own."""
TRAINER_GONE_SECONDS = 30.0
"""A worker that has had tickets, or word from a trainer that asks, waits this long for more before it makes its own."""
LOOK_SECONDS = 2.0
TAKE_OVER_SECONDS = 120.0
"""A ticket that its worker has not finished for this long is taken over."""
RETRY_SECONDS = 5.0
KIND_SHARES = {"single": 0.4, "pile": 0.45, "packed": 0.15}
REVISIT_SHARE = 0.1


class LocalSceneRequests:
    """Scenes that a worker makes itself: seeded by settings and worker name, a share of them ones that failed before."""

    def __init__(self, settings: WorkerSettings, worker: str) -> None:
        self.settings = settings
        self.worker = worker
        self.made = 0
        self.failed: deque[SceneRequest] = deque(maxlen=200)
        self._rng = np.random.default_rng([settings.seed, zlib.crc32(worker.encode())])

    def make(self) -> SceneRequest:
        self.made += 1
        name = f"{self.worker}-own-{self.made}"
        if self.failed and self._rng.random() < REVISIT_SHARE:
            again = self.failed[int(self._rng.integers(len(self.failed)))]
            self.failed.remove(again)
            return again.model_copy(update={"id": name})
        kind: str = self.settings.scene_kind
        if kind == "mixed":
            kind = str(self._rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
        return SceneRequest(
            id=name,
            seed=int(self._rng.integers(2**31)),
            kind=kind,
            object_set=self.settings.object_set,
            profile=self.settings.profile,
            planner=self.settings.planner,
            exploration=self.settings.exploration,
        )

    def learn(self, ticket: SceneRequest, success: bool) -> None:
        """Remember scenes that failed, to come back to a share of them."""
        if not success and ticket.purpose == "collect":
            self.failed.append(ticket)


class SceneRequestSource:
    """The next scene to run. Without a queue, or while nobody asks, the worker's own.

    trainers: where trainers say that they are there. One that asks for scenes and has none now is behind with learning: its
    workers wait.
    """

    def __init__(
        self,
        stream: SceneRequestStream | None,
        consumer: str,
        own: LocalSceneRequests,
        trainers: WorkerStatusStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream
        self.trainers = trainers
        self.consumer = consumer
        self.own = own
        self.clock = clock
        self.asked_by_trainer = False
        self._own_from = clock() + PATIENCE_SECONDS
        self._retry_from = self._claim_from = self._look_from = float("-inf")

    def next(self, block_ms: int) -> tuple[str | None, SceneRequest] | None:
        """A ticket and its key in the stream (None for an own one); None: ask again, a trainer may be about to answer."""
        if self.stream is None:
            return None, self.own.make()
        taken = self._take(block_ms if self.clock() < self._own_from else 1)
        if taken:
            if not self.asked_by_trainer:
                logger.info("taking the trainer's tickets")
            self.asked_by_trainer = True
            self._own_from = self.clock() + TRAINER_GONE_SECONDS
            return taken
        self._look_for_trainers()
        if self.clock() < self._own_from:
            return None
        if self.asked_by_trainer or not self.own.made:
            logger.info("no tickets are waiting: making scenes of its own until a trainer asks")
        self.asked_by_trainer = False
        return None, self.own.make()

    def done(self, key: str | None) -> None:
        """The ticket's outcomes are safe. When the queue is away the ticket comes again later, which costs only work."""
        if key is None or self.stream is None:
            return
        try:
            self.stream.done(key)
        except redis.RedisError as error:
            logger.warning("could not hand ticket %s back (%s): it will be run again", key, error)

    def _look_for_trainers(self) -> None:
        now = self.clock()
        if self.trainers is None or now < max(self._look_from, self._retry_from):
            return
        self._look_from = now + LOOK_SECONDS
        try:
            asks = any(line.get("asks") for line in self.trainers.read(max_age_seconds=TRAINER_GONE_SECONDS).values())
        except redis.RedisError as error:
            self._away(error)
            return
        if asks:
            self._own_from = now + TRAINER_GONE_SECONDS

    def _away(self, error: redis.RedisError) -> None:
        self._retry_from = self.clock() + RETRY_SECONDS
        self._own_from = min(self._own_from, self.clock())
        logger.warning("cannot take tickets (%s: %s): making scenes of its own", type(error).__name__, error)

    def _take(self, block_ms: int) -> tuple[str, SceneRequest] | None:
        now = self.clock()
        if self.stream is None or now < self._retry_from:
            return None
        try:
            if now >= self._claim_from:
                self._claim_from = now + TAKE_OVER_SECONDS / 4
                if claimed := self.stream.claim(self.consumer, int(TAKE_OVER_SECONDS * 1000)):
                    logger.info("taking over a ticket that another worker left", extra={"ticket": claimed[1].id})
                    return claimed
            return self.stream.take(self.consumer, block_ms)
        except redis.RedisError as error:
            self._away(error)
            return None
