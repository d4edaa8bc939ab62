"""A process of many workers: each with a connection, an outbox and a name of its own, as a worker has; no physics.

A process of one worker sends in a thread, as a worker does; the workers of one that has many take turns.
"""

from __future__ import annotations

import heapq
import sqlite3
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import redis

from benchmarks.scale.hosts import enter
from benchmarks.scale.labels import Scene, named
from grasp_client import GraspClient, GraspServerError
from grasp_client.contract import PlanRequest
from grasp_client.input_warnings import InputWarning
from grasp_client.observation import Observation
from shared.retrying import AWAY
from shared.streams import OutcomeSender, SceneRequestStream, WorkerStatusStore, connect
from sim_worker.worker.outbox import Outbox
from sim_worker.worker.publisher import OutboxPublisher
from sim_worker.worker.worker import REPORT_SECONDS, boot_name

CLAIM_SECONDS = 5.0
MOST_SCENES = 4
"""Of a worker that wait in its outbox: then it pauses, as one does whose outbox is full."""
DEPTH = np.full((120, 160), 0.7, np.float32)


@dataclass(frozen=True)
class FleetPlan:
    """workers of this process, and scenes that each runs per second. streams: of outcomes.

    server: its URL, if there is one. planned: share of the scenes for which it is asked. host: which it is, if not this one."""

    url: str
    outbox: Path
    workers: int
    scenes_per_second: float
    streams: int = 1
    server: str = ""
    planned: float = 0.0
    host: str = ""


@dataclass
class SimulatedWorker:
    plan: FleetPlan
    name: str
    episodes: int = 0
    reported: float = 0.0
    publisher: OutboxPublisher = field(init=False)

    def __post_init__(self) -> None:
        client = connect(self.plan.url)
        with suppress(*AWAY):
            client.client_setname(self.name)  # by which the benchmark counts who is there
        self.requests, self.board = SceneRequestStream(client), WorkerStatusStore(client)
        sender = OutcomeSender(client, self.plan.streams)
        self.publisher = OutboxPublisher(Outbox(self.plan.outbox, self.name), sender.publish)

    def run(self, scene: Scene, server: GraspClient | None) -> None:
        """One scene, as a worker runs it. Raises what the queue raises while it is away; the outbox keeps what is not sent."""
        taken = self.requests.take(self.name, block_ms=1)
        if server is not None:
            with suppress(GraspServerError):
                server.plan(Observation(depth=DEPTH), PlanRequest(planner="antipodal"))
        self.episodes += 1
        self.publisher.put(named(scene, self.name, self.episodes))
        if self.publisher.is_alive():
            while self.publisher.outbox.waiting() > MOST_SCENES * len(scene):
                time.sleep(0.02)
        else:
            self.publisher.deliver_waiting()
        if taken:
            self.requests.done(taken[0])
        if time.monotonic() - self.reported > REPORT_SECONDS:
            self.reported = time.monotonic()
            self.board.report(self.name, {"attempts": self.episodes * len(scene), "state": "working"})


def run_fleet(plan: FleetPlan, scenes: list[Scene], end: Any, number: int, spent: Any) -> None:
    """Connects workers, waits until `end` (a shared float, on the wall clock) is told, runs until then, one scene at least, and
    sends what is left in the outboxes. spent: a shared float to which the seconds of CPU are added that this took."""
    warnings.simplefilter("ignore", InputWarning)  # an empty table is what is shown
    if plan.host:
        enter(plan.host)
    rng = np.random.default_rng(number)
    workers = [SimulatedWorker(plan, boot_name(f"w{number}-{each}")) for each in range(plan.workers)]
    if plan.workers == 1:
        workers[0].publisher.start()
    servers = [GraspClient(plan.server, deadline=20) if plan.server else None for _ in workers]
    while not (until := end.value):
        time.sleep(0.1)
    now, began = time.monotonic(), time.process_time()
    due = [(now + rng.exponential(1 / plan.scenes_per_second), each) for each in range(plan.workers)]
    heapq.heapify(due)
    claimed = now
    while due:
        at, each = heapq.heappop(due)
        time.sleep(max(0.0, min(at - time.monotonic(), until - time.time())))
        with suppress(*AWAY, redis.RedisError, sqlite3.OperationalError):
            asks = servers[each] if rng.random() < plan.planned else None
            workers[each].run(scenes[int(rng.integers(len(scenes)))], asks)
        if time.time() >= until:
            break
        heapq.heappush(due, (max(at, time.monotonic() - 1) + rng.exponential(1 / plan.scenes_per_second), each))
        if time.monotonic() - claimed > CLAIM_SECONDS:
            claimed = time.monotonic()
            workers[0].publisher.outbox.claim_orphans()
    workers[0].publisher.outbox.claim_orphans()
    while left := [worker for worker in workers if worker.publisher.outbox.waiting()]:
        if left[0].publisher.is_alive():
            time.sleep(0.01)
            continue
        with suppress(*AWAY):
            left[0].publisher.deliver_waiting()
    with spent.get_lock():
        spent.value += time.process_time() - began
    for worker in workers:
        if worker.publisher.is_alive():
            worker.publisher.stop(CLAIM_SECONDS)
        worker.publisher.outbox.close()
