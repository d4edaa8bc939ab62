"""The parts of one server and how a plan comes about: choose the planner, pin the version, ask the batcher."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import warnings
import zlib
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from fastapi import Request

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.imaging import ImageLimits
from grasp_client.observation import Observation
from inference_server import tracing
from inference_server.batching.batcher import Batcher, QueueSlot
from inference_server.errors import ServerError
from inference_server.heatmap import overlay_png
from inference_server.metrics import Metrics
from inference_server.models.warm import warm_up
from inference_server.models.weights import Weights
from inference_server.outcomes import OutcomePublisher, RecentPlans
from inference_server.request_context import RequestContext
from inference_server.security.auth import Keys, client_of
from inference_server.security.limits import BodyReader, deadline_of
from planning.base import LoadedNetwork, Planner
from planning.batched_inference import plan_batched
from planning.discovery import choose, discover
from planning.networks.device import choose_execution, usable_cores
from planning.networks.loading import Loader
from shared.registry import Registry
from shared.settings import ServerSettings

logger = logging.getLogger(__name__)

# Raw depth is a view of the request's body. Nobody writes into an observation, and torch need not say that nobody may.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")

Item = tuple[Observation, PlanRequest]
Result = TypeVar("Result")


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
        self.execution = choose_execution(settings.device, settings.dtype)
        self.threads = settings.torch_threads or usable_cores()
        self.batcher = Batcher(settings.queue_size, self.metrics)
        architectures = {planner.model_name: planner.architecture for planner in self.planners.values() if planner.model_name}
        self.weights = Weights(
            Loader(self.registry, architectures, self.execution), self.batcher.between_batches, self.metrics,
            settings.reload_seconds, candidates=settings.candidate_share > 0,
        )  # fmt: skip
        for planner in self.planners.values():
            planner.networks = self.weights.get
        self.outcomes = OutcomePublisher(settings.redis_url)
        self.recent = RecentPlans()
        self.warm = False

    def start(self) -> None:
        """Start the inference thread, load the champions and warm every planner. Blocks."""
        self.batcher.start()
        # Per thread that computes, so set where the networks run; before any other thread sets its own.
        self.batcher.between_batches(partial(torch.set_num_threads, self.threads)).result()
        self.weights.start()
        self.weights.looked.wait()
        for planner in self.planners.values():
            self.batcher.between_batches(partial(warm_up, planner, self.network_of(planner))).result()
        gc.collect()
        gc.freeze()  # what is there now stays: to look through it again in every full collection takes a tenth of a second
        self.warm = True
        logger.info("warm on %s with %s", self.execution.device, self.weights.versions() or "no models yet")

    def stop(self) -> None:
        """Drain and stop. Blocks for at most about `drain_seconds`."""
        self.batcher.close(self.settings.drain_seconds)
        self.weights.stop()
        self.decoders.shutdown(wait=False, cancel_futures=True)
        self.outcomes.close()
        gc.unfreeze()

    def ready(self) -> bool:
        """Warm, the inference thread alive, and no champion left out that the planners should have."""
        return self.warm and self.batcher.alive() and not (self.weights.failures().keys() - self.weights.versions().keys())

    def network_of(self, planner: Planner) -> LoadedNetwork | None:
        return self.weights.get(planner.model_name) if planner.model_name else None

    def available(self) -> list[str]:
        """Planners that can answer now."""
        return [name for name, planner in self.planners.items() if planner.model_name is None or self.network_of(planner)]

    async def receive(self, request: Request, call: RequestContext) -> bytes:
        """The body of a request that is going to the queue; refused before it is read when the queue has no place for it."""
        self.batcher.check_room(call.client, call.deadline)
        return await self.bodies.read(request, call.client)

    async def work(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function in the decoding threads."""
        return await asyncio.get_running_loop().run_in_executor(self.decoders, function, *arguments)

    async def decode(
        self, call: RequestContext, function: Callable[..., Result], *arguments: Any, quick: bool = False
    ) -> Result:
        """Run a decoder: in the decoding threads, unless it is so quick that handing it over would cost more."""
        with call.stage("decode"):
            return function(*arguments) if quick else await self.work(function, *arguments)

    async def ask(self, call: RequestContext, place: QueueSlot, group: Hashable, run: Callable, payload: Any, most: int) -> Any:
        """What `run` makes of the payload in the inference thread; see `QueueSlot.ask`."""
        try:
            answer = await place.ask(group, run, payload, call.deadline, most)
            call.stages["queue"] = answer.queued, answer.started - answer.queued
            call.stages["plan"] = answer.started, answer.seconds
            return answer.result
        finally:
            if "decode" in call.stages:
                self.metrics.seconds.labels("decode").observe(call.stages["decode"][1])
            tracing.record(call.stages)

    async def _chosen(self, call: RequestContext, item: Item) -> tuple[Planner, LoadedNetwork | None]:
        """The planner for an observation, and the version of its model unless that is the champion. Raises what the contract
        names."""
        observation, options = item
        planner = self.planners[choose(options, observation, self.available())]
        planner.check(observation, options)
        if options.model_version is not None:
            return planner, await self._pinned(planner, options.model_version)
        return planner, self._candidate(call, planner)

    async def _pinned(self, planner: Planner, version: int) -> LoadedNetwork:
        """Raises ServerError 422 for a planner without a model, RegistryError for an unknown or broken version."""
        if planner.model_name is None:
            raise ServerError(422, "no_versions", f"planner {planner.name!r} has no model: leave model_version out")
        return await asyncio.to_thread(self.weights.pin, planner.model_name, version)

    def _candidate(self, call: RequestContext, planner: Planner) -> LoadedNetwork | None:
        """The candidate for a share of the requests, chosen by their id so that a repeated request meets the same version."""
        share = self.settings.candidate_share
        if not share or planner.model_name is None or zlib.crc32(call.id.encode()) >= share * 2**32:
            return None
        return self.weights.candidate(planner.model_name)

    async def plan(self, call: RequestContext, item: Item, place: QueueSlot) -> GraspPlan:
        """Plan one observation; fills in request id and timings, and remembers the plan. Raises what the contract names."""
        observation, options = item
        planner, network = await self._chosen(call, item)
        # Planners that share a network share its batches. Geometry gains nothing from one: the first would wait for the last.
        model = planner.batched_with or planner.model_name
        most = self.settings.max_batch if model else 1
        group = ("plan", model or planner.name, network.version if network else None)
        plan, maps = await self.ask(call, place, group, self._plan_batch, (planner, network, item), most)
        changes: dict[str, Any] = {"request_id": call.id}
        if maps is not None:
            with call.stage("heatmap"):
                png = await self.work(overlay_png, observation, maps)
            changes["heatmap_png"] = base64.b64encode(png).decode()
        elif options.return_heatmap:
            changes["warnings"] = [*plan.warnings, f"planner {planner.name!r} has no dense map, so there is no heatmap_png"]
        self._count(plan)
        plan = plan.model_copy(update={**changes, "timings_ms": call.timings(plan.timings_ms)})
        self.recent.remember(plan, observation, options)
        return plan

    async def heatmap(self, call: RequestContext, item: Item, place: QueueSlot) -> Heatmap:
        """The dense map of one observation. Raises what the contract names, and PlannerError 422 for a planner without one."""
        planner, network = await self._chosen(call, item)
        group = ("heatmap", planner.name, network.version if network else None)
        return await self.ask(call, place, group, partial(self._maps, planner, network), item, 1)

    def _plan_batch(
        self, asked: Sequence[tuple[Planner, LoadedNetwork | None, Item]]
    ) -> list[tuple[GraspPlan, np.ndarray | None]]:
        """Plans, each with its dense map where that was asked for and the planner has one."""
        pinned = [(planner, network or self.network_of(planner), item) for planner, network, item in asked]
        with torch.inference_mode():
            maps = [
                planner.heatmap(*item, network) if item[1].return_heatmap and draws_maps(planner) else None
                for planner, network, item in pinned
            ]
        return list(zip(plan_batched(pinned), maps, strict=True))

    def _maps(self, planner: Planner, pinned: LoadedNetwork | None, items: Sequence[Item]) -> list[Heatmap]:
        network = pinned or self.network_of(planner)
        version = network.version if network else None
        with torch.inference_mode():
            return [Heatmap(planner.name, version, planner.heatmap(*item, network)) for item in items]

    def _count(self, plan: GraspPlan) -> None:
        version = str(plan.model.version) if plan.model else ""
        self.metrics.plans.labels(plan.planner, version, str(not plan.grasps).lower()).inc()
        for reason, count in plan.rejections.items():
            self.metrics.rejections.labels(plan.planner, reason).inc(count)
        if "plan" in plan.timings_ms:
            self.metrics.seconds.labels("plan").observe(plan.timings_ms["plan"] / 1e3)

    def call_of(self, request: Request) -> RequestContext:
        """Raises ServerError 422 for a bad X-Deadline-Ms."""
        deadline = deadline_of(request, self.settings.deadline_ms)
        return RequestContext(client_of(request), request.scope["request_id"], request.scope["started"], deadline)


def draws_maps(planner: Planner) -> bool:
    """Whether a planner has a dense map of its own."""
    return type(planner).heatmap is not Planner.heatmap


def service_of(request: Request) -> Service:
    return request.app.state.service
