"""The client for asyncio."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from grasp_client.client import DEFAULT_ATTEMPTS, DEFAULT_DEADLINE, DEFAULT_URL, Connection
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


class AsyncGraspClient(Connection):
    """`GraspClient` for asyncio: the same calls, each awaited."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        deadline: float = DEFAULT_DEADLINE,
        attempts: int = DEFAULT_ATTEMPTS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key, deadline, attempts)
        self._http = httpx.AsyncClient(transport=transport, trust_env=self._trust_env)

    async def plan(self, observation: Observation, request: PlanRequest, *, deadline: float | None = None) -> GraspPlan:
        """As `GraspClient.plan`."""
        return await self._call(plan_endpoint(observation, request, deadline))

    async def predict_grasp(
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
        """As `GraspClient.predict_grasp`."""
        return await self._call(predict_endpoint(depth, rgb, segmask, goal, options, deadline, points, scene_points))

    async def plan_action(
        self, observation: Observation, request: ActionRequest, *, deadline: float | None = None
    ) -> ActionPlan:
        """As `GraspClient.plan_action`."""
        return await self._call(action_endpoint(observation, request, deadline))

    async def predict_action(
        self,
        depth: np.ndarray,
        rgb: np.ndarray | None = None,
        goal: np.ndarray | None = None,
        *,
        deadline: float | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionPlan:
        """As `GraspClient.predict_action`."""
        return await self._call(predict_action_endpoint(depth, rgb, goal, options, deadline))

    async def act(
        self,
        depth: np.ndarray | None = None,
        rgb: np.ndarray | None = None,
        *,
        deadline: float | None = None,
        **options: Unpack[ActOptions],
    ) -> Action:
        """As `GraspClient.act`."""
        return await self._call(act_endpoint(depth, rgb, options, deadline))

    async def report_outcome(
        self, *, success: bool, observation: Observation | None = None, deadline: float | None = None, **report: Any
    ) -> str:
        """As `GraspClient.report_outcome`."""
        return (await self._call(outcome_endpoint({"success": success, **report}, observation, deadline))).id

    async def planners(self) -> list[PlannerEntry]:
        """What can be asked for."""
        return (await self._call(PLANNERS)).planners

    async def grippers(self) -> dict[str, Gripper]:
        """Hands that requests may name, with their sizes."""
        return (await self._call(GRIPPERS)).grippers

    async def models(self) -> list[ModelPointers]:
        return (await self._call(MODELS)).models

    async def model(self, name: str) -> ModelEntry:
        return await self._call(model_endpoint(name))

    async def ready(self) -> bool:
        try:
            await self._send(READY, self._policy(max_attempts=1))
        except GraspServerError:
            return False
        return True

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        await self._send(READY, self._policy(timeout, max_attempts=float("inf")))

    async def _call(self, endpoint: Endpoint[Reply]) -> Reply:
        return parsed(await self._send(endpoint.call, self._policy(endpoint.deadline)), endpoint.reply)

    async def _send(self, call: HttpCall, policy: RetryPolicy) -> httpx.Response:
        request_id = uuid.uuid4().hex
        while True:
            try:
                response = await self._http.request(**self._arguments(call, policy, request_id))
                pause = policy.after_reply(response)
            except httpx.TransportError as error:
                pause = policy.after_error(error)
            if pause is None:
                return response
            await asyncio.sleep(pause)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncGraspClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
