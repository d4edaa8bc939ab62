"""`POST /outcomes`: a robot or worker without access to the queue reports what happened to a grasp."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from grasp_client.contract import GraspMeta, Outcome, OutcomeAccepted, OutcomeReport
from grasp_client.imaging import ImageLimits, check_observation
from grasp_client.observation import Observation
from inference_server.admission import service_of
from inference_server.decoding.multipart import parts_of
from inference_server.decoding.observations import MULTIPART, observation_of
from inference_server.errors import ServerError, documented, invalid_fields
from inference_server.outcomes import outcome_of
from inference_server.security.auth import Client
from inference_server.service import Service

router = APIRouter(tags=["outcomes"])

_REPORT = {"$ref": "#/components/schemas/OutcomeReport"}
_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE = {"request_id": "6f1c", "rank": 0, "success": False, "failure": "slipped", "source": "arm-3"}
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
    responses=documented(400, 401, 403, 404, 408, 413, 415, 422, 503),
    openapi_extra=_OPENAPI,
)
async def report_outcome(request: Request, client: Client) -> Response:
    """Report one executed grasp; 202 once it is in the outcome queue, 503 (keep it, send it again) while that is away.

    After a plan, its `request_id` is enough:
    `curl -H 'Content-Type: application/json' -d '{"request_id": "...", "success": true}' URL/outcomes`.
    Without one, or for a plan long ago, send `id`, `grasp`, `planner` and `camera`,
    and the images as parts of a form beside `outcome`.
    """
    service = service_of(request)
    body = await service.bodies.read(request, client)
    outcome = await service.in_decoder(_read, body, request.headers, service)
    await asyncio.to_thread(service.outcomes.publish, outcome)
    meta = outcome.meta
    version = str(meta.model.version) if meta.model else ""
    planner = meta.planner if meta.planner in service.planners else "other"
    service.metrics.outcomes.labels(planner, version, str(meta.success).lower()).inc()
    return Response(OutcomeAccepted(id=outcome.id).model_dump_json(), 202, media_type="application/json")


def _read(body: bytes, headers: Mapping[str, str], service: Service) -> Outcome[GraspMeta]:
    report, observation = _report_of(body, headers.get("content-type", ""), service.limits)
    recent = service.planning.recent.find(report.request_id) if report.request_id else None
    return outcome_of(report, observation, recent)


def _report_of(body: bytes, content_type: str, limits: ImageLimits) -> tuple[OutcomeReport, Observation | None]:
    media_type = content_type.split(";")[0].strip().lower()
    observation = None
    if media_type == MULTIPART:
        parts = parts_of(body, content_type)
        if "outcome" not in parts:
            raise ServerError(422, "invalid_field", "the form has no part `outcome` (JSON)")
        body = parts.pop("outcome").data
        if parts:
            observation = observation_of(parts, 0.001, limits)
            check_observation(observation)
    elif media_type != "application/json":
        raise ServerError(415, "unsupported_media_type", "send application/json, or multipart/form-data with a part `outcome`")
    try:
        return OutcomeReport.model_validate_json(body or b"{}"), observation
    except ValidationError as error:
        raise invalid_fields("outcome", error, OutcomeReport) from None
