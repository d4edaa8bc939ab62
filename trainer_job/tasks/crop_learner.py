"""What a network of the GQ-CNN family sees of an outcome: a depth crop, and how far away the gripper is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from grasp_client.contract import Outcome
from shared.networks.crops import CropView, fill_holes
from shared.registry import ModelCard
from trainer_job.data.shard_crops import crop_of
from trainer_job.tasks.base import Learner, depth_metres
from trainer_job.tasks.crop_task import augment_crops
from trainer_job.training.recipe import AugmentRecipe, TrainingRecipe

Self = TypeVar("Self", bound="CropLearner")
SIDES = {"gqcnn4": 96, "gqcnn": 32}
"""Pixels along a side of the crops of each architecture, unless its parameters say otherwise."""


@dataclass(frozen=True)
class CropLearner(Learner):
    """Scorers of crops. A view is a crop (1, side, side) of depths relative to the tips, m: what remains is small enough for
    half precision. facts: depth of the tips, m, and lean of the approach, rad."""

    facts: int = 2
    noise: AugmentRecipe = field(default_factory=AugmentRecipe)

    @property
    def trainable(self) -> tuple[str, ...]:
        return tuple(SIDES)

    def of(self: Self, card: ModelCard) -> Self:
        view = (card.model_extra or {}).get("view") or self.view
        return super().of(card)._seeing(view)

    def _seeing(self: Self, view: dict[str, float]) -> Self:
        side = self.parameters.get("crop_size", SIDES[self.architecture])
        name = f"crop-1-{side}-" + "-".join(f"{view[key]:g}" for key in ("focal_px", "near", "far"))
        return replace(self, view=view, view_name=name, view_shape=(1, side, side))

    def views(self, outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
        depth, view = torch.from_numpy(fill_holes(depth_metres(outcomes[0]))), CropView(**self.view)
        seen = [crop_of(depth, outcome.meta, view, self.view_shape[1]) for outcome in outcomes]
        facts = np.array([pose for _, pose in seen], np.float32)
        return np.stack([image - pose[0] for image, pose in seen])[:, None], facts

    def logits(self, network: nn.Module, views: Tensor, facts: Tensor) -> Tensor:
        crops = (views + facts[:, :1, None, None]).contiguous(memory_format=torch.channels_last)
        plain: Any = getattr(network, "module", network)  # within what trains in parallel
        if not plain.takes_gripper_depth:
            return network(crops)
        return network(crops, facts if getattr(plain, "takes_lean", False) else facts[:, 0])

    def augment(self, views: Tensor, facts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise and mirrors of the recipe."""
        depth = facts[:, :1, None, None]
        return augment_crops(views + depth, self.noise, generator) - depth, facts


def crop_learner(recipe: TrainingRecipe, planner: str) -> CropLearner:
    """The learner of a recipe on shards, whose model `planner` serves."""
    learner = CropLearner(
        recipe.name, planner, recipe.architecture, recipe.parameters, recipe.kind, recipe.view, noise=recipe.augment
    )
    return learner._seeing(recipe.view)
