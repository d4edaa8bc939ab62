"""What a network makes of a scene, layer by layer, for people to look at."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from planning.base import LoadedNetwork, PlanItem, Planner
from planning.batched_inference import plan_batched
from shared.networks.layers import ConvUnit

SHOWN = (ConvUnit, nn.Conv2d, nn.Linear, nn.ConvTranspose2d)
"""Modules whose outputs are shown; the convolution within a unit is not called where it is folded with its norm."""
MOST_CHANNELS = 64
MOST_SIDE = 160
"""Maps with longer sides are sampled."""


@dataclass(frozen=True)
class LayerActivation:
    """One layer for one row of a network's last pass. maps: (channels, rows, columns) float32; of a vector (1, 1, length)."""

    name: str
    kind: str
    maps: np.ndarray


@dataclass
class ActivationRecorder:
    """What the layers of a module put out while `recording`: the last pass counts."""

    module: nn.Module
    inputs: tuple[Tensor, ...] = ()
    outputs: dict[str, Tensor] = field(default_factory=dict)
    final: Tensor | None = None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Until the block ends. The module must be called in this thread alone meanwhile."""
        handles = [self.module.register_forward_hook(self._end)]
        for name, layer in self.module.named_modules():
            if isinstance(layer, SHOWN):
                handles.append(layer.register_forward_hook(lambda layer, _, output, name=name: self._keep(name, output)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, name: str, output: Tensor) -> None:
        self.outputs[name] = output

    def _end(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        self.inputs, self.final = inputs, output[0] if isinstance(output, tuple) else output

    def layers(self) -> list[LayerActivation]:
        """Inputs and layers for the row that the network thinks best of; none where it was not called."""
        if self.final is None:
            return []
        row = int(self.final.flatten(1).amax(1).argmax()) if self.final.ndim > 1 else int(self.final.argmax())
        kinds = {name: type(layer).__name__ for name, layer in self.module.named_modules()}
        shown = [(f"input {number}", "input", each) for number, each in enumerate(self.inputs) if each.ndim > 1]
        shown += [(name, kinds[name], each) for name, each in self.outputs.items()]
        return [LayerActivation(name, kind, _maps(each[row])) for name, kind, each in shown if len(each) > row]


def activations(planner: Planner, network: LoadedNetwork, item: PlanItem) -> list[LayerActivation]:
    """Layers of `network` for the grasp that it thinks best of among those that `planner` asks it about. Runs a plan."""
    recorder = ActivationRecorder(network.module)
    with recorder.recording():
        plan_batched([(planner, network, item)])
    return recorder.layers()


def _maps(output: Tensor) -> np.ndarray:
    """(channels, rows, columns) of one row of a batch, the first MOST_CHANNELS, at most MOST_SIDE cells a side."""
    maps = output.float().reshape(1, 1, -1) if output.ndim < 2 else output.float().reshape(-1, *output.shape[-2:])
    stride = max(1, math.ceil(max(maps.shape[1:]) / MOST_SIDE)) if output.ndim > 1 else 1
    found: np.ndarray = maps[:MOST_CHANNELS, ::stride, ::stride].cpu().numpy()
    return found


def weight_changes(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, float]:
    """How far each tensor of floats that both versions have moved, as a share of its size before (Frobenius norms)."""
    both = [name for name, each in before.items() if name in after and after[name].shape == each.shape]
    return {
        name: float(
            torch.linalg.vector_norm(after[name].float() - each.float())
            / torch.linalg.vector_norm(each.float()).clamp(min=1e-12)
        )
        for name, each in before.items()
        if name in both and each.is_floating_point() and each.numel() > 1
    }
