"""`POST /predict_grasp`: one observation in, ranked grasps out."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from grasp_client.contract import GraspPlan, PlanRequest
from inference_server.admission import Admitted
from inference_server.decoding.observations import VIEW_PARTS, decode_item
from inference_server.errors import documented

router = APIRouter(tags=["plan"])

ERRORS = documented(400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504)
_OPTIONS = {"$ref": "#/components/schemas/PlanRequest"}
_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE = {"camera": {"fx": 525.0, "fy": 525.0, "cx": 319.5, "cy": 239.5}, "n_grasps": 5}

DEADLINE_HEADER: dict[str, Any] = {
    "name": "X-Deadline-Ms", "in": "header", "required": False,
    "description": "milliseconds that you will wait; past it the request is dropped with 504",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 600_000},
}  # fmt: skip
REQUEST_ID_HEADER: dict[str, Any] = {
    "name": "X-Request-ID", "in": "header", "required": False, "description": "your id of the request, returned and logged",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"},
}  # fmt: skip


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _json(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _OPTIONS, "example": _EXAMPLE}}}


OPENAPI: dict[str, Any] = {
    "parameters": [
        {"name": "request", "in": "query", "required": False, **_json("options, for a bare image body")},
        {"name": "X-Request", "in": "header", "required": False, **_json("options, for application/octet-stream")},
        _header("X-Shape", "height,width, for application/octet-stream", {"type": "string", "example": "480,640"}),
        _header("X-Dtype", "little-endian, for application/octet-stream", {"type": "string", "enum": ["uint16", "float32"]}),
        DEADLINE_HEADER,
        REQUEST_ID_HEADER,
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "at least one of depth and rgb; depth_0, depth_1, ... in place of depth, with the option "
                    "`views`; or points, and scene_points around them, in place of images",
                    "properties": {
                        **dict.fromkeys(("depth", "rgb", "segmask", "goal", "points", "scene_points", *VIEW_PARTS), _BINARY),
                        "request": _OPTIONS,
                    },
                    "additionalProperties": False,
                },
                "encoding": {
                    "depth": {"contentType": "image/png, application/x-npy"},
                    "rgb": {"contentType": "image/png, image/jpeg, application/x-npy"},
                    "segmask": {"contentType": "image/png, application/x-npy"},
                    "goal": {"contentType": "image/png, application/x-npy"},
                    **{name: {"contentType": "image/png, application/x-npy"} for name in VIEW_PARTS},
                    "points": {"contentType": "application/x-npy"},
                    "scene_points": {"contentType": "application/x-npy"},
                    "request": {"contentType": "application/json"},
                },
            },
            "image/png": {"schema": _BINARY},
            "image/jpeg": {"schema": _BINARY},
            "application/x-npy": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
        },
    },
}


@router.post("/predict_grasp", response_model=GraspPlan, responses=ERRORS, openapi_extra=OPENAPI)
async def predict_grasp(request: Admitted) -> Response:
    """Plan grasps for one depth and/or colour image, or for a cloud of points.

    No valid grasp is an answer: 200, an empty list, and `rejections` says why.

    Three ways to send the same thing:

    1. a form:
       `curl -F depth=@depth.png -F 'request={"camera": {"fx": 525, "fy": 525, "cx": 319.5, "cy": 239.5}}' URL/predict_grasp`
    2. a bare image, the options in the query:
       `curl --data-binary @depth.npy -H 'Content-Type: application/x-npy' 'URL/predict_grasp?request=%7B%22n_grasps%22%3A5%7D'`
    3. raw little-endian depth, the fastest:
       `curl --data-binary @depth.bin -H 'Content-Type: application/octet-stream' -H 'X-Shape: 480,640' -H 'X-Dtype: uint16'
       -H 'X-Request: {"n_grasps": 5}' URL/predict_grasp`
    """
    plan = await request.received.service.planning.plan(request, await decode_item(request, PlanRequest))
    return Response(plan.model_dump_json(), media_type="application/json")


SCHEMAS = (PlanRequest,)
"""Models that are named in `openapi_extra` only."""
