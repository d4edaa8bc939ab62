"""`POST /outcomes`: a robot or worker without access to the queue reports what happened to a grasp."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from grasp_client.contract import GraspMeta, Outcome, OutcomeAccepted, OutcomeReport
from grasp_client.imaging import ImageLimits, check_observation
from grasp_client.observation import Observation
from inference_server.admission import BODY_SECONDS, service_of
from inference_server.decoding.multipart import parts_of
from inference_server.decoding.observations import MULTIPART, observation_of, parse_options
from inference_server.errors import ServerError, documented
from inference_server.outcomes.report import check_scene, id_of, outcome_of
from inference_server.security.auth import ASKER, Asker
from inference_server.service import Service

router = APIRouter(tags=["outcomes"])

_REPORT = {"$ref": "#/components/schemas/OutcomeReport"}
_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE = {"request_id": "6f1c", "rank": 0, "success": False, "failure": "slipped", "robot": "arm-3"}
_OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _REPORT, "example": _EXAMPLE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["outcome"],
                    "properties": {"outcome": _REPORT, "depth": _BINARY, "rgb": _BINARY},
                    "additionalProperties": False,
                },
                "encoding": {"outcome": {"contentType": "application/json"}},
            },
        },
    },
}
SCHEMAS = (OutcomeReport,)


@router.post(
    "/outcomes",
    status_code=202,
    response_model=OutcomeAccepted,
    responses=documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503, 504),
    openapi_extra=_OPENAPI,
)
async def report_outcome(request: Request) -> Response:
    """Report one executed grasp; 202 once it is in the outcome queue, 503 (keep it, send it again) while that is away.

    After a plan, its `request_id` is enough:
    `curl -H 'Content-Type: application/json' -d '{"request_id": "...", "success": true}' URL/outcomes`.
    Without one, or for a plan long ago, send `id`, `grasp`, `planner` and `camera`,
    and the images as parts of a form beside `outcome`.

    What is taken can be learned from; else it is refused with 422 `not_learnable`, which says why. The same report again is
    taken as before; one with the same id that says something else is refused with 409 `outcome_conflict`.
    """
    service, asker = service_of(request), request.scope[ASKER]
    content_type = request.headers.get("content-type", "")
    deadline = time.monotonic() + BODY_SECONDS
    body = await request.app.state.bodies.read(request, asker.client)
    details = body, content_type, asker, service
    taken = await service.decoders.decode(asker.client, deadline, _read, *details)
    if taken.outcome is not None:
        await asyncio.to_thread(service.outcomes.publish, taken.outcome)
        service.accepted.remember(taken.id, taken.report, taken.plan)
        _count(taken.outcome.meta, service)
    return Response(OutcomeAccepted(id=taken.id).model_dump_json(), 202, media_type="application/json")


@dataclass(frozen=True)
class _Taken:
    """A report and its outcome, None when it was taken before. plan: of which the server knows that the grasp is from it."""

    id: str
    report: OutcomeReport
    outcome: Outcome[GraspMeta] | None = None
    plan: str | None = None


def _read(body: bytes, content_type: str, asker: Asker, service: Service, limits: ImageLimits) -> _Taken:
    caller, owner = asker.caller, asker.owner
    report, sent = _report_of(body, content_type, limits)
    check_scene(report, caller)
    outcome_id = id_of(report, caller)
    if service.accepted.repeats(outcome_id, report):
        return _Taken(outcome_id, report)
    recent = service.planning.recent.find(owner, report.request_id) if report.request_id else None
    plan = f"{owner} {report.request_id}" if recent else None
    if plan is not None:
        service.accepted.check_first_of(plan, report.rank, outcome_id)
    return _Taken(outcome_id, report, outcome_of(report, outcome_id, caller, sent, recent), plan)


def _report_of(body: bytes, content_type: str, limits: ImageLimits) -> tuple[OutcomeReport, Observation | None]:
    media_type = content_type.split(";")[0].strip().lower()
    sent = None
    if media_type == MULTIPART:
        parts = parts_of(body, content_type)
        if "outcome" not in parts:
            raise ServerError(422, "invalid_field", "the form has no part `outcome` (JSON)")
        body = parts.pop("outcome").data
        if parts:
            sent = observation_of(parts, 0.001, limits)
            check_observation(sent)
    elif media_type != "application/json":
        raise ServerError(415, "unsupported_media_type", "send application/json, or multipart/form-data with a part `outcome`")
    return parse_options(body, OutcomeReport, "outcome"), sent


def _count(meta: GraspMeta, service: Service) -> None:
    # Labels that are known here: whatever somebody may make up would be a series each.
    planner = meta.planner if meta.planner in service.planners else "other"
    version = str(meta.model.version) if meta.served and meta.model else ""
    reporter = "simulation" if meta.scene else "robot"
    service.metrics.outcomes.labels(planner, version, str(meta.success).lower(), reporter).inc()
