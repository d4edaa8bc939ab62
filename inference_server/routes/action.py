"""`POST /predict_action`: what to do next to get one thing."""

import copy
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from grasp_client.contract import ActionPlan, ActionRequest
from inference_server.admission import Admitted
from inference_server.decoding.observations import decode_item
from inference_server.planners.goal_actions import plan_action
from inference_server.routes import predict

router = APIRouter(tags=["plan"])
SCHEMAS = (ActionRequest,)


def _openapi() -> dict[str, Any]:
    """What `/predict_grasp` takes, with the options of an action."""
    found = copy.deepcopy(predict.OPENAPI)
    options = {"$ref": "#/components/schemas/ActionRequest"}
    example = {"camera": {"fx": 525.0, "fy": 525.0, "cx": 319.5, "cy": 239.5}, "point": [320, 240], "push": {"threshold": 0.5}}
    found["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["request"] = options
    for parameter in found["parameters"][:2]:
        parameter["content"]["application/json"] = {"schema": options, "example": example}
    return found


@router.post("/predict_action", response_model=ActionPlan, responses=predict.ERRORS, openapi_extra=_openapi())
async def predict_action(request: Admitted) -> Response:
    """Decide how to get the goal, a mask or a pixel of one thing: grasp it, lift a neighbour away, or push.

    Bodies are those of `/predict_grasp`:
    `curl -F depth=@depth.png -F goal=@mask.png -F 'request={"camera": {"fx": 525, "fy": 525, "cx": 319.5, "cy": 239.5}}'
    URL/predict_action`. Nothing that can be done is an answer: 200, action `none`, and `reason` says why.
    """
    item = await decode_item(request, ActionRequest)
    plan = await plan_action(request.received.service, request, item)
    return Response(plan.model_dump_json(), media_type="application/json")
