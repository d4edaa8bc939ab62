"""`POST /predict_grasp/batch`: many observations in one form, replies in order."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from grasp_client.contract import ErrorReply, GraspPlan, PlanRequest
from grasp_client.imaging import ImageLimits, check_observation
from inference_server.admission import AdmittedRequest, Received
from inference_server.decoding.multipart import Part, parts_of
from inference_server.decoding.observations import CLOUD_PARTS, IMAGE_PARTS, MULTIPART, decode, observation_of, parse_options
from inference_server.errors import ServerError, as_server_error, documented, error_body
from inference_server.routes.predict import DEADLINE_HEADER, REQUEST_ID_HEADER
from planning.base import PlanItem

router = APIRouter(tags=["plan"])

MOST = 256
"""Observations in one request, where the queue is not shorter."""
_NAME = re.compile(r"(depth|rgb|segmask|goal|points|scene_points|request)_(\d{1,4})")
_OPTIONS = {"$ref": "#/components/schemas/PlanRequest"}
_BINARY = {"type": "string", "format": "binary"}

Parts = dict[str, Part]


class BatchReply(BaseModel):
    """One reply for each observation, in order: a plan, or the error of that observation alone."""

    replies: list[GraspPlan | ErrorReply]


_OPENAPI: dict[str, Any] = {
    "parameters": [DEADLINE_HEADER, REQUEST_ID_HEADER],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "depth_0, rgb_0, segmask_0, goal_0, request_0, depth_1, ... numbered from 0 without gaps; "
                    "`request` holds the options of every observation that has no request_N of its own",
                    "properties": {**{f"{name}_0": _BINARY for name in IMAGE_PARTS}, "request": _OPTIONS},
                }
            }
        },
    },
}


@router.post(
    "/predict_grasp/batch",
    response_model=BatchReply,
    responses=documented(400, 401, 403, 408, 413, 415, 422, 429, 503, 504),
    openapi_extra=_OPENAPI,
)
async def predict_batch(received: Received) -> Response:
    """Plan many observations; a bad one gets its error in its place and the others their grasps.

    `curl -F depth_0=@a.png -F depth_1=@b.png -F 'request={"camera": {"fx": 525, "fy": 525, "cx": 319.5, "cy": 239.5}}'
    URL/predict_grasp/batch`. Either the queue takes all of them, or the request gets 429.
    """
    service = received.service
    content_type = received.headers.get("content-type", "")
    groups, common = await service.decoders.run(received.client, received.deadline, _grouped, received.body, content_type)
    most = min(MOST, service.settings.queue_size)
    if len(groups) > most:
        raise ServerError(413, "too_many_observations", f"at most {most} observations are taken at once, got {len(groups)}")
    requests = [received.admit(number) for number in range(len(groups))]
    jobs = (_reply(request, parts, common) for request, parts in zip(requests, groups, strict=True))
    replies = await asyncio.gather(*jobs)
    return Response(BatchReply(replies=replies).model_dump_json(), media_type="application/json")


async def _reply(request: AdmittedRequest, parts: Parts, common: bytes | None) -> GraspPlan | ErrorReply:
    try:
        item = await decode(request, _item, parts, common)
        return await request.received.service.planning.plan(request, item)
    except Exception as error:
        return error_body(as_server_error(error))


def _item(parts: Parts, common: bytes | None, limits: ImageLimits) -> PlanItem:
    images = dict(parts)
    own = images.pop("request", None)
    options = parse_options(own.data if own else common, PlanRequest)
    observation = observation_of(images, options.depth_scale, limits, clouds=True)
    check_observation(observation, options.region, options.point)
    return observation, options


def _grouped(body: bytes, content_type: str) -> tuple[list[Parts], bytes | None]:
    """Parts of each observation under their plain names, and the common options."""
    if content_type.split(";")[0].strip().lower() != MULTIPART:
        raise ServerError(415, "unsupported_media_type", f"send {MULTIPART} with parts depth_0, depth_1, ...")
    parts = parts_of(body, content_type)
    common = parts.pop("request", None)
    groups: dict[int, Parts] = {}
    for name, part in parts.items():
        found = _NAME.fullmatch(name)
        if not found:
            expected = ", ".join(f"{kind}_N" for kind in (*IMAGE_PARTS, *CLOUD_PARTS, "request"))
            raise ServerError(422, "unknown_part", f"unknown part {name[:40]!r}; expected request, {expected}, N from 0")
        groups.setdefault(int(found[2]), {})[found[1]] = part
    return _in_order(groups), common.data if common else None


def _in_order(groups: Mapping[int, Parts]) -> list[Parts]:
    missing = next((number for number in range(len(groups)) if number not in groups), None)
    if missing is not None or not groups:
        raise ServerError(422, "missing_observation", f"no part depth_{missing or 0} or rgb_{missing or 0}: count from 0")
    return [groups[number] for number in range(len(groups))]
