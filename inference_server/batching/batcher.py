"""The one road to the networks: a bounded queue and the inference thread that owns them.

The thread takes what is waiting as one batch (no artificial delay), drops what nobody waits for any more, runs it and resolves
all futures at once. Weights are swapped by functions that run between batches, in the same thread.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from inference_server.batching.fair_queue import DEARER, Entry, FairQueue, QueueFull
from inference_server.batching.latency_estimator import CAUTION, LatencyEstimator
from inference_server.batching.refusals import draining, expired, full, late, too_expensive
from inference_server.errors import ServerError
from inference_server.metrics import Metrics
from planning.batched_inference import between_passes

logger = logging.getLogger(__name__)

STUCK_SECONDS = 60.0
"""A batch that runs longer makes the server not ready."""

Run = Callable[[list[Any]], list[Any]]


@dataclass(eq=False)
class Job(Entry):
    """One request on its way: `run(payloads)` answers all jobs of its group in one go."""

    payload: Any
    run: Run
    deadline: float
    future: asyncio.Future[Any]
    queued: float
    slot: QueueSlot
    places: int = 0
    """That its client held when it began to wait."""
    forecast: float = 0.0
    """Seconds, as its planner says; `cost` is what they are here."""
    timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True)
class Answer:
    """A job's result; when it began to wait and when its batch began (the batcher's clock), and seconds that the batch took."""

    result: Any
    queued: float
    started: float
    seconds: float


@dataclass
class QueueSlot:
    """A reserved place in the queue: `submit` uses it, once; `release` gives up whatever is left of it.

    open: it takes a place, or a job in it has not been answered yet.
    """

    batcher: Batcher
    client: str
    open: bool = True
    job: Job | None = None

    def submit(
        self, group: Hashable, run: Run, payload: Any, deadline: float, most: int, forecast: float
    ) -> asyncio.Future[Answer]:
        """Have `run` answer the payload in the inference thread, alone or with others of its group (at most `most`).

        `deadline` is an instant of the batcher's clock; `forecast`: seconds that it should take. Raises ServerError 422 when
        that is more than anybody is given. The future raises 504 past the deadline, 503 when the server shuts down, and
        whatever `run` raised for this payload.
        """
        loop, now, estimator = asyncio.get_running_loop(), self.batcher.clock(), self.batcher.estimator
        cost = forecast * estimator.forecast_ratios.get(group, 1.0)
        if cost > self.batcher.most_seconds or cost > CAUTION * (deadline - now) > 0:
            raise too_expensive(cost, self.batcher.most_seconds, deadline - now)
        most = min(most, estimator.batch_limits.get(group, most))
        job = self.job = Job(self.client, group, most, payload, run, deadline, loop.create_future(), now, self, cost=cost)
        job.forecast = forecast
        job.places = self.batcher.queue.put(job)
        job.timer = loop.call_at(loop.time() + max(0.0, deadline - now), _expire, job)
        return job.future

    def release(self) -> None:
        """Give the place back, or the job up: the inference thread must not work for nobody."""
        if self.job is not None:
            self.job.future.cancel()
            self.settled(answered=False)
        elif self.open:
            self.open = False
            self.batcher.queue.release(self.client)

    def settled(self, answered: bool) -> None:
        """Note in the event loop that the job has come to an end; only the first end counts."""
        job, self.job = self.job, None  # else each would keep the other, and the images, until garbage is collected
        if job is None:
            return
        self.open = False
        if job.timer is not None:
            job.timer.cancel()
        if job.places > job.most:  # else it was the next batch that it waited for, not its line
            self.batcher.estimator.note_wait(self.client, job.places, self.batcher.clock() - job.queued, answered)
        if not answered and self.batcher.queue.withdraw(job):
            self.batcher.count_expired()


class Batcher:
    """Bounded, fair, and run by one thread. `start` before use; `close` drains.

    clock: tells the time of deadlines, seconds. most_seconds: that a job may be forecast to take.
    """

    def __init__(
        self,
        queue_size: int,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        most_seconds: float = math.inf,
    ):
        self.most_seconds = most_seconds
        self.queue: FairQueue[Job] = FairQueue(queue_size)
        self.estimator = LatencyEstimator()
        self.clock = clock
        self._metrics = metrics
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self.closing = False
        self._stopped = False
        self._busy_since: float | None = None
        self._running: list[Job] = []
        self._overtaken = 0.0
        """Seconds that others took in the midst of the batch that runs."""
        metrics.queue_depth.set_function(lambda: len(self.queue))

    def start(self) -> None:
        self._thread.start()

    def check_room(self, client: str, deadline: float, overtakes: bool = False) -> None:
        """Raises ServerError 503 or 429 when `reserve` would now."""
        if self.closing:
            raise draining()
        if self.queue.taken >= self.queue.size and not self.queue.has_room(client):
            raise self.full()
        if self.queue.taken and not overtakes:
            self._check_wait(client, deadline)

    def reserve(self, client: str, deadline: float, overtakes: bool = False) -> QueueSlot:
        """Reserve a place in the queue, before any work is done for the request.

        overtakes: so cheap that its line comes next, however many wait in others.
        Raises ServerError 429 when the queue is full or the answer would be late, 503 when the server shuts down.
        """
        if self.closing:
            raise draining()
        if self.queue.taken and not overtakes:
            self._check_wait(client, deadline)  # again: many bodies may have arrived since `check_room`
        try:
            evicted = self.queue.reserve(client)
        except QueueFull:
            raise self.full() from None
        if evicted is not None:
            _fail(evicted, self.full())
        return QueueSlot(self, client)

    def _check_wait(self, client: str, deadline: float) -> None:
        left = deadline - self.clock()
        if left > 0 and not self.estimator.surely_within(client, self.queue.taken, left):
            ahead = self.queue.ahead(client)
            wait = self.estimator.wait(client, ahead, self.queue.places(client))
            if CAUTION * wait > left:
                raise late(ahead, wait, left)

    def full(self) -> ServerError:
        """429 with an honest guess of when there will be room."""
        return full(self.queue.size, len(self.queue) * self.estimator.seconds_per_job)

    def count_expired(self, jobs: int = 1) -> None:
        self._metrics.expired.inc(jobs)

    def between_batches(self, function: Callable[[], Any]) -> Future[Any]:
        """Run a function in the inference thread before its next batch."""
        future: Future[Any] = Future()

        def call() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.queue.call(call)
        return future

    def alive(self) -> bool:
        """Whether the inference thread runs and is not stuck in a batch."""
        since = self._busy_since
        return self._thread.is_alive() and (since is None or self.clock() - since < STUCK_SECONDS)

    def close(self, seconds: float) -> None:
        """Refuse new work, finish what is accepted within `seconds`, fail the rest, end the thread."""
        self.closing = True
        until = time.monotonic() + seconds
        while time.monotonic() < until and (len(self.queue) or self._busy_since is not None):
            time.sleep(0.01)
        for job in self.queue.clear():
            _resolve([(job, draining())])
        self._stopped = True
        self.queue.call(lambda: None)
        if self._thread.is_alive():
            self._thread.join(timeout=max(5.0, until - time.monotonic()))  # a batch taken just now is finished too

    def _work(self) -> None:
        between_passes.set(self._give_way)
        while not self._stopped:
            calls, jobs = self.queue.take()
            self._busy_since = self.clock()
            for call in calls:
                call()
            live = self._live(jobs)
            if live:
                _resolve(self._answer(live))
            del calls, jobs, live  # while it waits for more it must not keep the images of these
            self._busy_since = None

    def _live(self, jobs: list[Job]) -> list[Job]:
        now = self.clock()
        late = [job for job in jobs if job.future.done() or job.deadline <= now]
        self.count_expired(len(late))
        _resolve([(job, expired()) for job in late])
        return [job for job in jobs if job not in late]

    def _give_way(self) -> None:
        """Between two steps of a batch: give it up when nobody waits for it any more, else let much quicker jobs go first.

        Raises _Abandoned.
        """
        if not self._running:
            return
        if all(job.future.done() for job in self._running):
            raise _Abandoned
        if self.queue.lines:
            cost = sum(job.cost for job in self._running)
            quick = self._live(self.queue.take_below(cost / DEARER))
            if quick:
                started = self.clock()
                _resolve(self._answer(quick))
                self._overtaken += self.clock() - started

    def _answer(self, jobs: list[Job]) -> list[tuple[Job, Any]]:
        started = self.clock()
        self._metrics.batch_size.observe(len(jobs))
        outer = self._running, self._overtaken
        self._running, self._overtaken = jobs, 0.0
        try:
            results = run_all(jobs[0].run, [job.payload for job in jobs])
        except _Abandoned:
            self.count_expired(len(jobs))
            return []
        finally:
            took = self.clock() - started - self._overtaken
            self._running, self._overtaken = outer
            self._charge(jobs, took / len(jobs))
        self._metrics.seconds.labels("batch").observe(took)
        answers = []
        for job, result in zip(jobs, results, strict=True):
            self._metrics.seconds.labels("queue").observe(started - job.queued)
            answers.append((job, result if isinstance(result, Exception) else Answer(result, job.queued, started, took)))
        return answers

    def _charge(self, jobs: list[Job], seconds: float) -> None:
        """Learn what the jobs took, each so many seconds, and have their clients pay for it."""
        forecast = sum(job.forecast for job in jobs) / len(jobs)
        self.estimator.note_batch(jobs[0].group, seconds, len(jobs) >= jobs[0].most, forecast)
        for job in jobs if self.queue.lines else ():  # else nobody is before anybody
            self.queue.charge(job.client, seconds - job.cost)


class _Abandoned(BaseException):
    """Nobody waits for a batch any more. No Exception, so that nobody takes it for a fault of a payload."""


def run_all(run: Run, payloads: list[Any]) -> list[Any]:
    """Results of `run`, with an exception in the place of each payload that caused one.

    A batch that fails is run again one by one, so that one bad observation does not fail its neighbours.
    """
    try:
        results = run(payloads)
        if len(results) != len(payloads):
            raise RuntimeError(f"{len(payloads)} observations went into a batch, {len(results)} answers came out")
        return results
    except Exception as error:
        if len(payloads) == 1:
            return [error]
        return [run_all(run, [payload])[0] for payload in payloads]


def _expire(job: Job) -> None:
    _fail(job, expired())


def _fail(job: Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)
    job.slot.settled(answered=False)


def _settle(answers: list[tuple[Job, Any]]) -> None:
    for job, answer in answers:
        if isinstance(answer, Exception):
            _fail(job, answer)
        else:
            if not job.future.done():
                job.future.set_result(answer)
            job.slot.settled(answered=True)


def _resolve(answers: list[tuple[Job, Any]]) -> None:
    """Settle futures in their event loop, all with one wake-up; a loop that is gone has nobody waiting."""
    if answers:
        with suppress(RuntimeError):
            answers[0][0].future.get_loop().call_soon_threadsafe(_settle, answers)
