"""The critic of planner `refined`: what this cell's outcomes say of where its hands really go (shared.networks.cell_critic)."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from grasp_client.contract import GraspMeta, Outcome
from shared.features.hand_frame import CHANNELS, COLUMNS, ROWS, patches
from shared.features.place import frame_of, places
from shared.grasp_poses import hands_of
from shared.maps.heightmap import hand_scale, project
from shared.networks.cell_critic import PLACE, CellCritic
from shared.outcome_codec import depth_metres
from shared.registry import Registry
from trainer_job.data.examples import FeatureBatch
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.tasks.base import FeatureTask
from trainer_job.tasks.dense import HAND_FRAME

FROM_ABOVE = math.radians(45)
"""The hands of a cell are seen in one map along gravity: one that leans more would meet more of what that does not show than of
what it does, rad."""
SCORER = "dense"
"""Model whose champion lends its weights."""


class RefineTask(FeatureTask):
    """Patches of told poses, and the poses themselves: those of `dense` may be mirrored, but no pose of a cell."""

    architectures = ("cell-critic",)
    max_tilt = FROM_ABOVE
    blended = False
    own_schedule = True

    @cached_property
    def spec(self) -> FeatureSpec:
        return FeatureSpec(f"told-{HAND_FRAME}", (CHANNELS, ROWS, COLUMNS), aux=PLACE)

    def prepare(self, network: nn.Module, registry: Registry) -> None:
        """Copies the scorer from the champion of `dense`, and how far its logits are to be trusted."""
        assert isinstance(network, CellCritic)
        version = registry.champion(SCORER)
        if version is None:
            raise ValueError(f"{self.recipe.name} starts from the champion of {SCORER!r}, and {registry.root} has none")
        network.take_scorer({name: value.float() for name, value in load(registry.read_weights(SCORER, version)).items()})
        network.set_gain(_gain(registry.card(SCORER, version).calibration))

    def features(self, outcomes: Sequence[Outcome[GraspMeta]]) -> tuple[np.ndarray, np.ndarray]:
        meta = outcomes[0].meta
        assert meta.camera is not None  # `refusal` says so
        pose = None if meta.camera_pose is None else np.asarray(meta.camera_pose, dtype=float)
        scene = project(depth_metres(outcomes[0]), meta.camera, pose, scale=hand_scale(meta.gripper))
        hands = hands_of(scene.pose, [outcome.meta.grasp for outcome in outcomes], meta.gripper)
        seen = patches(scene, hands, meta.gripper)
        return seen.numpy(), places(hands, frame_of(scene.pose, pose)).numpy()

    def augment(self, batch: FeatureBatch, noise: torch.Generator | None) -> FeatureBatch:
        """As it is: to learn eight weights is no temptation to learn by heart."""
        return batch

    def logits(self, network: nn.Module, features: Tensor, aux: Tensor) -> Tensor:
        logits: Tensor = network(features, aux)
        return logits


def _gain(calibration: Mapping[str, Any]) -> float:
    """What a calibration multiplies logits by in usual circumstances."""
    if calibration.get("kind") == "temperature":
        return 1 / float(calibration["value"])
    return float(calibration.get("slope", 1.0))


TASK = RefineTask
