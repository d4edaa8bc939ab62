"""How a plan comes about: choose the planner, pin the version, wait for the inference thread, remember what it said."""

import asyncio
import base64
import time
from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from grasp_client.contract import GraspPlan, ModelRef, PlanRequest
from inference_server.batching.batcher import Answer, Batcher
from inference_server.decoding.pool import DecodePool
from inference_server.errors import ServerError
from inference_server.heatmap import overlay_png
from inference_server.metrics import Metrics
from inference_server.models.weights import Weights
from inference_server.outcomes.recent_plans import RecentPlans
from inference_server.request_context import RequestContext
from planning import explanation
from planning.base import COST_SIZE, Arm, LoadedNetwork, PlanItem, Planner
from planning.batched_inference import plan_batched
from planning.discovery import choose
from planning.goal.marking import mark_goal
from planning.networks.activations import LayerActivation, activations
from planning.push.values import MODEL as PUSH_VALUES
from planning.reach.filtering import REACH_UNKNOWN
from planning.rectification import FIELDS, in_sent_pixels, map_in_sent_pixels, rectify
from shared.registry import asks_candidate
from shared.settings import ServerSettings

EVERYBODY = "*"
"""Name of the arm of those whose key has none of its own."""
MAP_PIXELS = 2**21
"""Most pixels of an image whose dense map is drawn: 16 angles of float32 are 128 MiB then."""
MAP_SECONDS = 3e-7
"""To draw a pixel of a map, all its angles."""


@dataclass(frozen=True)
class Heatmap:
    """A dense map, (angles, H, W), and who made it."""

    planner: str
    version: int | None
    maps: np.ndarray


@dataclass(frozen=True)
class NetworkActivations:
    """What a network made of an observation, for which planner."""

    planner: str
    model: ModelRef
    layers: list[LayerActivation]


