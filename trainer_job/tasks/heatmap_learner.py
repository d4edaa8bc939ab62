"""What a colour network sees of an outcome: a window of the picture around the grasp, and the map that the grasp belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from grasp_client.contract import GraspMeta, Outcome
from shared.networks.mobileunet import MobileUNet
from shared.networks.rgb_input import rays
from shared.registry import ModelCard
from trainer_job.data.shard_images import map_of, picture_of
from trainer_job.tasks.base import Learner
from trainer_job.tasks.heatmap_task import at
from trainer_job.training.augmentation import Labels, augment_images
from trainer_job.training.recipe import AugmentRecipe, TrainingRecipe

Self = TypeVar("Self", bound="HeatmapLearner")
WINDOW, TRAINED = 0.6, 0.7
"""Side of a window as a share of the network's picture, and side of what is trained on as a share of the window: turned by any
angle it still shows nothing from beyond the window. Both are rounded to multiples of STRIDE."""
STRIDE = 16


@dataclass(frozen=True)
class HeatmapLearner(Learner):
    """Heat maps of colour pictures. A view is a window (3, side, side) of the picture in the network's size, 0 to 255; facts:
    row and column of the grasp in it, the map, principal point (u, v) and focal length, in the window's pixels."""

    view_dtype: str = "uint8"
    facts: int = 6
    image: str = "rgb"
    changes: AugmentRecipe = field(default_factory=AugmentRecipe)

    def of(self: Self, card: ModelCard) -> Self:
        view = (card.model_extra or {}).get("view") or self.view
        return super().of(card)._seeing(view)

    def _seeing(self: Self, view: dict[str, float]) -> Self:
        network = self.network
        side = _strides(WINDOW * network.image_size)
        seen = [network.image_size, network.angles, network.tip_heights, network.inputs, sorted(view.items())]
        digest = hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:12]
        changes = self.changes.model_copy(update={"window": _strides(TRAINED * side)})
        return replace(self, view=view, view_name=f"window-1-{digest}", view_shape=(3, side, side), changes=changes)

    @cached_property
    def network(self) -> MobileUNet:
        """For what its parameters say of its maps."""
        network = cast(MobileUNet, self.build())
        if network.inputs != 3:
            raise ValueError(f"{self.name}: expected a network of colour alone, got {network.inputs} input channels")
        return network

    def learnable(self, meta: Mapping[str, Any]) -> bool:
        """Of a network with heights of the tips only what it can propose: straight down, wide open, at one of its heights."""
        grasp = meta["grasp"]
        if grasp["kind"] != self.kind or self.image not in meta["images"]:
            return False
        if meta["contact_rule"] != "strict" or meta["failure"] == "unreachable":
            return False
        (u, v), (rows, columns) = grasp["center_px"], meta["images"][self.image]["shape"][:2]
        inside = 0 <= u <= columns - 1 and 0 <= v <= rows - 1
        return inside and map_of(GraspMeta.model_validate(meta), self.network) is not None

    def views(self, outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
        rgb, first = np.asarray(outcomes[0].images[self.image]), outcomes[0].meta
        picture = picture_of(rgb, first, self.network, self.view.get("pixels_per_metre"))
        principal, focal = picture.lens(first.camera, self.view.get("focal_px"))
        side = self.view_shape[1]
        padded = cv2.copyMakeBorder(picture.image, side, side, side, side, cv2.BORDER_REPLICATE)
        windows, facts = [], []
        for place in picture.to_picture(np.array([outcome.meta.grasp.center_px for outcome in outcomes])):
            u, v = (round(float(value)) for value in place - (side - 1) / 2)
            windows.append(padded[v + side : v + 2 * side, u + side : u + 2 * side].transpose(2, 0, 1))
            facts.append([place[1] - v, place[0] - u, 0.0, principal[0, 0] - u, principal[0, 1] - v, focal[0]])
        table = np.array(facts, np.float32)
        table[:, 2] = [cast(int, map_of(outcome.meta, self.network)) for outcome in outcomes]
        return np.stack(windows), table

    def logits(self, network: nn.Module, views: Tensor, facts: Tensor) -> Tensor:
        images, size = views / 255, (views.shape[2], views.shape[3])
        plain: Any = getattr(network, "module", network)  # within what trains in parallel
        if plain.rays:
            lenses = facts[:, 3:].cpu().numpy()
            images = torch.cat([images, torch.from_numpy(rays(size, lenses[:, :2], lenses[:, 2])).to(images.device)], 1)
        return at(network(images.contiguous(memory_format=torch.channels_last)), _labels(facts, size))

    def augment(self, views: Tensor, facts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Turns, mirrors and shifts with the grasp, and other colours; a smaller window comes out."""
        labels = _labels(facts, (views.shape[2], views.shape[3]))
        angles = torch.tensor(self.network.angles, device=views.device)
        images, moved = augment_images(views / 255, labels, angles, self.changes, generator)
        assert moved.lenses is not None
        return 255 * images, torch.cat([moved.place, moved.map[:, None].to(facts.dtype), moved.lenses], 1)


def heatmap_learner(recipe: TrainingRecipe, planner: str) -> HeatmapLearner:
    """The learner of a recipe on shards, whose model `planner` serves."""
    learner = HeatmapLearner(
        recipe.name, planner, recipe.architecture, recipe.parameters, recipe.kind, recipe.view, changes=recipe.augment
    )
    return learner._seeing(recipe.view)


def _labels(facts: Tensor, size: tuple[int, int]) -> Labels:
    """One grasp per window."""
    each = torch.arange(len(facts), device=facts.device)
    return Labels(each, facts[:, :2], facts[:, 2].long(), facts.new_zeros(len(facts)), size, lenses=facts[:, 3:])


def _strides(pixels: float) -> int:
    return max(STRIDE, STRIDE * round(pixels / STRIDE))
