"""`POST /gqcnn`: grasp quality of depth crops, or of grasps on a depth image."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from fastapi import APIRouter
from starlette.responses import Response

from grasp_client.contract import ModelRef
from grasp_client.imaging import ImageLimits, check_observation
from inference_server.admission import Admitted
from inference_server.decoding.multipart import parts_of
from inference_server.decoding.observations import MULTIPART, decode, parse_options, read_with_options
from inference_server.errors import ServerError
from inference_server.planner_service import timings
from inference_server.quality import (
    Crops,
    OnImage,
    QualityReply,
    QualityRequest,
    crops_of,
    read_floats,
    score_crops,
    score_on_image,
)
from inference_server.routes.predict import DEADLINE_HEADER, ERRORS, REQUEST_ID_HEADER
from inference_server.service import Service
from planning.base import LoadedNetwork
from shared.registry import UnknownModel

router = APIRouter(tags=["plan"])
SCHEMAS = (QualityRequest,)

OPTIONS_BYTES = 2**18
"""Most options of a request: 1,000 grasps with all their digits are 130 KB."""
_OPTIONS = {"$ref": "#/components/schemas/QualityRequest"}
_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE = {"grasps": [{"center_px": [320.0, 240.0], "angle": 0.3, "depth": 0.68}]}
_OPENAPI: dict[str, Any] = {
    "parameters": [
        {
            "name": "request", "in": "query", "required": False, "description": "options, for a bare body of crops",
            "content": {"application/json": {"schema": _OPTIONS}},
        },
        DEADLINE_HEADER,
        REQUEST_ID_HEADER,
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/x-npy": {"schema": {**_BINARY, "description": "crops (N, 32, 32[, 1]) float32 metres"}},
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "properties": {"crops": _BINARY, "gripper_depth": _BINARY, "depth": _BINARY, "request": _OPTIONS},
                },
                "encoding": {"request": {"contentType": "application/json"}},
                "example": {"request": _EXAMPLE},
            },
        },
    },
}  # fmt: skip

Item = Crops | OnImage


@router.post("/gqcnn", response_model=QualityReply, responses=ERRORS, openapi_extra=_OPENAPI)
async def gqcnn(request: Admitted) -> Response:
    """Probability of success by a network of the GQ-CNN family.

    Either of crops as the Dex-Net datasets hold them:
    `curl --data-binary @crops.npy -H 'Content-Type: application/x-npy' URL/gqcnn` (a form with parts `crops` and
    `gripper_depth` for networks that take the gripper's depth too); or of grasps on an image:
    `curl -F depth=@depth.png -F 'request={"grasps": [{"center_px": [320, 240], "angle": 0.3, "depth": 0.68}]}' URL/gqcnn`.
    """
    received, service = request.received, request.received.service
    item, options = await decode(request, _read, received.body, received.headers, received.query)
    pinned = await asyncio.to_thread(_network, service, options)
    group = ("quality", options.model, pinned.version)
    run = partial(_score, pinned)
    answer = await request.slot.submit(group, run, item, request.deadline, service.settings.max_batch, item.forecast)
    scored = answer.result
    model = ModelRef(name=pinned.name, version=pinned.version)
    reply = QualityReply(quality=scored.quality, model=model, timings_ms=timings(request, answer, scored.timings_ms))
    return Response(reply.model_dump_json(), media_type="application/json")


def _score(network: LoadedNetwork, items: Sequence[Item]) -> list[QualityReply]:
    replies = []
    for item in items:
        started = time.perf_counter()
        with torch.inference_mode():
            quality = score_crops(item, network) if isinstance(item, Crops) else score_on_image(item, network)
        timings = {"plan": (time.perf_counter() - started) * 1e3}
        model = ModelRef(name=network.name, version=network.version)
        replies.append(QualityReply(quality=quality.tolist(), model=model, timings_ms=timings))
    return replies


def _network(service: Service, options: QualityRequest) -> LoadedNetwork:
    """The version asked for, or the champion. Blocks while it loads. Raises RegistryError."""
    serving = service.weights.get(options.model)
    if options.model_version is None and serving is not None:
        return serving
    version = options.model_version or service.registry.champion(options.model)
    if version is None:
        raise UnknownModel(
            f"no model {options.model!r} with a champion; there are {', '.join(service.registry.names()) or 'none'}"
        )
    return service.weights.pin(options.model, version)


def _read(
    body: bytes, headers: Mapping[str, str], query: Mapping[str, str], limits: ImageLimits
) -> tuple[Item, QualityRequest]:
    content_type = headers.get("content-type", "")
    media_type = content_type.split(";")[0].strip().lower()
    if media_type == MULTIPART:
        parts = parts_of(body, content_type)
        if "crops" in parts:
            own = parts.get("request")
            depth = parts.get("gripper_depth")
            options = parse_options(own.data if own else None, QualityRequest, most_bytes=OPTIONS_BYTES)
            depths = read_floats(depth.data, "gripper_depth") if depth else None
            return crops_of(read_floats(parts["crops"].data, "crops"), depths), _without_grasps(options)
    if media_type == "application/x-npy" and body:
        options = parse_options(query.get("request"), QualityRequest)
        if options.grasps is None:
            return crops_of(read_floats(body, "crops"), None), options
    observation, options = read_with_options(body, headers, query, QualityRequest, limits, OPTIONS_BYTES)
    if not options.grasps:
        raise ServerError(422, "invalid_field", "request.grasps: with an image, expected the grasps to score (or send `crops`)")
    check_observation(observation)
    if observation.depth is None:
        raise ServerError(422, "missing_image", "grasps are scored on a depth image; send the part `depth`")
    return OnImage(observation, options.grasps, options.camera), options


def _without_grasps(options: QualityRequest) -> QualityRequest:
    if options.grasps is not None:
        raise ServerError(422, "invalid_field", "request.grasps belongs to an image; with crops, leave it out")
    return options
