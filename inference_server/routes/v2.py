"""`/v2`: the Open Inference Protocol over the same batcher. A model is a planner; its inputs are images, its outputs grasps.

Tensors travel as JSON numbers or, with the header Inference-Header-Content-Length, as raw little-endian bytes after the JSON
(the binary tensor extension). The options of `/predict_grasp` go, as a JSON string, into `parameters.request`.
"""

import json
from importlib.metadata import version as package_version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from grasp_client.imaging import ImageLimits, check_observation
from inference_server.admission import Admitted, service_of
from inference_server.decoding import tensors
from inference_server.decoding.json_limits import JSON_BYTES, json_too_large
from inference_server.decoding.observations import decode
from inference_server.decoding.tensors import InferReply, InferRequest
from inference_server.errors import ServerError, documented
from inference_server.security.auth import require_predict
from planning.base import PlanItem, Planner

health = APIRouter(prefix="/v2", tags=["open inference protocol"])
router = APIRouter(prefix="/v2", tags=["open inference protocol"], dependencies=[Depends(require_predict)])

PlannerName = Annotated[str, Path(max_length=64, description="name of a planner")]
Version = Annotated[int, Path(ge=1, description="version of the planner's model")]


async def known_planner(request: Request, name: PlannerName) -> Planner:
    """The planner in the path. Raises ServerError 404."""
    planners = service_of(request).planners
    if name not in planners:
        names = ", ".join(sorted(planners))
        raise ServerError(404, "unknown_planner", f"no model {json.dumps(name)}; the models of /v2 are the planners: {names}")
    return planners[name]


KnownPlanner = Annotated[Planner, Depends(known_planner)]
_ERRORS = documented(400, 401, 403, 404, 408, 413, 422, 429, 503, 504)
_INFER: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}


@health.get("/health/live")
async def live() -> dict[str, bool]:
    """The process answers."""
    return {"live": True}


@health.get("/health/ready", responses=documented(503))
async def ready(request: Request) -> dict[str, bool]:
    """Models are loaded and warm."""
    if not service_of(request).ready():
        raise ServerError(503, "not_ready", "models are not loaded and warm yet", retry_after=1)
    return {"ready": True}


@router.get("")
async def server() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": "grasploop", "version": package_version("grasploop"), "extensions": ["binary_tensor_data"]}


@router.get("/models/{name}", responses=documented(401, 403, 404))
@router.get("/models/{name}/versions/{version}", responses=documented(401, 403, 404, 422))
async def metadata(request: Request, planner: KnownPlanner, version: Version | None = None) -> dict[str, Any]:
    """Inputs and outputs of a planner, and the versions of its model."""
    service = service_of(request)
    versions = service.registry.versions(planner.model_name) if planner.model_name else []
    _known(planner, versions, version)
    return {
        "name": planner.name,
        "versions": [str(each) for each in versions],
        "platform": "grasploop_planner",
        "inputs": [spec for spec in tensors.INPUTS if spec["name"] in planner.inputs or spec["name"] in ("segmask", "goal")],
        "outputs": list(tensors.OUTPUTS),
    }


@router.get("/models/{name}/ready", responses=documented(401, 403, 404, 503))
@router.get("/models/{name}/versions/{version}/ready", responses=documented(401, 403, 404, 422, 503))
async def model_ready(request: Request, planner: KnownPlanner, version: Version | None = None) -> dict[str, Any]:
    """Whether a planner can answer now (a version that is not the champion is loaded when it is first asked for)."""
    service = service_of(request)
    _known(planner, service.registry.versions(planner.model_name) if planner.model_name else [], version)
    if version is None and planner.name not in service.planning.available():
        raise ServerError(503, "no_model", f"planner {planner.name!r} has no model loaded yet", retry_after=1)
    return {"name": planner.name, "ready": True}


async def small_json(request: Request) -> None:
    """Raises ServerError 413 for a body that announces too much JSON, before it is read."""
    length = request.headers.get(tensors.LENGTH_HEADER, "")
    if length.isdigit() and len(length) < 12 and int(length) > JSON_BYTES:
        raise json_too_large(int(length), JSON_BYTES, "JSON with numbers")


_ROUTE: dict[str, Any] = {
    "response_model": InferReply, "responses": _ERRORS, "openapi_extra": _INFER, "dependencies": [Depends(small_json)]
}  # fmt: skip


@router.post("/models/{name}/infer", **_ROUTE)
@router.post("/models/{name}/versions/{version}/infer", **_ROUTE)
async def infer(planner: KnownPlanner, request: Admitted, version: Version | None = None) -> Response:
    """Plan for one observation.

    Inputs: `depth` (UINT16 or FP32, H x W) and/or `rgb` (UINT8, H x W x 3), `segmask` and `goal` (UINT8 or BOOL, H x W).
    Outputs: `quality` (N), `center_px` (N, 2), `angle` (N), `width` (N), and with a camera `pose_camera` (N, 4, 4).
    """
    received = request.received
    header = received.headers.get(tensors.LENGTH_HEADER)
    asked, item = await decode(request, _decode, received.body, header, planner.name, version)
    plan = await received.service.planning.plan(request, item)
    data, length = tensors.reply(asked, plan, planner.name)
    if length is None:
        return Response(data, media_type="application/json")
    return Response(data, media_type="application/octet-stream", headers={tensors.LENGTH_HEADER: str(length)})


def _decode(
    body: bytes, header: str | None, name: str, version: int | None, limits: ImageLimits
) -> tuple[InferRequest, PlanItem]:
    asked, arrays = tensors.read(body, header, limits)
    options = tensors.options(asked, {"planner": name, **({"model_version": version} if version else {})})
    observation = tensors.observation(arrays, options.depth_scale)
    check_observation(observation, options.region, options.point)
    return asked, (observation, options)


def _known(planner: Planner, versions: list[int], version: int | None) -> None:
    if version is not None and version not in versions:
        raise ServerError(404, "unknown_version", f"{planner.name} has no version {version}; there are {versions}")
