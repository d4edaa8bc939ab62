"""The parts of one server, and how they start and stop."""

import gc
import logging
import warnings
from functools import partial

import torch

from grasp_client.imaging import ImageLimits
from inference_server.batching.batcher import Batcher
from inference_server.decoding.pool import DecodePool
from inference_server.loop_watch import LoopWatch
from inference_server.metrics import Metrics
from inference_server.models.warm import warm_up
from inference_server.models.weights import Weights
from inference_server.outcomes.accepted_reports import AcceptedReports
from inference_server.outcomes.publisher import OutcomePublisher
from inference_server.planner_service import PlannerService
from inference_server.policies.episodes import Policies
from inference_server.policies.policy import ARCHITECTURES
from inference_server.security.keys import Keys
from planning.base import Planner
from planning.discovery import discover
from planning.networks.device import choose_execution, usable_cores
from planning.networks.loading import Loader
from planning.push.values import MODEL as PUSH_VALUES
from shared.registry import Registry
from shared.retrying import Troubles
from shared.settings import ServerSettings
from shared.store import Store, StoreThread, follow_registry

logger = logging.getLogger(__name__)

STORE_SECONDS = 30.0
"""Longest wait for the first copy from the store; where that is away, the server begins with the copy that it has."""

# Raw depth is a view of the request's body. Nobody writes into an observation, and torch need not say that nobody may.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
warnings.filterwarnings("ignore", module="PIL")  # of damaged files, which are refused


class Service:
    """Everything that routes need, in `app.state.service`."""

    def __init__(self, settings: ServerSettings):
        self.settings = settings
        self.keys = Keys(settings)
        self.metrics = Metrics()
        self.limits = ImageLimits(max_pixels=settings.max_pixels, max_bytes=int(settings.max_body_mb * 2**20))
        self.decoders = DecodePool(settings.decode_threads, self.limits, self.metrics)
        self.registry = Registry(settings.models_dir, read_only=settings.store_url is not None)
        self.store: StoreThread | None = None
        if settings.store_url is not None:
            follow = follow_registry(Store(settings.store_url), settings.models_dir)
            self.store = StoreThread(follow, settings.reload_seconds, Troubles())
        self.planners: dict[str, Planner] = {name: kind() for name, kind in sorted(discover().items())}
        self.execution = choose_execution(settings.device, settings.dtype)
        self.threads = settings.torch_threads or usable_cores()
        self.batcher = Batcher(settings.queue_size, self.metrics, most_seconds=settings.max_plan_seconds)
        architectures = {planner.model_name: planner.architecture for planner in self.planners.values() if planner.model_name}
        architectures[PUSH_VALUES] = PUSH_VALUES
        self.weights = Weights(
            Loader(self.registry, architectures, self.execution), self.batcher.between_batches, self.metrics,
            settings.reload_seconds, settings.candidate_share, frozenset(ARCHITECTURES),
        )  # fmt: skip
        for planner in self.planners.values():
            planner.networks = self.weights.get
        self.policies = Policies(self.weights)
        self.planning = PlannerService(settings, self.planners, self.weights, self.metrics, self.decoders, self.batcher)
        self.outcomes, self.accepted = OutcomePublisher(settings.redis_url), AcceptedReports()
        self.loop = LoopWatch(settings.models_dir, settings.redis_url)
        self.metrics.registry.register(self.loop)
        self.warm = False

    def start(self) -> None:
        """Start the inference thread, load the champions and warm every planner. Blocks."""
        self.loop.start()
        if self.store is not None:
            self.store.start()
            self.store.looked.wait(STORE_SECONDS)
        self.decoders.start()
        self.batcher.start()
        # Per thread that computes, so set where the networks run; before any other thread sets its own.
        self.batcher.between_batches(partial(torch.set_num_threads, self.threads)).result()
        self.weights.start()
        self.weights.looked.wait()
        for planner in self.planners.values():
            self.batcher.between_batches(partial(warm_up, planner, self.planning.network_of(planner))).result()
        gc.collect()
        gc.freeze()  # what is there now stays: to look through it again in every full collection takes a tenth of a second
        self.warm = True
        logger.info("warm on %s with %s", self.execution.device, self.weights.versions() or "no models yet")

    def stop(self) -> None:
        """Drain and stop. Blocks for at most about `drain_seconds`."""
        self.batcher.close(self.settings.drain_seconds)
        self.weights.stop()
        if self.store is not None:
            self.store.stop()
        self.loop.stop()
        self.decoders.close()
        self.outcomes.close()
        gc.unfreeze()

    def ready(self) -> bool:
        """Warm, the inference thread alive, and no champion left out that the planners should have."""
        return self.warm and self.batcher.alive() and not (self.weights.failures().keys() - self.weights.versions().keys())
