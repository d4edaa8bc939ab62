"""From a version in the registry to a network that may serve: checked, on its device, ready to run.

Modules are reused: once nobody holds a network any more, the next version of the same architecture is copied into its tensors,
so that memory stays flat over reloads and what was recorded for a GPU stays valid.
"""

import copy
import json
import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from planning.base import LoadedNetwork
from planning.networks.device import Execution
from planning.networks.forward import Forward
from shared.networks import build_network
from shared.registry import BrokenModel, ModelCard, Registry

SPARE = 2
"""Unused modules of one architecture that are kept."""


class ModuleSlot:
    """A module on its device whose tensors are filled with one version after the other."""

    def __init__(self, card: ModelCard, execution: Execution):
        self.module = build_network(card.architecture, card.parameters).to(execution.device).eval()
        # Convolutions of few channels run up to twice as fast with the channels of a pixel side by side.
        self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._forward = None if execution.plain else Forward(self.module, execution)
        self._prepared = False

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy weights in place. Raises RuntimeError when names or shapes differ."""
        self.module.load_state_dict(tensors, strict=True)

    def golden_outputs(self) -> tuple[Tensor, ...]:
        """What the weights make of the module's golden batch, in float32."""
        device = next(self.module.parameters()).device
        with torch.inference_mode():
            outputs = self.module(*(each.to(device) for each in self.module.golden_batch()))  # type: ignore[operator]
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def view(self) -> nn.Module:
        """The module under an identity of its own, with the same tensors: planners may keep what they derive from a module."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        shell = copy.deepcopy(self.module, {id(tensor): tensor for tensor in tensors})
        if self._forward is not None:
            shell.forward = self._forward
        return shell

    def prepare(self) -> None:
        """The first run, in the thread that will do the others; returns at once when that has been done."""
        if self._prepared:
            return
        if self._forward is not None:
            self._forward.prepare(self.module.golden_batch())  # type: ignore[operator]
        else:
            self.golden_outputs()
        self._prepared = True


class Loader:
    """Versions of a registry for one Execution. architectures: what the planners expect of each model."""

    def __init__(self, registry: Registry, architectures: Mapping[str, str | None], execution: Execution):
        self.registry, self.architectures, self.execution = registry, dict(architectures), execution
        self._spare: defaultdict[str, list[ModuleSlot]] = defaultdict(list)

    def load(self, name: str, version: int) -> tuple[LoadedNetwork, ModuleSlot]:
        """A version, checked; its slot is still to be prepared. Raises UnknownModel, UnknownVersion, or BrokenModel that says
        what is wrong with it."""
        card = self.registry.card(name, version)
        expected = self.architectures.get(name)
        if expected is not None and card.architecture != expected:
            raise BrokenModel(
                f"{name} version {version} is of architecture {card.architecture!r}, its planner needs {expected!r}"
            )
        key = json.dumps([card.architecture, card.parameters], sort_keys=True)
        slot = self._filled(key, name, version, card)
        network = LoadedNetwork(name, version, slot.view(), card, self.execution.device)
        weakref.finalize(network, self._give_back, key, slot).atexit = False
        return network, slot

    def _filled(self, key: str, name: str, version: int, card: ModelCard) -> ModuleSlot:
        slot = None
        try:
            tensors = load_tensors(self.registry.read_weights(name, version))
            slot = self._spare[key].pop() if self._spare[key] else ModuleSlot(card, self.execution)
            slot.fill(tensors)
            with one_thread():
                self._check(slot, tensors, f"{name} version {version}")
        except (SafetensorError, ValueError, RuntimeError, OSError) as error:
            self._give_back(key, slot)
            raise BrokenModel(f"{name} version {version} cannot be loaded: {' '.join(str(error).split())[:500]}") from error
        except BrokenModel:
            self._give_back(key, slot)
            raise
        return slot

    def _check(self, slot: ModuleSlot, tensors: Mapping[str, Tensor], what: str) -> None:
        bad = [key for key, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
        if bad:
            raise BrokenModel(f"{what} has NaN or infinite weights in {', '.join(bad[:5])}")
        if not all(torch.isfinite(output).all() for output in slot.golden_outputs()):
            raise BrokenModel(f"{what} answers its golden batch with NaN or infinity")

    def _give_back(self, key: str, slot: ModuleSlot | None) -> None:
        if slot is not None and len(self._spare[key]) < SPARE:
            self._spare[key].append(slot)


@contextmanager
def one_thread() -> Iterator[None]:
    """Checking a version must not take the cores from the answers that are being computed meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_network(registry: Registry, name: str, version: int, architecture: str | None, device: torch.device) -> LoadedNetwork:
    """One version for use in this thread. Raises as `Loader.load`."""
    network, slot = Loader(registry, {name: architecture}, Execution(device)).load(name, version)
    slot.prepare()
    return network