class PlannerService:
    """Answers admitted requests with the planners of this server and the networks that serve now."""

    def __init__(
        self,
        settings: ServerSettings,
        planners: Mapping[str, Planner],
        weights: Weights,
        metrics: Metrics,
        decoders: DecodePool,
        batcher: Batcher,
    ):
        self._ratios = batcher.estimator.forecast_ratios
        self._decoders = decoders
        self.planners, self.recent = planners, RecentPlans()
        self._weights, self._metrics = weights, metrics
        self._max_batch = settings.max_batch
        self._arms = known_arms(settings)
        self._armed: dict[tuple[str, int], Planner] = {}

    def network_of(self, planner: Planner) -> LoadedNetwork | None:
        """The champion that serves a planner's model, if there is one."""
        return self._weights.champions.get(planner.model_name) if planner.model_name else None

    def available(self) -> list[str]:
        """Planners that can answer now."""
        return [name for name, planner in self.planners.items() if planner.model_name is None or self.network_of(planner)]

    async def plan(self, request: RequestContext, item: PlanItem) -> GraspPlan:
        """Plan one observation; fills in request id and timings, and remembers the plan. Raises what the contract names."""
        sent, item = item, await self.rectified(request, item)
        observation, options = item
        planner, pinned, forecast = await self.choose(request, item)
        planner, told = self.armed(planner, request.owner, sent[1])
        # Geometry gains nothing from a batch: the first would wait for the last.
        most = self._max_batch if planner.batched_with or planner.model_name else 1
        if options.return_heatmap and draws_maps(planner):
            forecast += forecast + _map_seconds(item)
        forecast += explanation.CPU_SECONDS if options.explain else 0.0
        payload = planner, pinned, item
        group = group_of(planner, pinned)
        answer = await request.slot.submit(group, self._plan_batch, payload, request.deadline, most, forecast)
        plan: GraspPlan = answer.result[0]
        maps: np.ndarray | None = answer.result[1]
        changes: dict[str, Any] = {"request_id": request.id, "warnings": [*told, *plan.warnings]}
        if maps is not None:
            drawn = overlay_png, sent[0], map_in_sent_pixels(maps, sent)
            picture = await self._decoders.run(request.slot.client, request.deadline, *drawn)
            changes["heatmap_png"] = base64.b64encode(picture).decode()
        elif options.return_heatmap:
            changes["warnings"].append(f"no_heatmap: planner {planner.name!r} has no dense map, so there is no heatmap_png")
        plan = plan.model_copy(update=changes)
        self.count(plan)
        self.recent.remember(request.owner, plan, observation, options)
        if item is not sent:
            plan = in_sent_pixels(plan, sent)
        plan.timings_ms = timings(request, answer, plan.timings_ms)
        return plan

    async def heatmap(self, request: RequestContext, item: PlanItem) -> Heatmap:
        """The dense map of one observation. Raises what the contract names, and PlannerError 422 for a planner without one."""
        if item[0].points is not None:
            raise ServerError(422, "no_heatmap", "a cloud has no picture: send a depth image for its dense map")
        sent, item = item, await self.rectified(request, item)
        planner, pinned, forecast = await self.choose(request, item)
        group = ("heatmap", planner.name, pinned.version if pinned else None)
        run = partial(self._maps, planner, pinned)
        answer = await request.slot.submit(group, run, item, request.deadline, 1, forecast + _map_seconds(item))
        note_stages(request, answer)
        found: Heatmap = answer.result
        maps = await self._decoders.run(request.slot.client, request.deadline, map_in_sent_pixels, found.maps, sent)
        return replace(found, maps=maps)

    async def activations(self, request: RequestContext, item: PlanItem) -> NetworkActivations:
        """Layers of the planner's network. Raises what the contract names, and ServerError 422 for a planner without one."""
        item = await self.rectified(request, item)
        planner, pinned, forecast = await self.choose(request, item)
        if planner.model_name is None:
            raise ServerError(422, "no_network", f"planner {planner.name!r} has no network of its own; ask for dense")
        network = planner.need(pinned or self.network_of(planner))

        def run(items: Sequence[PlanItem]) -> list[list[LayerActivation]]:
            return [activations(planner, network, each) for each in items]

        answer = await request.slot.submit(("activations", planner.name), run, item, request.deadline, 1, forecast)
        return NetworkActivations(planner.name, network.ref, answer.result)

    async def rectified(self, request: RequestContext, item: PlanItem) -> PlanItem:
        """Raises PlannerError 422 for intrinsics that do not fit the image."""
        camera = item[1].camera
        if item[0].points is None and not item[0].views and (camera is None or FIELDS.isdisjoint(camera.model_fields_set)):
            return item
        return await self._decoders.run(request.slot.client, request.deadline, rectify, item)

    def cpu_seconds(self, planner: Planner) -> float:
        """What a plan of an ordinary image takes, by its planner and by what plans took here lately."""
        return planner.forecast(COST_SIZE, PlanRequest()) * self._ratios.get(group_of(planner, None), 1.0)

    async def choose(self, request: RequestContext, item: PlanItem) -> tuple[Planner, LoadedNetwork | None, float]:
        """The planner for an observation, the version of its model unless that is the champion, and seconds that a plan
        should take. Raises what the contract names."""
        observation, options = item
        planner = self.planners.get(options.planner) or self.planners[choose(options, observation, self.available())]
        forecast = planner.quote(observation, options)
        if options.model_version is not None:
            return planner, await self._pinned(planner, options.model_version), forecast
        return planner, self.candidate(request, planner.model_name), forecast

    def armed(self, planner: Planner, owner: str, sent: PlanRequest) -> tuple[Planner, list[str]]:
        """The planner with the arm of whose key it is, if one is known, and what is to be said of that.

        Raises ServerError 422 where an arm is asked for and none is known.
        """
        arm = None if sent.reach is False else self._arms.get(owner) or self._arms.get(EVERYBODY)
        if arm is None:
            if sent.reach:
                message = f"`reach` is true, but this server knows no arm of {owner or 'yours'}: set ARMS, or leave it out"
                raise ServerError(422, "no_arm", message)
            return planner, []
        if sent.camera_pose is None:
            return planner, [REACH_UNKNOWN]
        key = planner.name, id(arm)
        if key not in self._armed:
            self._armed[key] = copy(planner)
            self._armed[key].arm = arm
        return self._armed[key], []

    async def _pinned(self, planner: Planner, version: int) -> LoadedNetwork:
        """Raises ServerError 422 for a planner without a model, RegistryError for an unknown or broken version."""
        if planner.model_name is None:
            raise ServerError(422, "no_versions", f"planner {planner.name!r} has no model: leave model_version out")
        return await asyncio.to_thread(self._weights.pin, planner.model_name, version)

    async def values_for(self, request: RequestContext, version: int | None) -> LoadedNetwork | None:
        """The network that values pushes where that is not the champion. Raises RegistryError for an unknown or broken one."""
        if version is not None:
            return await asyncio.to_thread(self._weights.pin, PUSH_VALUES, version)
        return self.candidate(request, PUSH_VALUES)

    def candidate(self, request: RequestContext, model: str | None) -> LoadedNetwork | None:
        """A model's candidate for a share of the requests, chosen by their id: a repeated request meets the same version."""
        found = self._weights.candidates.get(model) if model else None
        return found.network if found and asks_candidate(request.id, found.share, found.key) else None

    def _plan_batch(
        self, asked: Sequence[tuple[Planner, LoadedNetwork | None, PlanItem]]
    ) -> list[tuple[GraspPlan, np.ndarray | None]]:
        """Plans, each with its dense map where that was asked for and the planner has one."""
        asked = [(planner, pinned or self.network_of(planner), item) for planner, pinned, item in asked]
        with torch.inference_mode():
            maps = [
                planner.heatmap(*mark_goal(item)[0], network) if item[1].return_heatmap and draws_maps(planner) else None
                for planner, network, item in asked
            ]
        return list(zip(plan_batched(asked), maps, strict=True))

    def _maps(self, planner: Planner, pinned: LoadedNetwork | None, items: Sequence[PlanItem]) -> list[Heatmap]:
        network = pinned or self.network_of(planner)
        version = network.version if network else None
        with torch.inference_mode():
            return [Heatmap(planner.name, version, planner.heatmap(*mark_goal(item)[0], network)) for item in items]

    def count(self, plan: GraspPlan) -> None:
        version = str(plan.model.version) if plan.model else ""
        self._metrics.plans.labels(plan.planner, version, str(not plan.grasps).lower()).inc()
        for reason, count in plan.rejections.items():
            self._metrics.rejections.labels(plan.planner, reason).inc(count)
        if "plan" in plan.timings_ms:
            self._metrics.seconds.labels("plan").observe(plan.timings_ms["plan"] / 1e3)


