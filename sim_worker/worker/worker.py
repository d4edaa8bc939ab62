"""The worker: takes scene requests, asks the server for grasps, executes them, and sends what happened.

One thread runs the physics of all worlds, each world's task up to where it needs a plan; requests are in flight meanwhile in
a thread pool, and the publisher delivers outcomes from disk in a thread of its own.
"""

import gc
import logging
import re
import secrets
import sqlite3
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import redis

from grasp_client.contract import ActionRequest, SceneRequest
from grasp_client.errors import GraspServerError, InvalidRequest, NotAllowed
from grasp_client.observation import GraspPlanner
from shared.outcome_codec import EncodedOutcome
from shared.retrying import FIRST_PAUSE, retrying
from shared.settings import WorkerSettings
from shared.streams import WorkerStatusStore
from shared.streams.worker_status import STOPPED
from sim_worker.planner_request import PlanningRequest
from sim_worker.tasks.attempts import Attempt, NoPlan
from sim_worker.tasks.goal_planner import ActionPlanner
from sim_worker.tasks.goal_request import GoalStep
from sim_worker.worker.counters import Counters
from sim_worker.worker.publisher import OutboxPublisher
from sim_worker.worker.refusals import Refusals
from sim_worker.worker.scene_requests import SceneRequestSource
from sim_worker.worker.scene_tasks import AnyTask, Plan, SceneTasks, is_last
from sim_worker.world import SceneError, World

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
LOG_SECONDS = 30.0
DRAIN_SECONDS = 5.0
MOST_KEPT = 64
"""Outcomes of a scene that are put into the outbox together."""


def boot_name(worker_id: str) -> str:
    """A name that no earlier or later process of this worker has: outcome ids made of it are never used twice."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", worker_id) or "worker"
    return f"{plain}-{int(time.time() * 1000):x}{secrets.token_hex(4)}"


def server_is_away(error: BaseException) -> bool:
    """Whether the same request may be answered later."""
    return isinstance(error, GraspServerError) and not isinstance(error, InvalidRequest | NotAllowed)


@dataclass
class WorldSlot:
    """One world and what goes on in it. key: the scene request's in the stream. episode: counts a worker's scenes. kept: the
    scene's outcomes that are not in the outbox yet."""

    world: World
    key: str | None = None
    request: SceneRequest | None = None
    task: AnyTask | None = None
    plan: Future[Plan] | None = None
    episode: int = 0
    kept: list[EncodedOutcome] = field(default_factory=list)


