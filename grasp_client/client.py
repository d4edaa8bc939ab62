"""The client, and what it has in common with the one for asyncio.

Every call is retried on 429, 503 and connection errors, with jitter, inside its deadline; all are safe to repeat.
A client keeps its connections, may be shared between threads (or tasks), and is closed by `with` or `close()`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from grasp_client.contract import (
    Action,
    ActionPlan,
    ActionRequest,
    GraspPlan,
    Gripper,
    ModelEntry,
    ModelPointers,
    PlannerEntry,
    PlanRequest,
)
from grasp_client.endpoints import (
    GRIPPERS,
    MODELS,
    PLANNERS,
    READY,
    Endpoint,
    HttpCall,
    Reply,
    act_endpoint,
    action_endpoint,
    model_endpoint,
    outcome_endpoint,
    parsed,
    plan_endpoint,
    predict_action_endpoint,
    predict_endpoint,
)
from grasp_client.errors import GraspServerError
from grasp_client.observation import Observation
from grasp_client.options import ActionOptions, ActOptions, PlanOptions
from grasp_client.retry import RetryPolicy

if TYPE_CHECKING:  # in typing only from Python 3.11 on
    from typing_extensions import Unpack

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_DEADLINE = 10.0
"""Seconds for a call, retries included."""
DEFAULT_ATTEMPTS = 10
"""Most attempts of a call."""


class Connection:
    """What both clients know: where the server is, who asks, how long to try."""

    def __init__(self, url: str, api_key: str | None, deadline: float, attempts: int) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"expected a url such as {DEFAULT_URL}, got {url!r}")
        self.url = url.rstrip("/")
        self.deadline = deadline
        self.attempts = attempts
        self._key = {"X-API-Key": api_key} if api_key else {}
        # A proxy named in the environment cannot reach this machine's own loopback.
        self._trust_env = httpx.URL(url).host not in ("127.0.0.1", "localhost", "::1")

    def _policy(self, deadline: float | None = None, max_attempts: float | None = None) -> RetryPolicy:
        return RetryPolicy(
            self.url,
            self.deadline if deadline is None else deadline,
            self.attempts if max_attempts is None else max_attempts,
        )

    def _arguments(self, call: HttpCall, policy: RetryPolicy, request_id: str) -> dict[str, Any]:
        """What httpx sends in the next attempt. Raises DeadlineExceeded when no time is left for one."""
        deadline, timeout = policy.begin()
        headers = {**self._key, "X-Request-ID": request_id, **deadline, **call.headers}
        return {
            "method": call.method, "url": self.url + call.path, "headers": headers, "timeout": timeout,
            "content": call.content, "files": call.files,
        }  # fmt: skip


class GraspClient(Connection):
    """A `GraspPlanner` whose planner runs on a server.

    url: of the server. api_key: sent as X-API-Key. deadline: seconds that a call may take, retries included; every call
    takes its own. attempts: most attempts per call. transport: another httpx transport, as for a proxy or a test.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        deadline: float = DEFAULT_DEADLINE,
        attempts: int = DEFAULT_ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key, deadline, attempts)
        self._http = httpx.Client(transport=transport, trust_env=self._trust_env)

    def plan(self, observation: Observation, request: PlanRequest, *, deadline: float | None = None) -> GraspPlan:
        """Ranked grasps for an observation. Raises GraspServerError or one of its subclasses."""
        return self._call(plan_endpoint(observation, request, deadline))

    def predict_grasp(
        self,
        depth: np.ndarray | Sequence[np.ndarray] | None = None,
        rgb: np.ndarray | None = None,
        segmask: np.ndarray | None = None,
        goal: np.ndarray | None = None,
        *,
        points: np.ndarray | None = None,
        scene_points: np.ndarray | None = None,
        deadline: float | None = None,
        **options: Unpack[PlanOptions],
    ) -> GraspPlan:
        """`plan` for arrays: images or a cloud as for `observe`, options as the fields of `PlanRequest` (camera, planner, ...).
        Several depth images of one scene are a list, with `views`.

        Raises ValueError for what the server would refuse, else as `plan`.
        """
        return self._call(predict_endpoint(depth, rgb, segmask, goal, options, deadline, points, scene_points))

    def plan_action(self, observation: Observation, request: ActionRequest, *, deadline: float | None = None) -> ActionPlan:
        """What to do next to get the observation's goal. Raises as `plan`."""
        return self._call(action_endpoint(observation, request, deadline))

    def predict_action(
        self,
        depth: np.ndarray,
        rgb: np.ndarray | None = None,
        goal: np.ndarray | None = None,
        *,
        deadline: float | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionPlan:
        """`plan_action` for arrays: grasp the goal, lift a neighbour away, or push. goal: (H, W), non-zero on it, or `point` in
        the options, which are the fields of `ActionRequest`.

        Raises as `predict_grasp`.
        """
        return self._call(predict_action_endpoint(depth, rgb, goal, options, deadline))

    def act(
        self,
        depth: np.ndarray | None = None,
        rgb: np.ndarray | None = None,
        *,
        deadline: float | None = None,
        **options: Unpack[ActOptions],
    ) -> Action:
        """The next movement of a hand by what its camera sees: one image as for `observe`, options as the fields of
        `ActRequest` (camera, hand_camera_pose, episode, policy, ...). `Servo` runs the whole loop.

        Raises ValueError for what the server would refuse, InvalidRequest for a policy of another mount or picture.
        """
        return self._call(act_endpoint(depth, rgb, options, deadline))

    def report_outcome(
        self, *, success: bool, observation: Observation | None = None, deadline: float | None = None, **report: Any
    ) -> str:
        """Report to the trainer what happened to a grasp; returns the outcome's id.

        After `plan`, `request_id=plan.request_id` and the `rank` of the executed grasp are enough (`failure` too if it was
        no success); later, or without it, give `id`, `grasp`, `planner`, `camera`, ... and the observation. `robot` says who
        tried, `group` which attempts belong to one scene. Raises InvalidRequest for a report that nothing can be learned from.
        """
        return self._call(outcome_endpoint({"success": success, **report}, observation, deadline)).id

    def planners(self) -> list[PlannerEntry]:
        """What can be asked for."""
        return self._call(PLANNERS).planners

    def grippers(self) -> dict[str, Gripper]:
        """The sizes of the hands that `gripper` may name."""
        return self._call(GRIPPERS).grippers

    def models(self) -> list[ModelPointers]:
        """The models of the server's registry."""
        return self._call(MODELS).models

    def model(self, name: str) -> ModelEntry:
        """One model, with the cards of its versions."""
        return self._call(model_endpoint(name))

    def ready(self) -> bool:
        """Whether the server has its models loaded and warm; False also when there is none."""
        try:
            self._send(READY, self._policy(max_attempts=1))
        except GraspServerError:
            return False
        return True

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Returns when the server is ready. Raises GraspServerError with the last reason after `timeout` seconds."""
        self._send(READY, self._policy(timeout, max_attempts=float("inf")))

    def _call(self, endpoint: Endpoint[Reply]) -> Reply:
        return parsed(self._send(endpoint.call, self._policy(endpoint.deadline)), endpoint.reply)

    def _send(self, call: HttpCall, policy: RetryPolicy) -> httpx.Response:
        request_id = uuid.uuid4().hex  # one for all attempts: the server's log shows them as one request
        while True:
            try:
                response = self._http.request(**self._arguments(call, policy, request_id))
                pause = policy.after_reply(response)
            except httpx.TransportError as error:
                pause = policy.after_error(error)
            if pause is None:
                return response
            time.sleep(pause)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> GraspClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
