"""Weights follow the registry: load, check, warm, swap; a failure keeps what serves.

A version is loaded and checked off the inference thread (hash, names, shapes, finite numbers, a golden batch) and only then
handed over, to be warmed and swapped in between two batches.
"""

import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple

from inference_server.metrics import Metrics
from planning.base import LoadedNetwork
from planning.networks.loading import Loader, ModuleSlot
from shared.registry import BrokenModel, RegistryError, UnknownModel, UnknownVersion

logger = logging.getLogger(__name__)

PINNED_VERSIONS = 4
"""Versions beside the champions that stay loaded; the least recently asked for goes first."""
RETRY_SECONDS = 30.0
"""A champion that failed to load is tried again after this long (a network disk may have been away)."""
HAND_OVER_SECONDS = 60.0
NO_VERSION = 0
"""Stands for the version where the pointer names none."""

BetweenBatches = Callable[[Callable[[], Any]], "Future[Any]"]


class Candidate(NamedTuple):
    """A version that is being tested, and its share of the requests."""

    network: LoadedNetwork
    share: float
    key: str
    """With which `asks_candidate` tells whose requests they are."""


class Weights:
    """The networks of the planners' models. `start` follows the pointers; `get` and `pin` are thread-safe.

    candidate_share: of the requests that candidates shall answer; None: what the registry says of each. followed: architectures
    whose models are loaded whatever their names, beside those that the loader's planners name.
    """

    def __init__(
        self,
        loader: Loader,
        between_batches: BetweenBatches,
        metrics: Metrics,
        reload_seconds: float,
        candidate_share: float | None = None,
        followed: frozenset[str] = frozenset(),
    ):
        self._loader, self.registry, self.architectures = loader, loader.registry, loader.architectures
        self._between_batches, self._metrics, self._seconds = between_batches, metrics, reload_seconds
        self._candidate_share, self._followed = candidate_share, followed
        self._own_key = secrets.token_hex()
        self._passed: dict[str, int] = {}
        """Champions of models that are not followed."""
        self.champions: dict[str, LoadedNetwork] = {}
        """By model, what serves now."""
        self.candidates: dict[str, Candidate] = {}
        """By model, the version that is being tested on a share of the requests, when it is loaded."""
        self._pinned: OrderedDict[tuple[str, int], LoadedNetwork] = OrderedDict()
        self._failed: dict[str, tuple[int, float, str]] = {}
        self._failed_candidates: dict[str, int] = {}
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
        return self.champions.get(name)

    def versions(self) -> dict[str, int]:
        """The champion version of each model that is loaded."""
        return {name: network.version for name, network in self.champions.items()}

    def failures(self) -> dict[str, str]:
        """Why the champion pointed at is not the one that serves, by model."""
        return {name: message for name, (_, _, message) in self._failed.items()}

    def pin(self, name: str, version: int) -> LoadedNetwork:
        """This very version; loads it if need be (blocks). Raises UnknownModel, UnknownVersion, BrokenModel."""
        champion = self.champions.get(name)
        if champion is not None and champion.version == version:
            return champion
        with self._loading:
            network = self._pinned.get((name, version))
            if network is None:
                network, slot = self._loader.load(name, version)
                self._hand_over(slot)
            self._keep(network)
        return network

    def _keep(self, network: LoadedNetwork) -> None:
        self._pinned[network.name, network.version] = network
        self._pinned.move_to_end((network.name, network.version))
        while len(self._pinned) > PINNED_VERSIONS:
            self._pinned.popitem(last=False)

    def look(self, name: str, *, insist: bool = False) -> int | None:
        """Load the champion that the pointer names, if another serves; returns the version that serves then.

        insist: also try one that has failed before. Raises UnknownModel without a champion, BrokenModel when it fails.
        """
        with self._loading:
            version = self.registry.champion(name)
            serving = self.champions.get(name)
            if version is None:
                if not self._failed_lately(name, NO_VERSION) and (fault := self.registry.fault(name)):
                    self._fall_back(name, NO_VERSION, fault)
                raise UnknownModel(f"model {name!r} has no champion yet")
            if serving is not None and serving.version == version:
                self._failed.pop(name, None)
                return version
            if not insist and self._failed_lately(name, version):
                return serving.version if serving else None
            self._replace(name, version, serving)
            return version

    def _failed_lately(self, name: str, version: int) -> bool:
        failed = self._failed.get(name)
        return failed is not None and failed[0] == version and time.monotonic() < failed[1] + RETRY_SECONDS

    def _replace(self, name: str, version: int, serving: LoadedNetwork | None) -> None:
        started = time.monotonic()
        try:
            network, slot = self._pinned.get((name, version)), None
            if network is None:
                network, slot = self._loader.load(name, version)
            self._hand_over(slot, network)
        except Exception as error:
            self._metrics.reloads.labels(name, "failed").inc()
            self._fall_back(name, version, str(error))
            raise
        self._failed.pop(name, None)
        if serving is not None:  # a request that pins it, or a rollback, finds it here
            self._keep(serving)
        self._metrics.reloads.labels(name, "loaded").inc()
        self._metrics.model_version.labels(name).set(version)
        logger.info("%s version %d serves (loaded in %.0f ms)", name, version, (time.monotonic() - started) * 1e3)

    def _fall_back(self, name: str, version: int, why: str) -> None:
        """Keeps what serves, else has another intact version serve; says why once."""
        told = self._failed.get(name)
        self._failed[name] = (version, time.monotonic(), why)
        if name not in self.champions:
            for other in self.registry.fallbacks(name):
                with suppress(BrokenModel):
                    network, slot = self._loader.load(name, other)
                    self._hand_over(slot, network)
                    self._metrics.model_version.labels(name).set(other)
                    break
        if told is None or told[0] != version or told[2] != why:
            serving = self.champions.get(name)
            kept = f"version {serving.version} serves" if serving else "the model has no version that serves"
            logger.error("%s version %d is refused (%s): %s", name, version, why, kept)

    def _hand_over(self, slot: ModuleSlot | None, champion: LoadedNetwork | None = None) -> None:
        """First run, in the inference thread between batches; then the swap, if there is a new champion."""

        def run() -> None:
            if slot is not None:
                slot.prepare()
            if champion is not None:
                self.champions[champion.name] = champion

        self._between_batches(run).result(timeout=HAND_OVER_SECONDS)

    def _look_at_candidate(self, name: str) -> None:
        """Have the version loaded that the candidate pointer names; one that fails is said once and left out."""
        version, (share, key) = self.registry.candidate(name), self._share_of_candidate(name)
        current = self.candidates.get(name)
        if version is None or version == self.registry.champion(name) or not share:
            self.candidates.pop(name, None)
        elif current is not None and current.network.version == version:
            self.candidates[name] = current._replace(share=share, key=key)
        elif self._failed_candidates.get(name) != version:
            self.candidates.pop(name, None)
            try:
                self.candidates[name] = Candidate(self.pin(name, version), share, key)
                logger.info("%s version %d is a candidate for %.0f %% of the requests", name, version, 100 * share)
            except RegistryError as error:
                self._failed_candidates[name] = version
                logger.error("candidate %s version %d is refused (%s): the champion answers alone", name, version, error)

    def _share_of_candidate(self, name: str) -> tuple[float, str]:
        """Of the requests, and the key that chooses them: the trainer's while it tests on served grasps, else this server's."""
        test = self.registry.ab_test(name)
        share = self._candidate_share if self._candidate_share is not None else test.share if test else 0.0
        return share, test.key if test and test.key else self._own_key

    def _find_more(self) -> None:
        """Follow, from now on, models of the followed architectures that nobody named."""
        for name in self.registry.names() if self._followed else ():
            version = self.registry.champion(name)
            if name in self.architectures or version is None or self._passed.get(name) == version:
                continue
            with suppress(RegistryError):
                architecture = self.registry.card(name, version).architecture
                self._passed[name] = version
                if architecture in self._followed:
                    self.architectures[name] = architecture

    def _follow(self) -> None:
        while True:
            self._find_more()
            for name in self.architectures:
                try:
                    self.look(name)
                except (UnknownModel, UnknownVersion, BrokenModel):
                    pass  # no champion yet, or refused: `_replace` has said so once
                except Exception:
                    logger.exception("looking for a new version of %s failed", name)
                self._look_at_candidate(name)
            self.looked.set()
            if self._stop.wait(self._seconds):
                return
