"""`python -m sim_worker`: one worker process.

It waits for the server, takes scene requests (or makes its own scenes when no trainer asks), and sends outcomes to the queue,
or to the server's `/outcomes` when no queue is given. SIGTERM and Ctrl-C end it after the attempt that runs.
"""

import logging
import os
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker is one core of physics; more threads only get in its way

import redis
from pydantic_settings import SettingsConfigDict

from grasp_client import GraspClient, GraspServerError
from grasp_client.contract import OutcomeReport
from grasp_client.errors import InvalidRequest
from grasp_client.input_warnings import InputWarning
from grasp_client.observation import Observation
from shared import logs
from shared.outcome_codec import EncodedOutcome, decode_outcome, depth_metres
from shared.retrying import retrying, stop_on_signals
from shared.settings import WorkerSettings
from shared.streams import TRAINERS, OutcomeSender, SceneRequestStream, WorkerStatusStore, connect, redacted
from shared.streams.outcome_batches import OutcomeBatch
from sim_worker.command_line import settings_of
from sim_worker.worker.outbox import Outbox, no_room
from sim_worker.worker.publisher import Deliver, DeliveryRefused, OutboxPublisher
from sim_worker.worker.scene_requests import LocalSceneRequests, SceneRequestSource
from sim_worker.worker.worker import Worker, boot_name

logger = logging.getLogger("sim_worker")

WAIT_LOG_SECONDS = 10.0
PLAN_SECONDS = 5.0
"""Longest wait for one plan before it is asked for again; also about the longest that stopping takes."""


class WorkerCommand(WorkerSettings):
    """Simulated robot: takes scene requests, asks the server for grasps, executes them in PyBullet, sends the outcomes."""

    model_config = SettingsConfigDict(cli_prog_name="python -m sim_worker")


def wait_for_server(client: GraspClient, stop: threading.Event) -> bool:
    """True when the server is ready, False when stopped before. Says at once and every ten seconds what it waits for."""
    started = time.monotonic()
    said = float("-inf")

    def tell(error: BaseException, pause: float) -> None:
        nonlocal said
        if time.monotonic() - said >= WAIT_LOG_SECONDS:
            said = time.monotonic()
            logger.info("waiting for the server at %s: %s", client.url, error)

    try:
        retrying(GraspServerError, stop, tell)(client.wait_until_ready, timeout=1.0)
    except GraspServerError:
        return False
    logger.info("the server at %s is ready", client.url, extra={"seconds": round(time.monotonic() - started, 1)})
    return True


def open_outbox(settings: WorkerSettings, name: str, board: WorkerStatusStore | None, stop: threading.Event) -> Outbox:
    """The outbox, as soon as the disk has room for it. Raises OSError or sqlite3.Error when stopped before."""

    def tell(error: BaseException, pause: float) -> None:
        logger.warning("disk full: no room for an outbox in %s (%s): trying again", settings.outbox_dir, error)
        if board is not None:
            with suppress(redis.RedisError):
                board.report(name, {"state": "starting", "trouble": f"disk full: {settings.outbox_dir}"})

    return retrying(no_room, stop, tell)(Outbox, settings.outbox_dir, name, settings.outbox_limit_mb * 1e6)


def to_server(client: GraspClient) -> Deliver:
    """Delivery by `POST /outcomes`, for workers without a queue; the server drops repeated ids.

    A scene is sent with the nonce of the trainer who asked for it only; without, its attempts are a group as any robot's.
    """

    def report(batch: OutcomeBatch, encoded: EncodedOutcome) -> None:
        outcome = decode_outcome(encoded)
        fields = OutcomeReport.model_fields.keys() - {"id", "source"}
        said = outcome.meta.model_dump(mode="json", include=fields) | {"robot": batch.worker}
        if outcome.meta.scene is None or not outcome.meta.scene.nonce:
            said |= {"scene": None, "group": outcome.id.rpartition(":")[0]}
        depth = depth_metres(outcome) if "depth" in outcome.images else None
        client.report_outcome(observation=Observation(depth=depth, rgb=outcome.images.get("rgb")), id=outcome.id, **said)

    def deliver(batches: Sequence[OutcomeBatch]) -> int:
        refused, sent = [], 0
        for batch in batches:
            for outcome in batch.outcomes():
                try:
                    report(batch, outcome)
                    sent += 1
                except InvalidRequest as error:
                    refused.append(f"{outcome.id}: {error}")
        if refused:
            raise DeliveryRefused("; ".join(refused))
        return sent

    return deliver


def main() -> int:
    settings = settings_of(WorkerCommand)
    logs.setup("sim_worker", settings.log_level, settings.log_format)
    warnings.simplefilter("ignore", InputWarning)  # bins and odd cameras are what it is asked to show
    stop = threading.Event()
    stop_on_signals(stop)
    name = boot_name(settings.worker_id)
    where = {"server": settings.server_url, "queue": redacted(settings.redis_url or "none")}
    logger.info("worker %s starts", name, extra=where)
    api_key = settings.api_key.get_secret_value() if settings.api_key else None
    client = GraspClient(settings.server_url, api_key=api_key, deadline=PLAN_SECONDS)
    queue = connect(settings.redis_url) if settings.redis_url else None
    board = WorkerStatusStore(queue) if queue else None
    requests = SceneRequestSource(
        SceneRequestStream(queue) if queue else None,
        name,
        LocalSceneRequests(settings, name),
        WorkerStatusStore(queue, TRAINERS) if queue else None,
    )
    try:
        outbox = open_outbox(settings, name, board, stop)
    except (OSError, sqlite3.Error) as error:
        logger.error("stopped before there was an outbox: %s", error)
        return 2
    publisher = OutboxPublisher(
        outbox, OutcomeSender(queue, settings.outcome_streams, settings.queue_replicas).publish if queue else to_server(client)
    )
    if not wait_for_server(client, stop):
        outbox.close()
        return 0
    try:
        worker = Worker(settings, name, client, requests, publisher, board, stop)
    except (OSError, ValueError) as error:
        logger.error("cannot use the gripper of %s: %s", settings.gripper, error)
        outbox.close()
        return 2
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
