"""`POST /process`: the payload and the reply of the DexRL grasp server, for clients that were written for it.

Request: `{"shape": [H, W, 1], "dtype": "float32", "data": base64 of C-order metres}`. Reply: `{"shape": [N, 5], "dtype":
"float32", "data": hex}` with columns X, Y, Z (camera frame, m), angle (rad) and quality, best first, N at most 10.
"""

import base64
import binascii
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from grasp_client.contract import ApiModel, CameraIntrinsics, GraspPlan, Gripper, PlanRequest
from grasp_client.imaging import ImageLimits, check_observation, decode_raw_depth
from grasp_client.observation import Observation
from inference_server.admission import Admitted
from inference_server.decoding.json_limits import JSON_BYTES, more_than
from inference_server.decoding.observations import decode, parse_options
from inference_server.errors import ServerError, documented
from inference_server.routes.predict import DEADLINE_HEADER, REQUEST_ID_HEADER
from planning.base import PlanItem

router = APIRouter(tags=["compatibility"])

CAMERA_SIZE = (386, 516)
CAMERA = CameraIntrinsics(fx=552.5, fy=552.5, cx=255.5, cy=191.75)
"""The camera that those clients have; the payload does not say."""
GRIPPER = Gripper(max_width=0.05)
"""Their hand: a YuMi jaw."""
GRASPS = 10
MOST_FIELDS = 100


class ArrayPayload(ApiModel):
    """An array as base64 (request) or hex (reply) of its C-order little-endian bytes."""

    shape: list[int] = Field(min_length=2, max_length=3)
    dtype: str = "float32"
    data: str


_PAYLOAD = {"$ref": "#/components/schemas/ArrayPayload"}
_OPENAPI = {
    "parameters": [DEADLINE_HEADER, REQUEST_ID_HEADER],
    "requestBody": {"required": True, "content": {"application/json": {"schema": _PAYLOAD}}},
}


@router.post(
    "/process",
    response_model=ArrayPayload,
    responses=documented(400, 401, 403, 404, 408, 413, 422, 429, 503, 504),
    openapi_extra=_OPENAPI,
)
async def process(
    request: Admitted,
    options: Annotated[str | None, Query(alias="request", description="PlanRequest as JSON, to replace the defaults")] = None,
) -> Response:
    """Plan from the DexRL payload.

    Its camera (516 x 386, fx = fy = 552.5) and its hand (50 mm) are assumed unless the query parameter `request` says else.
    """
    item = await decode(request, _item, request.received.body, options)
    plan = await request.received.service.planning.plan(request, item)
    return Response(_packed(plan).model_dump_json(), media_type="application/json")


def _item(body: bytes, options: str | None, limits: ImageLimits) -> PlanItem:
    # Within base64 there is none of these, so there are few in all.
    if more_than(MOST_FIELDS, body, b",", b":", b"[", b"{"):
        raise ServerError(422, "invalid_field", "body: expected only shape, dtype and data, the array as base64")
    payload = parse_options(body, ArrayPayload, "body", JSON_BYTES)
    try:
        data = base64.b64decode(payload.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServerError(400, "undecodable_image", f"body.data: expected base64, {error}") from None
    asked = parse_options(options, PlanRequest)
    shape = ",".join(map(str, payload.shape))
    depth = decode_raw_depth(data, shape, payload.dtype, asked.depth_scale, limits)
    observation, request = Observation(depth=depth), _with_defaults(asked, depth.shape)
    check_observation(observation, request.region)
    return observation, request


def _with_defaults(asked: PlanRequest, size: tuple[int, ...]) -> PlanRequest:
    if asked.camera is None and size != CAMERA_SIZE:
        raise ServerError(
            422,
            "no_camera",
            f'the image is {size[1]} x {size[0]}, not 516 x 386: send its intrinsics, ?request={{"camera": ...}}',
        )
    defaults = {"camera": CAMERA, "gripper": GRIPPER, "n_grasps": GRASPS}
    return asked.model_copy(update={name: value for name, value in defaults.items() if name not in asked.model_fields_set})


def _packed(plan: GraspPlan) -> ArrayPayload:
    poses = [np.asarray(grasp.pose_camera)[:3, 3] for grasp in plan.grasps]  # a plan with a camera has poses
    rows = [[*origin, grasp.angle, grasp.quality] for origin, grasp in zip(poses, plan.grasps, strict=True)]
    table = np.asarray(rows, "<f4").reshape(-1, 5)
    return ArrayPayload(shape=list(table.shape), data=table.tobytes().hex())


SCHEMAS = (ArrayPayload,)