class Worker:
    """Everything but the process round it. Ends when `stop` is set, or after `settings.attempts` attempts."""

    def __init__(
        self,
        settings: WorkerSettings,
        name: str,
        planner: GraspPlanner,
        requests: SceneRequestSource,
        publisher: OutboxPublisher,
        board: WorkerStatusStore | None,
        stop: threading.Event,
    ) -> None:
        self.settings, self.name, self.stop = settings, name, stop
        self.planner, self.requests, self.publisher, self.board = planner, requests, publisher, board
        self.tasks = SceneTasks(settings)
        self.tally, self.refusals = Counters(), Refusals()
        self.state = "starting"
        self._episodes = 0
        self._pool = ThreadPoolExecutor(settings.worlds, thread_name_prefix="plan")
        self._reported_at = self._logged_at = time.monotonic()

    def run(self) -> None:
        """Work until stopped. The attempt that runs when `stop` is set is finished and kept; a scene request that is not done
        then stays with the queue, which gives it to another worker. So does one of a process that is killed, with all attempts:
        those of a scene are put into the outbox together."""
        self.publisher.start()
        slots = [WorldSlot(World()) for _ in range(self.settings.worlds)]
        gc.freeze()  # what is loaded stays: to look through it again and again takes a twentieth of the time
        try:
            while not self._finished():
                if not self.publisher.is_alive():
                    raise RuntimeError(
                        "the thread that sends outcomes has died; what it left is in the outbox, see the log above"
                    )
                for slot in slots:
                    if slot.task is None and not self._finished():
                        self._begin(slot, waiting=any(other.task for other in slots))
                self._follow(slots)
                self._report()
        finally:
            self.stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self.state = STOPPED
            for slot in slots:
                self._store(slot)
            left = self.publisher.stop(DRAIN_SECONDS)
            self._report(now=True)
            self.publisher.outbox.close()
            gc.unfreeze()
            logger.info("stopped", extra={**self.tally.status(), "spooled": left})

    def _finished(self) -> bool:
        return self.stop.is_set() or 0 < self.settings.attempts <= self.tally.attempts

    def _begin(self, slot: WorldSlot, waiting: bool) -> None:
        """Give an idle world its next scene, unless the outbox is full or nothing is asked for yet."""
        if self.publisher.outbox.full():
            self._pause()
            return
        self.state = "working"
        taken = self.requests.next(block_ms=1 if waiting else 500)
        if taken is None:
            self.state = "waiting for scene requests"
            if not waiting:
                self.stop.wait(0.05)
            return
        slot.key, slot.request = taken
        self._episodes += 1
        slot.episode = self._episodes
        slot.task = self.tasks.run(slot.world, slot.request, self.tally)
        self._advance(slot)

    def _follow(self, slots: list[WorldSlot]) -> None:
        """Wait for a plan and carry its world's task on."""
        pending = {slot.plan: slot for slot in slots if slot.plan is not None}
        if not pending:
            return
        done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            if self.stop.is_set():
                return
            slot = pending[future]
            slot.plan = None
            try:
                plan = future.result()
            except Exception as error:  # of whatever a server or a planner may answer
                self._give_up(slot, error)
            else:
                if slot.request is not None:
                    self.refusals.answered(slot.request.planner)
                self._advance(slot, plan)

    def _advance(self, slot: WorldSlot, plan: Plan | None = None) -> None:
        """Run a world's task until it needs a plan or ends; keep what it reports."""
        assert slot.task is not None
        assert slot.request is not None
        try:
            event = next(slot.task) if plan is None else slot.task.send(plan)
            while not isinstance(event, PlanningRequest):
                self._keep(slot, event)
                last = isinstance(event, NoPlan) or is_last(event, slot.request)
                if self._finished() and not last:
                    slot.task = None  # stopping in the middle: the scene request stays with the queue
                    self._store(slot)
                    return
                event = next(slot.task)
            slot.plan = self._pool.submit(self._ask, event)
            return
        except StopIteration:
            pass
        except Exception as error:  # whatever is odd about one scene ends that scene alone
            if self.stop.is_set():
                slot.task = None
            else:
                self._give_up(slot, error)
            return
        self._end(slot)

    def _keep(self, slot: WorldSlot, event: Attempt | NoPlan | GoalStep) -> None:
        assert slot.request is not None
        if isinstance(event, NoPlan):
            self.tally.count(event)
            reasons = dict(event.plan.rejections)
            where = {"request": slot.request.id, "seed": slot.request.seed}
            logger.info("no grasp was planned", extra={**where, "reasons": reasons})
            self.requests.own.learn(slot.request, False)
            return
        outcome_id = f"{self.name}:{slot.episode}:{event.number}"
        slot.kept.append(self.tasks.outcome(event, slot.request, outcome_id, self.name))
        if len(slot.kept) == MOST_KEPT:
            self._store(slot)
        self.tally.count(event)
        result = event.motion if isinstance(event, GoalStep) else event.result
        self.requests.own.learn(slot.request, result.success)
        logger.debug("attempt", extra={"outcome": outcome_id, "success": result.success, "failure": result.failure})

    def _store(self, slot: WorldSlot) -> bool:
        """Put a scene's outcomes into the outbox, waiting for room on the disk; False when stopped before there was any."""

        def tell(error: BaseException, pause: float) -> None:
            self.publisher.held_up(error, pause)
            self._report()

        if slot.kept:
            try:
                retrying((OSError, sqlite3.OperationalError), self.stop, tell)(self.publisher.put, slot.kept)
            except (OSError, sqlite3.OperationalError):
                return False
            slot.kept = []
            self.publisher.trouble = ""
        return True

    def _end(self, slot: WorldSlot) -> None:
        """Done with a scene, unless its outcomes could not be kept: then its request stays with the queue."""
        if self._store(slot):
            self.requests.done(slot.key)
        slot.key = slot.request = slot.task = slot.plan = None

    def _give_up(self, slot: WorldSlot, error: Exception) -> None:
        """Another try of this scene request would end the same: the server refuses it, or its scene is none."""
        assert slot.request is not None
        refused, foreseen = isinstance(error, GraspServerError), isinstance(error, GraspServerError | SceneError | ValueError)
        self.tally.refused_requests += refused
        self.tally.broken_scenes += not refused
        asked = slot.request.model_dump(mode="json", include={"id", "seed", "planner"})
        what = "the server refuses the scene request" if refused else "the scene broke"
        logger.warning("%s: %s", what, error, extra={"request": asked}, exc_info=None if foreseen else error)
        pause = self.refusals.note(asked["planner"], str(error)) if refused else 0.0 if foreseen else FIRST_PAUSE
        self._end(slot)
        self._report(now=bool(self.refusals.now()))
        self.stop.wait(pause)

    def _ask(self, call: PlanningRequest) -> Plan:
        """A plan, waiting as long as the server is away. Raises GraspServerError when it refuses, or when stopped."""
        told: list[float] = []

        def tell(error: BaseException, pause: float) -> None:
            if not told:
                logger.warning("the server does not plan (%s): waiting for it", error)
            told.append(time.monotonic())

        plan = retrying(server_is_away, self.stop, tell)(self._answer, call)
        if told:
            logger.info("the server plans again after %.1f s", time.monotonic() - told[0])
        return plan

    def _answer(self, call: PlanningRequest) -> Plan:
        if not isinstance(call.request, ActionRequest):
            return self.planner.plan(call.observation, call.request)
        if not isinstance(self.planner, ActionPlanner):
            raise SceneError("the worker's planner plans grasps alone: scenes with a goal need a server")
        return self.planner.plan_action(call.observation, call.request)

    def _pause(self) -> None:
        if self.state != "outbox full":
            outbox = self.publisher.outbox
            logger.warning("paused: %.0f MB of outcomes wait in %s for the queue", outbox.size_bytes() / 1e6, outbox.root)
        self.state = "outbox full"
        self.stop.wait(0.5)

    def _report(self, now: bool = False) -> None:
        """Tell the board once a second and the log twice a minute how it goes."""
        clock = time.monotonic()
        if not now and clock - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = clock
        refused = self.refusals.now()
        status = {
            **self.tally.status(),
            "state": self.state,
            "trouble": self.publisher.trouble or "; ".join(f"{who} is refused: {why}" for who, why in refused.items()),
            "refused": refused,
            "sent": self.publisher.delivered,
            "spooled": self.publisher.outbox.waiting(),
        }
        if clock - self._logged_at >= LOG_SECONDS:
            self._logged_at = clock
            logger.info("working", extra=status)
        if self.board is None or (self.publisher.away_since is not None and not now):
            return
        try:
            self.board.report(self.name, status)
        except redis.RedisError as error:
            logger.debug("could not report to the board: %s", error)
