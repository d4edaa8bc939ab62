"""What is asked, how it is sent, and what is made of the reply; no I/O here, so that both clients share it.

Depth alone goes raw: encoding and decoding it takes a tenth of the time that a PNG takes. Anything more goes as multipart.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import httpx
import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from grasp_client.contract import (
    Action,
    ActionPlan,
    ActionRequest,
    ActRequest,
    GraspPlan,
    Grippers,
    ModelEntry,
    Models,
    OutcomeAccepted,
    Planners,
    PlanRequest,
    first_problem,
)
from grasp_client.errors import GraspServerError
from grasp_client.imaging import encode_npy, encode_raw_depth
from grasp_client.input_warnings import warn_of_input
from grasp_client.inputs import action_request_of, observe, request_of, several_views
from grasp_client.observation import Observation
from grasp_client.options import ActionOptions, ActOptions, PlanOptions

Reply = TypeVar("Reply", bound=BaseModel)
FilePart = tuple[str | None, bytes, str]
"""Name, content and media type of a part of a form."""


@dataclass(frozen=True)
class HttpCall:
    """One HTTP request, as often as it may have to be sent."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    files: dict[str, FilePart] | None = None


@dataclass(frozen=True)
class Endpoint(Generic[Reply]):
    """A call, the model of its reply, and the seconds that it may take (none: the client's own deadline)."""

    call: HttpCall
    reply: type[Reply]
    deadline: float | None = None


READY = HttpCall("GET", "/ready")
PLANNERS = Endpoint(HttpCall("GET", "/planners"), Planners)
GRIPPERS = Endpoint(HttpCall("GET", "/grippers"), Grippers)
MODELS = Endpoint(HttpCall("GET", "/models"), Models)


def model_endpoint(name: str) -> Endpoint[ModelEntry]:
    return Endpoint(HttpCall("GET", f"/models/{quote(name, safe='')}"), ModelEntry)


def plan_endpoint(observation: Observation, request: PlanRequest, deadline: float | None) -> Endpoint[GraspPlan]:
    """`POST /predict_grasp`."""
    return Endpoint(_planning_call("/predict_grasp", observation, request), GraspPlan, deadline)


def action_endpoint(observation: Observation, request: ActionRequest, deadline: float | None) -> Endpoint[ActionPlan]:
    """`POST /predict_action`."""
    return Endpoint(_planning_call("/predict_action", observation, request), ActionPlan, deadline)


def _planning_call(path: str, observation: Observation, request: PlanRequest) -> HttpCall:
    """Only options that differ from their defaults are sent, so that old servers accept new clients."""
    options = request.model_dump(mode="json", exclude_defaults=True)
    if "gripper" in options:
        # All its sizes: a finger whose sizes are told has no pads but those that are told with it.
        options["gripper"] = request.gripper.model_dump(mode="json", exclude_none=True)
    text = json.dumps(options, separators=(",", ":"))
    sent = observation.images
    if observation.views:
        sent["depth_0"] = sent.pop("depth")
        sent |= {f"depth_{number}": view.depth for number, view in enumerate(observation.views, 1)}
    elif observation.depth is not None and len(sent) == 1:
        return _raw_depth_call(path, observation.depth, request.depth_scale, text)
    return HttpCall("POST", path, files={**_npy_parts(sent), "request": (None, text.encode(), "application/json")})


def predict_endpoint(
    depth: np.ndarray | Sequence[np.ndarray] | None,
    rgb: np.ndarray | None,
    segmask: np.ndarray | None,
    goal: np.ndarray | None,
    options: PlanOptions,
    deadline: float | None,
    points: np.ndarray | None = None,
    scene_points: np.ndarray | None = None,
) -> Endpoint[GraspPlan]:
    """The same for arrays and options as users have them. Raises ValueError for what the server would refuse."""
    request = request_of(**options)
    if request.views:
        if depth is None or isinstance(depth, np.ndarray):
            raise ValueError("`views` tell where several depth images were taken: give them as a list")
        images = {"rgb": rgb, "segmask": segmask, "goal": goal, "depth_scale": request.depth_scale}
        return plan_endpoint(several_views(depth, request.views, **images), request, deadline)
    depth = depth if depth is None else np.asarray(depth)
    observation = observe(depth, rgb, segmask, request.depth_scale, goal, points, scene_points)
    return plan_endpoint(observation, request, deadline)


