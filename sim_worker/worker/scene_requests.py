"""Where a worker's scenes come from: the trainer's scene requests, or its own when no trainer asks."""

import logging
import time
import zlib
from collections import deque
from collections.abc import Callable

import numpy as np
import redis

from grasp_client.contract import SceneRequest
from shared.retrying import LONGEST_PAUSE
from shared.settings import WorkerSettings
from shared.streams import SceneRequestStream, WorkerStatusStore
from shared.streams.scene_mix import SceneMix

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0
"""How long a worker waits for a first scene request before it makes its own."""
TRAINER_GONE_SECONDS = 30.0
"""A worker that has had some, or word from a trainer that asks, waits this long for more before it makes its own."""
LOOK_SECONDS = 2.0
TAKE_OVER_SECONDS = 120.0
"""What its worker has not finished for this long is taken over."""
REVISIT_SHARE = 0.1


class LocalSceneRequests:
    """Scenes that a worker makes itself: seeded by settings and worker name, a share of them ones that failed before."""

    def __init__(self, settings: WorkerSettings, worker: str) -> None:
        self.settings = settings
        self.worker = worker
        self.made = 0
        self.failed: deque[SceneRequest] = deque(maxlen=200)
        self._mix = SceneMix(settings.scene_kind, settings.profile, settings.vary)
        self._rng = np.random.default_rng([settings.seed, zlib.crc32(worker.encode())])

    def make(self) -> SceneRequest:
        self.made += 1
        name = f"{self.worker}-own-{self.made}"
        if self.failed and self._rng.random() < REVISIT_SHARE:
            again = self.failed[int(self._rng.integers(len(self.failed)))]
            self.failed.remove(again)
            # The nonce proves another request of the trainer's: under this name it would prove a forgery.
            return again.model_copy(update={"id": name, "nonce": ""})
        return SceneRequest(
            id=name,
            seed=int(self._rng.integers(2**31)),
            object_set=self.settings.object_set,
            planner=self.settings.planner,
            exploration=self.settings.exploration,
            **self._mix.draw(self._rng),
        )

    def learn(self, request: SceneRequest, success: bool) -> None:
        """Remember scenes that failed, to come back to a share of them."""
        if not success and request.purpose == "collect":
            self.failed.append(request)


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
        """A scene request and its key in the stream (None for an own one); None: ask again, a trainer may answer soon."""
        now = self.clock()
        if self.stream is not None and now >= self._retry_from:
            try:
                taken = self._take(self.stream, block_ms if now < self._own_from else 1)
                asked = taken is not None or self._trainer_asks()
            except redis.RedisError as error:
                self._retry_from = self.clock() + LONGEST_PAUSE
                self._own_from = min(self._own_from, self.clock())
                logger.warning("cannot take scene requests (%s: %s): making scenes of its own", type(error).__name__, error)
            else:
                if asked:
                    self._own_from = self.clock() + TRAINER_GONE_SECONDS
                if taken is not None:
                    if not self.asked_by_trainer:
                        logger.info("taking the trainer's scene requests")
                    self.asked_by_trainer = True
                    return taken
                if self.clock() < self._own_from:
                    return None
                if self.asked_by_trainer or not self.own.made:
                    logger.info("nobody asks for scenes: making scenes of its own until a trainer does")
                self.asked_by_trainer = False
        return None, self.own.make()

    def done(self, key: str | None) -> None:
        """The outcomes of a scene request are safe. When the queue is away it comes again later, which costs only work."""
        if key is None or self.stream is None:
            return
        try:
            self.stream.done(key)
        except redis.RedisError as error:
            logger.warning("could not hand scene request %s back (%s): it will be run again", key, error)

    def _trainer_asks(self) -> bool:
        """Whether a trainer said lately that it asks for scenes; looks every LOOK_SECONDS."""
        if self.trainers is None or self.clock() < self._look_from:
            return False
        self._look_from = self.clock() + LOOK_SECONDS
        return any(row["asks"] for row in self.trainers.read(max_age_seconds=TRAINER_GONE_SECONDS).values())

    def _take(self, stream: SceneRequestStream, block_ms: int) -> tuple[str, SceneRequest] | None:
        if self.clock() >= self._claim_from:
            self._claim_from = self.clock() + TAKE_OVER_SECONDS / 4
            if claimed := stream.claim(self.consumer, int(TAKE_OVER_SECONDS * 1000)):
                logger.info("taking over a scene request that another worker left", extra={"request": claimed[1].id})
                return claimed
        return stream.take(self.consumer, block_ms)
