"""Outcomes over HTTP, for robots without access to the queue; and the recent plans that they may refer to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import redis
from pydantic import ValidationError

from grasp_client.contract import (
    GraspMeta,
    GraspPlan,
    Outcome,
    OutcomeReport,
    PlanRequest,
)
from grasp_client.observation import Observation
from inference_server.errors import ServerError, invalid_fields
from shared.outcome_codec import build_outcome, encode_outcome
from shared.streams import OutcomeStream, connect

RECENT_BYTES = 128 * 2**20
"""Memory for recent plans: about 100 of 640 x 480, whose images are most of it."""
PLAN_BYTES, GRASP_BYTES = 6000, 5000
"""What a plan and its request take, and each grasp more (measured, rounded up)."""
RETRY_AFTER = 5


@dataclass(frozen=True)
class RecentPlan:
    """A plan with what it was made of."""

    observation: Observation
    request: PlanRequest
    plan: GraspPlan

    @property
    def size(self) -> int:
        images = (self.observation.depth, self.observation.rgb, self.observation.segmask)
        pixels = sum(image.nbytes for image in images if image is not None)
        return pixels + PLAN_BYTES + GRASP_BYTES * len(self.plan.grasps)


class RecentPlans:
    """The last plans by request id, within a budget of memory."""

    def __init__(self, most_bytes: int = RECENT_BYTES):
        self._plans: OrderedDict[str, RecentPlan] = OrderedDict()
        self._bytes, self._most = 0, most_bytes
        self._lock = threading.Lock()

    def remember(self, plan: GraspPlan, observation: Observation, request: PlanRequest) -> None:
        recent = RecentPlan(observation, request, plan.model_copy(update={"heatmap_png": None}))
        with self._lock:
            self._forget(plan.request_id)
            self._plans[plan.request_id] = recent
            self._bytes += recent.size
            while self._bytes > self._most:
                self._forget(next(iter(self._plans)))

    def find(self, request_id: str) -> RecentPlan | None:
        with self._lock:
            return self._plans.get(request_id)

    def _forget(self, request_id: str) -> None:
        old = self._plans.pop(request_id, None)
        self._bytes -= old.size if old else 0


def outcome_of(report: OutcomeReport, observation: Observation | None, recent: RecentPlan | None) -> Outcome[GraspMeta]:
    """The outcome of a report, completed from the recent plan. Raises ServerError 404 or 422 for what is missing."""
    said = {name: value for name, value in report if value is not None and name != "id"}
    fields = {**(_remembered(report, recent) if recent else {}), **said}
    missing = [name for name in ("grasp", "planner") if name not in fields]
    if missing:
        raise _incomplete(report, missing)
    seen = observation or (recent.observation if recent else Observation())
    try:
        return build_outcome(GraspMeta, _id_of(report), seen.depth, seen.rgb, fields)
    except ValidationError as error:
        raise invalid_fields("outcome", error, GraspMeta) from None


def _remembered(report: OutcomeReport, recent: RecentPlan) -> dict[str, Any]:
    plan, request = recent.plan, recent.request
    fields: dict[str, Any] = {"camera": request.camera, "camera_pose": request.camera_pose, "gripper": request.gripper}
    fields |= {"planner": plan.planner, "model": plan.model}
    if report.grasp is None:
        if report.rank >= len(plan.grasps):
            raise ServerError(
                422, "invalid_field", f"rank {report.rank}: that plan has {len(plan.grasps)} grasps, counted from 0"
            )
        grasp = plan.grasps[report.rank]
        fields |= {"grasp": grasp, "quality": grasp.quality}
    return {name: value for name, value in fields.items() if value is not None}


def _incomplete(report: OutcomeReport, missing: list[str]) -> ServerError:
    needed = " and ".join(f"`{name}`" for name in missing)
    if report.request_id:
        return ServerError(
            404,
            "plan_expired",
            f"the plan {report.request_id[:80]!r} is not (or no longer) known here: send {needed}, camera and images too",
        )
    return ServerError(422, "invalid_field", f"outcome: {needed} missing; send them, or the `request_id` of a recent plan")


def _id_of(report: OutcomeReport) -> str:
    if report.id:
        return report.id
    if not report.request_id:
        raise ServerError(
            422, "invalid_field", "outcome.id: expected an id that stays the same on every retry (or a request_id)"
        )
    return f"{report.source or 'robot'}:{report.request_id}:{report.rank}"[:200]


class OutcomePublisher:
    """Puts outcomes into the queue and registry commands into their list; connects when first needed."""

    def __init__(self, redis_url: str | None):
        self._client = connect(redis_url) if redis_url else None
        self._stream = OutcomeStream(self._client) if self._client else None

    @property
    def configured(self) -> bool:
        return self._client is not None

    def publish(self, outcome: Outcome[GraspMeta]) -> None:
        """Blocks. Raises ServerError 503 while the queue is away or full, or when there is none."""
        if self._stream is None:
            raise ServerError(503, "no_queue", "this server has no outcome queue: set REDIS_URL", retry_after=RETRY_AFTER)
        try:
            self._stream.publish(encode_outcome(outcome))
        except (redis.RedisError, OSError) as error:
            raise _queue_unavailable(error) from error

    def command(self, name: str, payload: str) -> None:
        """Append to a list that another service reads. Blocks; raises as `publish`."""
        if self._client is None:
            raise ServerError(
                503, "no_queue", "this server has no queue to send the command through: set REDIS_URL", retry_after=RETRY_AFTER
            )
        try:
            self._client.rpush(name, payload)
        except (redis.RedisError, OSError) as error:
            raise _queue_unavailable(error) from error

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _queue_unavailable(error: Exception) -> ServerError:
    return ServerError(
        503,
        "queue_unavailable",
        f"the queue does not take it now ({type(error).__name__}); keep it and send it again",
        retry_after=RETRY_AFTER,
    )
