"""The worker: takes scene tickets, asks the server for grasps, executes them, and sends what happened.

One thread runs the physics of all worlds, each world's task up to where it needs a plan; requests are in flight meanwhile in
a thread pool, and the publisher delivers outcomes from disk in a thread of its own.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import redis

from grasp_client.contract import GraspPlan, Gripper, SceneRequest
from grasp_client.errors import GraspServerError, InvalidRequest, NotAllowed
from grasp_client.observation import GraspPlanner
from shared.outcome_codec import encode_outcome
from shared.settings import WorkerSettings
from shared.streams import WorkerStatusStore
from sim_worker.outcome_records import outcome_of
from sim_worker.planner_request import DroppedInput, ExtraInput, PlanningRequest
from sim_worker.tasks.attempts import Attempt, NoPlan, Task, run_scene_request
from sim_worker.worker.counters import Counters
from sim_worker.worker.publisher import OutboxPublisher
from sim_worker.worker.scene_requests import SceneRequestSource
from sim_worker.world import SceneError, SceneSpec, World

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
LOG_SECONDS = 30.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
DRAIN_SECONDS = 5.0


def boot_name(worker_id: str) -> str:
    """A name that no earlier or later process of this worker has: outcome ids made of it are never used twice."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", worker_id) or "worker"
    return f"{plain}-{int(time.time() * 1000):x}{secrets.token_hex(4)}"


@dataclass
class WorldSlot:
    """One world and what goes on in it."""

    world: World
    key: str | None = None
    ticket: SceneRequest | None = None
    task: Task | None = None
    plan: Future[GraspPlan] | None = None
    episode: int = 0


