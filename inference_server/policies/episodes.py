"""Which version of which policy answers a step: the one that answered the episode's first."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from grasp_client.contract import ActRequest
from grasp_client.observation import Observation
from inference_server.models.weights import Weights
from planning.base import LoadedNetwork
from shared.registry import UnknownModel

EPISODES = 4096
"""Remembered at once; the one that has been silent longest is forgotten first."""
SILENCE_SECONDS = 300.0
"""An episode that says nothing for so long is over."""
PREFERRED = {"depth": ("closed-loop-depth",), "rgb": ("closed-loop-rgb", "closed-loop-grey")}
"""Policies by what is sent; the first that serves answers who asks for `auto`."""


class Policies:
    """The policies that serve, and the episodes in which they act. For the event loop alone."""

    def __init__(self, weights: Weights, clock: Callable[[], float] = time.monotonic):
        self._weights, self._clock = weights, clock
        self._episodes: OrderedDict[tuple[str, str, str], tuple[LoadedNetwork, float]] = OrderedDict()

    async def choose(self, owner: str, observation: Observation, options: ActRequest) -> LoadedNetwork:
        """The version for a step of an owner's episode. Raises RegistryError for a policy or version that is not there."""
        name = self._name(observation, options)
        if options.model_version is not None:
            return await asyncio.to_thread(self._weights.pin, name, options.model_version)
        key = (owner, name, options.episode or "")
        begun = self._episodes.get(key) if options.episode is not None else None
        network = begun[0] if begun and self._clock() - begun[1] < SILENCE_SECONDS else await self._serving(name)
        if options.episode is not None:
            self._remember(key, network)
        return network

    async def _serving(self, name: str) -> LoadedNetwork:
        found = self._weights.get(name)
        if found is not None:
            return found
        version = self._weights.registry.champion(name)
        if version is None:
            raise UnknownModel(f"no policy {name!r} with a champion: `grasploop train closed-loop` learns one")
        return await asyncio.to_thread(self._weights.pin, name, version)

    def _name(self, observation: Observation, options: ActRequest) -> str:
        if options.policy != "auto":
            return options.policy
        names = PREFERRED["depth" if observation.depth is not None else "rgb"]
        return next((name for name in names if self._weights.get(name)), names[0])

    def _remember(self, key: tuple[str, str, str], network: LoadedNetwork) -> None:
        now = self._clock()
        self._episodes[key] = network, now
        self._episodes.move_to_end(key)
        while len(self._episodes) > EPISODES or now - next(iter(self._episodes.values()))[1] > SILENCE_SECONDS:
            self._episodes.popitem(last=False)