def predict_action_endpoint(
    depth: np.ndarray | None,
    rgb: np.ndarray | None,
    goal: np.ndarray | None,
    options: ActionOptions,
    deadline: float | None,
) -> Endpoint[ActionPlan]:
    """As `predict_endpoint`, for an action."""
    request = action_request_of(**options)
    return action_endpoint(observe(depth, rgb, None, request.depth_scale, goal), request, deadline)


def act_endpoint(
    depth: np.ndarray | None, rgb: np.ndarray | None, options: ActOptions, deadline: float | None
) -> Endpoint[Action]:
    """`POST /act` for one picture. Raises ValueError for what the server would refuse."""
    if (depth is None) == (rgb is None):
        raise ValueError("expected a picture of one kind: depth or rgb, as the policy sees it")
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in options.items()}
    request = ActRequest(**plain)
    observation = observe(depth, rgb, depth_scale=request.depth_scale)
    told = request.model_dump_json(exclude_defaults=True)
    if observation.depth is not None:
        return Endpoint(_raw_depth_call("/act", observation.depth, request.depth_scale, told), Action, deadline)
    path = f"/act?{urlencode({'request': told})}"
    call = HttpCall("POST", path, {"Content-Type": "application/x-npy"}, encode_npy(np.asarray(observation.rgb)))
    return Endpoint(call, Action, deadline)


def outcome_endpoint(
    report: Mapping[str, Any], observation: Observation | None, deadline: float | None
) -> Endpoint[OutcomeAccepted]:
    """`POST /outcomes`: the report as JSON, in a form when images come with it."""
    body = to_json(
        {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in report.items()}, exclude_none=True
    )
    if observation is None:
        call = HttpCall("POST", "/outcomes", {"Content-Type": "application/json"}, body)
    else:
        parts = _npy_parts({"depth": observation.depth, "rgb": observation.rgb})
        call = HttpCall("POST", "/outcomes", files={**parts, "outcome": (None, body, "application/json")})
    return Endpoint(call, OutcomeAccepted, deadline)


def _raw_depth_call(path: str, depth: np.ndarray, depth_scale: float, options: str) -> HttpCall:
    body, dtype = encode_raw_depth(depth, depth_scale)
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Shape": f"{depth.shape[0]},{depth.shape[1]}",
        "X-Dtype": dtype,
        "X-Request": json.dumps(json.loads(options)),  # ASCII only, as a header must be
    }
    return HttpCall("POST", path, headers, body)


def parsed(response: httpx.Response, model: type[Reply]) -> Reply:
    """The reply as `model`; fields that a newer server adds are ignored. Raises GraspServerError `bad_reply`."""
    try:
        reply = model.model_validate_json(response.content, extra="ignore")
        if isinstance(reply, GraspPlan | ActionPlan):
            warn_of_input(reply.warnings)
        return reply
    except ValidationError as error:
        raise GraspServerError(
            f"{response.request.url} gave an unexpected reply, not a {model.__name__}: {first_problem(error)}: "
            "is this a GraspLoop server?",
            code="bad_reply",
            status=response.status_code,
            request_id=response.headers.get("X-Request-ID"),
        ) from error


def _npy_parts(images: Mapping[str, np.ndarray | None]) -> dict[str, FilePart]:
    return {
        name: (f"{name}.npy", encode_npy(image), "application/x-npy") for name, image in images.items() if image is not None
    }
