"""The parts of one server and how a plan comes about: choose the planner, pin the version, ask the batcher."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from fastapi import Request

from inference_server.auth import Keys, client_of
from inference_server.batcher import Batcher, Place
from inference_server.errors import ServerError
from inference_server.heatmap import overlay_png
from inference_server.limits import BodyReader, deadline_of
from inference_server.metrics import Metrics
from inference_server.outcomes import OutcomePublisher, RecentPlans
from inference_server.planners.planner import LoadedNetwork, Planner, choose, discover
from inference_server.warm import warm_up
from inference_server.weights import Weights, pick_device
from shared.contract import GraspPlan, PlanRequest
from shared.imaging import ImageLimits
from shared.planner import Observation
from shared.registry import Registry
from shared.settings import ServerSettings

logger = logging.getLogger(__name__)

Item = tuple[Observation, PlanRequest]
Result = TypeVar("Result")


@dataclass
class Call:
    """One request on its way: whose it is, its id, until when (time.monotonic()) an answer is wanted, and ms per stage."""

    client: str
    id: str
    started: float
    deadline: float
    stages: dict[str, float] = field(default_factory=dict)

    def timings(self, more: Mapping[str, float]) -> dict[str, float]:
        """Milliseconds per stage; `total` counts from the moment that the request came."""
        total = (time.monotonic() - self.started) * 1e3
        return {name: round(value, 3) for name, value in {**self.stages, **more, "total": total}.items()}

    def part(self, number: int) -> Call:
        """The call of one of several observations in a request, with an id of its own."""
        return replace(self, id=f"{self.id}.{number}", stages={})


@dataclass(frozen=True)
class Heatmap:
    """A dense map, (angles, H, W), and who made it."""

    planner: str
    version: int | None
    maps: np.ndarray


class Service:
    """Everything that routes need, in `app.state.service`."""

    def __init__(self, settings: ServerSettings):
        self.settings = settings
        self.keys = Keys(settings)
        self.metrics = Metrics()
        self.bodies = BodyReader(int(settings.max_body_mb * 2**20))
        self.limits = ImageLimits(max_pixels=settings.max_pixels, max_bytes=int(settings.max_body_mb * 2**20))
        self.decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self.registry = Registry(settings.models_dir)
        self.planners: dict[str, Planner] = {name: kind() for name, kind in sorted(discover().items())}
        self.device = pick_device(settings.device)
        self.batcher = Batcher(settings.queue_size, self.metrics)
        architectures = {planner.model_name: planner.architecture for planner in self.planners.values() if planner.model_name}
        self.weights = Weights(
            self.registry, architectures, self.device, self.batcher.between_batches, self.metrics, settings.reload_seconds
        )
        self.outcomes = OutcomePublisher(settings.redis_url)
        self.recent = RecentPlans()
        self.warm = False

    def start(self) -> None:
        """Start the inference thread, load the champions and warm every planner. Blocks."""
        self.batcher.start()
        threads = self.settings.torch_threads
        if threads:  # per thread that computes, so set where the networks run
            self.batcher.between_batches(partial(torch.set_num_threads, threads)).result()
        self.weights.start()
        self.weights.looked.wait()
        for planner in self.planners.values():
            self.batcher.between_batches(partial(warm_up, planner, self.network_of(planner))).result()
        self.warm = True
        logger.info("warm on %s with %s", self.device, self.weights.versions() or "no models yet")

    def stop(self) -> None:
        """Drain and stop. Blocks for at most about `drain_seconds`."""
        self.batcher.close(self.settings.drain_seconds)
        self.weights.stop()
        self.decoders.shutdown(wait=False, cancel_futures=True)
        self.outcomes.close()

    def ready(self) -> bool:
        """Warm, the inference thread alive, and no champion left out that the planners should have."""
        return self.warm and self.batcher.alive() and not (self.weights.failures().keys() - self.weights.versions().keys())

    def network_of(self, planner: Planner) -> LoadedNetwork | None:
        return self.weights.get(planner.model_name) if planner.model_name else None

    def available(self) -> list[str]:
        """Planners that can answer now."""
        return [name for name, planner in self.planners.items() if planner.model_name is None or self.network_of(planner)]

    async def receive(self, request: Request, call: Call) -> bytes:
        """The body of a request that is going to the queue; refused before it is read when the queue has no place for it."""
        self.batcher.check_room(call.client)
        return await self.bodies.read(request, call.client)

    async def decode(self, function: Callable[..., Result], *arguments: Any) -> tuple[Result, float]:
        """Run a decoder in the decoding threads; the result and the milliseconds it took, waiting for a thread included."""
        started = time.monotonic()
        result = await asyncio.get_running_loop().run_in_executor(self.decoders, function, *arguments)
        seconds = time.monotonic() - started
        self.metrics.seconds.labels("decode").observe(seconds)
        return result, seconds * 1e3

    async def _chosen(self, item: Item) -> tuple[Planner, LoadedNetwork | None]:
        """The planner for an observation, and the version of its model if one is pinned. Raises what the contract names."""
        observation, options = item
        planner = self.planners[choose(options, observation, self.available())]
        planner.check(observation, options)
        return planner, await self._pinned(planner, options)

    async def _pinned(self, planner: Planner, request: PlanRequest) -> LoadedNetwork | None:
        """Raises ServerError 422 for a planner without a model, RegistryError for an unknown or broken version."""
        if request.model_version is None:
            return None
        if planner.model_name is None:
            raise ServerError(422, "no_versions", f"planner {planner.name!r} has no model: leave model_version out")
        return await asyncio.to_thread(self.weights.pin, planner.model_name, request.model_version)

    async def plan(self, call: Call, item: Item, place: Place) -> GraspPlan:
        """Plan one observation; fills in request id and timings, and remembers the plan. Raises what the contract names."""
        observation, options = item
        planner, pinned = await self._chosen(item)
        # Geometry gains nothing from a batch, and the first of it would wait for the last.
        most = self.settings.max_batch if planner.model_name else 1
        group = ("plan", planner.name, pinned.version if pinned else None)
        answer = await place.ask(group, partial(self._plan_batch, planner, pinned), item, call.deadline, most)
        plan, maps = answer.result
        call.stages["queue"] = answer.queue_ms
        changes: dict[str, Any] = {"request_id": call.id}
        if maps is not None:
            png, call.stages["heatmap"] = await self.decode(overlay_png, observation, maps)
            changes["heatmap_png"] = base64.b64encode(png).decode()
        elif options.return_heatmap:
            changes["warnings"] = [*plan.warnings, f"planner {planner.name!r} has no dense map, so there is no heatmap_png"]
        self._count(plan)
        plan = plan.model_copy(update={**changes, "timings_ms": call.timings(plan.timings_ms)})
        self.recent.remember(plan, observation, options)
        return plan

    async def heatmap(self, call: Call, item: Item, place: Place) -> Heatmap:
        """The dense map of one observation. Raises what the contract names, and PlannerError 422 for a planner without one."""
        planner, pinned = await self._chosen(item)
        group = ("heatmap", planner.name, pinned.version if pinned else None)
        answer = await place.ask(group, partial(self._maps, planner, pinned), item, call.deadline, 1)
        return answer.result

    def _plan_batch(
        self, planner: Planner, pinned: LoadedNetwork | None, items: Sequence[Item]
    ) -> list[tuple[GraspPlan, np.ndarray | None]]:
        """Plans, each with its dense map where that was asked for and the planner has one."""
        network = pinned or self.network_of(planner)
        with torch.inference_mode():
            plans = planner.plan_batch(items, network)
            maps = [
                planner.heatmap(*item, network) if item[1].return_heatmap and draws_maps(planner) else None for item in items
            ]
        return list(zip(plans, maps, strict=True))

    def _maps(self, planner: Planner, pinned: LoadedNetwork | None, items: Sequence[Item]) -> list[Heatmap]:
        network = pinned or self.network_of(planner)
        version = network.version if network else None
        with torch.inference_mode():
            return [Heatmap(planner.name, version, planner.heatmap(*item, network)) for item in items]

    def _count(self, plan: GraspPlan) -> None:
        self.metrics.plans.labels(plan.planner, str(not plan.grasps).lower()).inc()
        for reason, count in plan.rejections.items():
            self.metrics.rejections.labels(plan.planner, reason).inc(count)
        if "plan" in plan.timings_ms:
            self.metrics.seconds.labels("plan").observe(plan.timings_ms["plan"] / 1e3)

    def call_of(self, request: Request) -> Call:
        """Raises ServerError 422 for a bad X-Deadline-Ms."""
        deadline = deadline_of(request, self.settings.deadline_ms)
        return Call(client_of(request), request.scope["request_id"], request.scope["started"], deadline)


def draws_maps(planner: Planner) -> bool:
    """Whether a planner has a dense map of its own."""
    return type(planner).heatmap is not Planner.heatmap


def service_of(request: Request) -> Service:
    return request.app.state.service