class Worker:
    """Everything but the process round it. Ends when `stop` is set, or after `settings.attempts` attempts."""

    def __init__(
        self,
        settings: WorkerSettings,
        name: str,
        planner: GraspPlanner,
        tickets: SceneRequestSource,
        publisher: OutboxPublisher,
        board: WorkerStatusStore | None,
        stop: threading.Event,
    ) -> None:
        self.settings = settings
        self.name = name
        self.planner = planner
        self.tickets = tickets
        self.publisher = publisher
        self.board = board
        self.stop = stop
        self.gripper = Gripper.model_validate_json(settings.gripper.read_bytes()) if settings.gripper else Gripper()
        self.extras: list[ExtraInput] = ["rgb"] if settings.rgb else []
        self.withheld: list[DroppedInput] = []
        if not settings.depth:
            if not settings.rgb:
                raise ValueError("without depth the planner needs colour: set rgb as well")
            self.extras, self.withheld = ["rgb", "table_depth"], ["depth"]
        self.tally = Counters()
        self.state = "starting"
        self._episodes = 0
        self._pool = ThreadPoolExecutor(settings.worlds, thread_name_prefix="plan")
        self._reported_at = self._logged_at = time.monotonic()

    def run(self) -> None:
        """Work until stopped. The attempt that runs when `stop` is set is finished and kept; a ticket that is not done then
        stays with the queue, which gives it to another worker."""
        self.publisher.start()
        lanes = [WorldSlot(World()) for _ in range(self.settings.worlds)]
        try:
            while not self._finished():
                if not self.publisher.is_alive():
                    raise RuntimeError(
                        "the thread that sends outcomes has died; what it left is in the outbox, see the log above"
                    )
                for lane in lanes:
                    if lane.task is None and not self._finished():
                        self._begin(lane, waiting=any(other.task for other in lanes))
                self._follow(lanes)
                self._report()
        finally:
            self.stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self.state = "stopped"
            left = self.publisher.stop(DRAIN_SECONDS)
            self._report(now=True)
            self.publisher.outbox.close()
            logger.info("stopped", extra={**self.tally.status(), "spooled": left})

    def _finished(self) -> bool:
        return self.stop.is_set() or 0 < self.settings.attempts <= self.tally.attempts

    def _begin(self, lane: WorldSlot, waiting: bool) -> None:
        """Give an idle world its next scene, unless the outbox is full or there is no ticket yet."""
        if self.publisher.outbox.full():
            self._pause()
            return
        self.state = "working"
        taken = self.tickets.next(block_ms=1 if waiting else 500)
        if taken is None:
            self.state = "waiting for tickets"
            if not waiting:
                self.stop.wait(0.05)
            return
        lane.key, lane.ticket = taken
        self._episodes += 1
        lane.episode = self._episodes
        try:
            scene = lane.world.build(
                SceneSpec(
                    seed=lane.ticket.seed,
                    kind=lane.ticket.kind,
                    object_set=lane.ticket.object_set,
                    profile=lane.ticket.profile,
                    objects_dir=self.settings.objects_dir,
                )
            )
        except (SceneError, ValueError) as error:
            self.tally.broken_scenes += 1
            logger.warning("scene could not be built: %s", error, extra={"ticket": lane.ticket.id, "seed": lane.ticket.seed})
            self._end(lane)
            return
        self.tally.scenes += 1
        lane.task = run_scene_request(scene, lane.ticket, self.gripper, self.extras, self.withheld)
        self._advance(lane)

    def _follow(self, lanes: list[WorldSlot]) -> None:
        """Wait for a plan and carry its world's task on."""
        pending = {lane.plan: lane for lane in lanes if lane.plan is not None}
        if not pending:
            return
        done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            if self.stop.is_set():
                return
            lane = pending[future]
            lane.plan = None
            try:
                plan = future.result()
            except GraspServerError as error:
                self._refused(lane, error)
                continue
            self._advance(lane, plan)

    def _advance(self, lane: WorldSlot, plan: GraspPlan | None = None) -> None:
        """Run a world's task until it needs a plan or ends; keep what it reports."""
        assert lane.task is not None
        assert lane.ticket is not None
        try:
            event = next(lane.task) if plan is None else lane.task.send(plan)
            while not isinstance(event, PlanningRequest):
                self._keep(lane, event)
                last = isinstance(event, NoPlan) or event.number + 1 == lane.ticket.attempts
                if self._finished() and not last:
                    lane.task = None  # stopping in the middle: the ticket stays with the queue
                    return
                event = next(lane.task)
            lane.plan = self._pool.submit(self._ask, event)
        except StopIteration:
            self._end(lane)
        except SceneError as error:
            self.tally.broken_scenes += 1
            logger.warning("scene broke: %s", error, extra={"ticket": lane.ticket.id, "seed": lane.ticket.seed})
            self._end(lane)

    def _keep(self, lane: WorldSlot, event: Attempt | NoPlan) -> None:
        assert lane.ticket is not None
        self.tally.count(event)
        if isinstance(event, NoPlan):
            reasons = dict(event.plan.rejections)
            logger.info("no grasp was planned", extra={"ticket": lane.ticket.id, "seed": lane.ticket.seed, "reasons": reasons})
            self.tickets.own.learn(lane.ticket, False)
            return
        outcome_id = f"{self.name}:{lane.episode}:{event.number}"
        self.publisher.put(encode_outcome(outcome_of(event, lane.ticket, outcome_id, self.name)))
        self.tickets.own.learn(lane.ticket, event.result.success)
        logger.debug("attempt", extra={"outcome": outcome_id, "success": event.result.success, "failure": event.result.failure})

    def _end(self, lane: WorldSlot) -> None:
        self.tickets.done(lane.key)
        lane.key = lane.ticket = lane.task = lane.plan = None

    def _refused(self, lane: WorldSlot, error: GraspServerError) -> None:
        """The server will not plan for this ticket (unknown planner or version, say): another try would end the same."""
        self.tally.refused_tickets += 1
        logger.error(
            "the server refuses the ticket: %s", error, extra={"ticket": lane.ticket and lane.ticket.id, "code": error.code}
        )
        self._end(lane)
        self.stop.wait(FIRST_WAIT)

    def _ask(self, call: PlanningRequest) -> GraspPlan:
        """A plan, waiting as long as the server is away. Raises GraspServerError when it refuses, or when stopped."""
        pause, away_since = FIRST_WAIT, None
        while True:
            try:
                plan = self.planner.plan(call.observation, call.request)
            except (InvalidRequest, NotAllowed):
                raise
            except GraspServerError as error:
                if away_since is None:
                    away_since = time.monotonic()
                    logger.warning("the server does not plan (%s): waiting for it", error)
                if self.stop.wait(pause):
                    raise
                pause = min(pause * 2, LONGEST_WAIT)
                continue
            if away_since is not None:
                logger.info("the server plans again after %.1f s", time.monotonic() - away_since)
            return plan

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
        status = {
            **self.tally.status(),
            "state": self.state,
            "sent": self.publisher.delivered,
            "spooled": len(self.publisher.outbox.waiting()),
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
