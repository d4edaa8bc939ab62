"""Values of pushes and grasps at all cells of a map by a network of the registry, for policies of published work."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from grasp_client.contract import ModelRef
from planning.base import LoadedNetwork
from planning.networks.device import pick_device, to_device
from planning.networks.loading import load_network
from shared.maps.orthographic import OrthographicMaps
from shared.registry import Registry, UnknownVersion

MODEL = "push-grasp-qmap"
"""Name in the registry, and of the architecture."""
GRASP_FROM = 0.0
"""Value of a grasp from which on it is made where the card does not say it: a logit, of one half."""


@dataclass(frozen=True)
class Qmaps:
    """A version of the network. Call it with what is seen from above."""

    network: LoadedNetwork

    @property
    def ref(self) -> ModelRef:
        return self.network.ref

    @property
    def grasp_from(self) -> float:
        """Value from which on a grasp of the goal is made."""
        view = (self.network.card.model_extra or {}).get("view") or {}
        return float(view.get("grasp_from", GRASP_FROM))

    def __call__(self, seen: OrthographicMaps) -> np.ndarray:
        """Values (2, rotations, CELLS, CELLS) float32 of pushes and grasps."""
        planes = [seen.colour.transpose(2, 0, 1) / np.float32(255), seen.height[None], seen.goal[None]]
        maps = to_device(np.concatenate(planes).astype(np.float32)[None], self.network.device)
        with torch.inference_mode():
            values: np.ndarray = self.network.module(maps)[0].float().cpu().numpy()
        return values


def load_qmaps(models_dir: Path) -> Qmaps:
    """The champion of a registry. Raises RegistryError without one, or for a broken one."""
    registry = Registry(models_dir)
    version = registry.champion(MODEL)
    if version is None:
        raise UnknownVersion(f"model {MODEL!r} in {registry.root} has no champion: train or import one")
    return Qmaps(load_network(registry, MODEL, version, MODEL, pick_device("auto")))