def known_arms(settings: ServerSettings) -> dict[str, Arm]:
    """The arms of `settings.arms` by name of key. Raises ValueError if they cannot be had."""
    if settings.arms is None:
        return {}
    try:
        from planning.reach.configuration import read_arms
    except ModuleNotFoundError as error:
        raise ValueError(f"ARMS needs {error.name}: pip install 'grasploop[reach]'") from error
    return dict(read_arms(settings.arms))


def _map_seconds(item: PlanItem) -> float:
    """To draw the dense map of an observation. Raises ServerError 413 for one that would fill the memory."""
    height, width = item[0].size
    if height * width > MAP_PIXELS:
        message = f"maps are drawn for images of at most {MAP_PIXELS} pixels, got {width} x {height}: crop or resize it"
        raise ServerError(413, "too_many_pixels", message)
    return MAP_SECONDS * height * width


def group_of(planner: Planner, pinned: LoadedNetwork | None) -> tuple[Hashable, ...]:
    """What can be planned together: planners that share a network share its batches."""
    return "plan", planner.batched_with or planner.model_name or planner.name, pinned.version if pinned else None


def draws_maps(planner: Planner) -> bool:
    """Whether a planner has a dense map of its own."""
    return type(planner).heatmap is not Planner.heatmap


def note_stages(request: RequestContext, answer: Answer) -> None:
    """Add the stages in the queue and in the inference thread."""
    request.stages["queue"] = answer.queued, answer.started - answer.queued
    request.stages["plan"] = answer.started, answer.seconds


def timings(request: RequestContext, answer: Answer, more: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds per stage; `total` counts from the moment that the request came."""
    note_stages(request, answer)
    stages = {name: seconds * 1e3 for name, (_, seconds) in request.stages.items()}
    total = (time.monotonic() - request.started) * 1e3
    return {name: round(value, 3) for name, value in {**stages, **more, "total": total}.items()}
