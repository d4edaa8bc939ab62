"""`POST /act`: one step of a policy, from a picture of the camera on the hand."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from grasp_client.contract import Action, ActRequest
from grasp_client.imaging import ImageLimits, check_observation
from grasp_client.observation import Observation
from inference_server.admission import AdmittedToAct
from inference_server.decoding.observations import RAW, decode, read_with_options
from inference_server.planner_service import timings
from inference_server.policies.policy import SECONDS, act_all, check_mount, picture_for, policy_of
from inference_server.routes.predict import DEADLINE_HEADER, ERRORS, OPENAPI, REQUEST_ID_HEADER

router = APIRouter(tags=["plan"])
SCHEMAS = (ActRequest,)

QUICK_BYTES = 2**16
"""Arrays up to this size are read, and turned into what a policy sees, in less time than it takes to hand them over."""
QUICK_TYPES = (RAW, "application/x-npy")
_OPTIONS = {"$ref": "#/components/schemas/ActRequest"}


def _own(part: Any) -> Any:
    """The declaration of `/predict_grasp` with this endpoint's options."""
    if isinstance(part, dict):
        if part.get("$ref") == "#/components/schemas/PlanRequest":
            return _OPTIONS
        return {key: _own(value) for key, value in part.items() if key != "example"}
    return [_own(each) for each in part] if isinstance(part, list) else part


_OPENAPI: dict[str, Any] = {
    "parameters": [*_own(OPENAPI["parameters"][:-2]), DEADLINE_HEADER, REQUEST_ID_HEADER],
    "requestBody": _own(OPENAPI["requestBody"]),
}


@router.post("/act", response_model=Action, responses=ERRORS, openapi_extra=_OPENAPI)
async def act(request: AdmittedToAct) -> Response:
    """The next movement of a hand, from what the camera on it sees.

    The picture is sent as to `/predict_grasp`, in any of the three ways:
    `curl --data-binary @depth.bin -H 'Content-Type: application/octet-stream' -H 'X-Shape: 64,64' -H 'X-Dtype: uint16'
    -H 'X-Request: {"camera": {...}, "hand_camera_pose": [...], "episode": "7"}' URL/act`.
    """
    received, service = request.received, request.received.service
    kind = received.headers.get("content-type", "").split(";")[0].strip().lower()
    quick = len(received.body) <= QUICK_BYTES and kind in QUICK_TYPES
    observation, options = await decode(request, _read, received.body, received.headers, received.query, quick=quick)
    network = await service.policies.choose(received.owner, observation, options)
    policy = policy_of(network)
    check_mount(network, policy, options.hand_camera_pose)
    look = picture_for, network, policy, observation, options.camera
    picture = picture_for(*look[1:]) if quick else await service.decoders.run(request.slot.client, request.deadline, *look)
    group = ("act", network.name, network.version)
    run = partial(act_all, network, policy)
    answer = await request.slot.submit(group, run, picture, request.deadline, service.settings.max_batch, SECONDS)
    action = Action(request_id=request.id, steps=policy.steps, model=network.ref, **answer.result)
    action.timings_ms = timings(request, answer, {})
    return Response(action.model_dump_json(), media_type="application/json")


def _read(
    body: bytes, headers: Mapping[str, str], query: Mapping[str, str], limits: ImageLimits
) -> tuple[Observation, ActRequest]:
    observation, options = read_with_options(body, headers, query, ActRequest, limits)
    check_observation(observation)
    return observation, options
