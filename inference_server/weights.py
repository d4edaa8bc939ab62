"""Weights follow the registry: load, check, warm, swap; a failure keeps what serves.

A version is loaded and checked off the inference thread (hash, names, shapes, finite numbers, a golden batch) and only then
handed over, to be warmed and swapped in between two batches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from inference_server.metrics import Metrics
from inference_server.planners.planner import LoadedNetwork
from shared.networks import build_network
from shared.registry import BrokenModel, ModelCard, Registry, UnknownModel, UnknownVersion

logger = logging.getLogger(__name__)

PINNED_VERSIONS = 4
"""Versions beside the champions that stay loaded; the least recently asked for goes first."""
RETRY_SECONDS = 30.0
"""A champion that failed to load is tried again after this long (a network disk may have been away)."""
HAND_OVER_SECONDS = 60.0

BetweenBatches = Callable[[Callable[[], Any]], "Future[Any]"]


def pick_device(wanted: str) -> torch.device:
    """`auto` takes the first CUDA device if there is one. Raises ValueError for a device that torch does not have."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {wanted!r} cannot be used: {str(error).splitlines()[0]}; expected auto, cpu or cuda:N"
        ) from error
    return device


def load_network(registry: Registry, name: str, version: int, architecture: str | None, device: torch.device) -> LoadedNetwork:
    """A version, checked. Raises UnknownModel, UnknownVersion, or BrokenModel that says what is wrong with it."""
    card = registry.card(name, version)
    if architecture is not None and card.architecture != architecture:
        raise BrokenModel(
            f"{name} version {version} is of architecture {card.architecture!r}, its planner needs {architecture!r}"
        )
    module = _filled(registry, name, version, card)
    _try_golden_batch(module, name, version)
    return LoadedNetwork(name, version, module.to(device), card, device)


def _filled(registry: Registry, name: str, version: int, card: ModelCard) -> nn.Module:
    try:
        tensors = load_tensors(registry.read_weights(name, version))
        module = build_network(card.architecture, card.parameters)
        module.load_state_dict(tensors, strict=True)
    except (SafetensorError, ValueError, RuntimeError, OSError) as error:
        raise BrokenModel(f"{name} version {version} cannot be loaded: {' '.join(str(error).split())[:500]}") from error
    bad = [key for key, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if bad:
        raise BrokenModel(f"{name} version {version} has NaN or infinite weights in {', '.join(bad[:5])}")
    return module.eval()


def _try_golden_batch(module: nn.Module, name: str, version: int) -> None:
    with torch.inference_mode():
        outputs = module(*module.golden_batch())  # type: ignore[operator]
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        if not torch.isfinite(output).all():
            raise BrokenModel(f"{name} version {version} answers its golden batch with NaN or infinity")


class Weights:
    """The networks of the planners' models. `start` follows the champion pointers; `get` and `pin` are thread-safe."""

    def __init__(
        self, registry: Registry, architectures: Mapping[str, str | None], device: torch.device,
        between_batches: BetweenBatches, metrics: Metrics, reload_seconds: float,
    ):  # fmt: skip
        self.registry, self.architectures, self.device = registry, dict(architectures), device
        self._between_batches, self._metrics, self._seconds = between_batches, metrics, reload_seconds
        self._champions: dict[str, LoadedNetwork] = {}
        self._pinned: OrderedDict[tuple[str, int], LoadedNetwork] = OrderedDict()
        self._failed: dict[str, tuple[int, float, str]] = {}
        self._loading = threading.RLock()
        self._stop = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="weights", daemon=True)
        self.looked = threading.Event()

    def start(self) -> None:
        self._follower.start()

    def stop(self) -> None:
        self._stop.set()
        if self._follower.is_alive():
            self._follower.join(timeout=5)

    def get(self, name: str) -> LoadedNetwork | None:
        """The champion that serves, or None while there is none."""
        return self._champions.get(name)

    def versions(self) -> dict[str, int]:
        """The champion version of each model that is loaded."""
        return {name: network.version for name, network in self._champions.items()}

    def failures(self) -> dict[str, str]:
        """Why the champion pointed at is not the one that serves, by model."""
        return {name: message for name, (_, _, message) in self._failed.items()}

    def pin(self, name: str, version: int) -> LoadedNetwork:
        """This very version; loads it if need be (blocks). Raises UnknownModel, UnknownVersion, BrokenModel."""
        champion = self._champions.get(name)
        if champion is not None and champion.version == version:
            return champion
        with self._loading:
            network = self._pinned.pop((name, version), None)
            if network is None:
                network = load_network(self.registry, name, version, self.architectures.get(name), self.device)
                self._warm(network)
            self._pinned[name, version] = network
            while len(self._pinned) > PINNED_VERSIONS:
                self._pinned.popitem(last=False)
        return network

    def look(self, name: str, *, insist: bool = False) -> int | None:
        """Load the champion that the pointer names, if another serves; returns the version that serves then.

        insist: also try one that has failed before. Raises UnknownModel without a champion, BrokenModel when it fails.
        """
        with self._loading:
            version = self.registry.champion(name)
            serving = self._champions.get(name)
            if version is None:
                raise UnknownModel(f"model {name!r} has no champion yet")
            if serving is not None and serving.version == version:
                self._failed.pop(name, None)
                return version
            failed = self._failed.get(name)
            if failed and failed[0] == version and not insist and time.monotonic() < failed[1] + RETRY_SECONDS:
                return serving.version if serving else None
            self._replace(name, version, serving)
            return version

    def _replace(self, name: str, version: int, serving: LoadedNetwork | None) -> None:
        started = time.monotonic()
        try:
            network = self._pinned.get((name, version)) or load_network(
                self.registry, name, version, self.architectures.get(name), self.device
            )
            self._warm(network, swap=True)
        except Exception as error:
            self._failed[name] = (version, time.monotonic(), str(error))
            self._metrics.reloads.labels(name, "failed").inc()
            kept = f"version {serving.version} goes on" if serving else "the model has no version that serves"
            logger.error("%s version %d is refused (%s): %s", name, version, error, kept)
            raise
        self._failed.pop(name, None)
        if serving is not None:  # a request that pins it, or a rollback, finds it here
            self._pinned[name, serving.version] = serving
        self._metrics.reloads.labels(name, "loaded").inc()
        self._metrics.model_version.labels(name).set(version)
        logger.info("%s version %d serves (loaded in %.0f ms)", name, version, (time.monotonic() - started) * 1e3)

    def _warm(self, network: LoadedNetwork, swap: bool = False) -> None:
        """First run on the device, in the inference thread, between batches; then the swap."""

        def run() -> None:
            with torch.inference_mode():
                network.module(*(tensor.to(self.device) for tensor in network.module.golden_batch()))  # type: ignore[operator]
            if swap:
                self._champions[network.name] = network

        self._between_batches(run).result(timeout=HAND_OVER_SECONDS)

    def _follow(self) -> None:
        while True:
            for name in self.architectures:
                try:
                    self.look(name)
                except (UnknownModel, UnknownVersion, BrokenModel):
                    pass  # no champion yet, or refused: `_replace` has said so once
                except Exception:
                    logger.exception("looking for a new version of %s failed", name)
            self.looked.set()
            if self._stop.wait(self._seconds):
                return
