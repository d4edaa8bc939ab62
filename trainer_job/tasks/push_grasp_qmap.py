"""Values of pushes at every cell of a map (shared.networks.push_grasp_qmap), from executed ones, each at its cell and turn."""

import math
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grasp_client.contract import CameraIntrinsics, Outcome, OutcomeMeta, PushMeta
from shared.maps.orthographic import CELL, CELLS, HALF, OrthographicMaps, cell_of_place, orthographic
from shared.networks.push_grasp_qmap import COLOUR_MEAN, PLANES, Action, PushGraspQmap
from shared.outcome_codec import depth_metres
from shared.registry import Registry
from trainer_job.data.examples import Dataset, Examples, in_order
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.data.pictures import PictureBatch, Windows
from trainer_job.evaluation.metrics import Evaluation
from trainer_job.tasks.base import TrainingTask
from trainer_job.tasks.push import evaluation
from trainer_job.training.augmentation import Labels

HEIGHT_UNIT = 0.001
"""m of a height's byte."""


class PushGraspQmapTask(TrainingTask[PictureBatch, PictureBatch]):
    """Features are maps (5, 224, 224) of bytes: colour (its usual mean where none was kept), height in mm, 255 on the goal;
    beside them row, column and turn of what was executed. One of the two actions learns at a time: where there is a champion
    the other, and what pushes share with it, stays exactly as it is."""

    architectures = ("push-grasp-qmap",)
    outcome_kind = PushMeta.kind
    action: ClassVar[Action] = "push"
    evaluated_at_once = 16
    blended = False

    @cached_property
    def spec(self) -> FeatureSpec:
        return FeatureSpec(f"goal-maps-1-{self.action}-{self.outline.rotations}", (PLANES, CELLS, CELLS), "uint8", aux=3)

    def prepare(self, network: nn.Module, registry: Registry) -> None:
        """Freezes what the other action has learned, where there is a champion."""
        assert isinstance(network, PushGraspQmap)
        if registry.champion(self.recipe.name) is None:
            return
        own = {id(each) for module in network.own_modules(self.action) for each in module.parameters()}
        for parameter in network.parameters():
            parameter.requires_grad_(id(parameter) in own)

    def refusal(self, meta: Mapping[str, Any]) -> str | None:
        if self.image not in meta["images"] or "goal" not in meta["images"]:
            return "image"
        if meta["camera"] is None or meta["camera_pose"] is None or meta["push"]["start_base"] is None:
            return "no_metric_pose"
        if meta["blocked"]:
            return "blocked"
        start = np.asarray(meta["push"]["start_base"])[:2, 3]
        return None if np.abs(start).max() < HALF - CELL else "outside_map"

    def features(self, outcomes: Sequence[Outcome[Any]]) -> tuple[np.ndarray, np.ndarray]:
        maps: dict[bytes, np.ndarray] = {}
        for outcome in outcomes:
            goal = outcome.images["goal"]
            maps.setdefault(goal.tobytes(), planes(self.seen(outcome, goal > 0)))
        aux = []
        for outcome in outcomes:
            start, end = (np.asarray(each)[:2, 3] for each in (outcome.meta.push.start_base, outcome.meta.push.end_base))
            aux.append([*cell_of_place(start), self.turn_of(math.atan2(*(end - start)[::-1]))])
        return np.stack([maps[outcome.images["goal"].tobytes()] for outcome in outcomes]), np.array(aux, np.float32)

    def seen(self, outcome: Outcome[Any], mask: np.ndarray) -> OrthographicMaps:
        """Its images straight from above."""
        depth, meta = depth_metres(outcome), outcome.meta
        assert isinstance(meta, OutcomeMeta)
        assert isinstance(meta.camera, CameraIntrinsics)  # `refusal` says so
        grey = np.broadcast_to(np.rint(255 * np.array(COLOUR_MEAN)).astype(np.uint8), (*depth.shape, 3))
        return orthographic(depth, outcome.images.get("rgb", grey), mask, meta.camera, np.asarray(meta.camera_pose))

    def turn_of(self, angle: float) -> int:
        """Which turn is nearest to an angle from columns towards rows, rad."""
        rotations: int = self.outline.rotations
        return round(angle / (2 * math.pi) * rotations) % rotations

    def from_records(self, examples: Examples) -> Dataset[PictureBatch]:
        return Windows(examples)

    def augment(self, batch: PictureBatch, noise: torch.Generator | None) -> PictureBatch:
        """Exchanges left and right in half of the examples; heights in metres."""
        images, labels = batch.images.clone(), batch.labels
        images[:, 3] *= 255 * HEIGHT_UNIT
        if noise is not None:
            images, labels = self._mirrored(
                images, labels, torch.rand(len(images), generator=noise, device=images.device) < 0.5
            )
        return PictureBatch(images, labels)

    def _mirrored(self, images: Tensor, labels: Labels, which: Tensor) -> tuple[Tensor, Labels]:
        images = torch.where(which[:, None, None, None], images.flip(2), images)
        row, column = labels.place.unbind(1)
        row = torch.where(which, images.shape[2] - 1 - row, row)
        turn = torch.where(which, -labels.map % self.outline.rotations, labels.map)
        return images, Labels(labels.picture, torch.stack([row, column], 1), turn, labels.success, labels.size)

    def loss(self, network: nn.Module, batch: PictureBatch) -> Tensor:
        """Of the executed cell alone."""
        labels, logits = self.predict(network, batch)
        return F.binary_cross_entropy_with_logits(logits, labels)

    def predict(self, network: nn.Module, batch: PictureBatch) -> tuple[Tensor, Tensor]:
        assert isinstance(network, PushGraspQmap)
        if network.mask_trunk is not None and not next(network.mask_trunk.parameters()).requires_grad:
            network.mask_trunk.eval()  # what is frozen does not move its means either
        values = network.values(batch.images, self.action, batch.labels.map)
        row, column = batch.labels.place.long().unbind(1)
        return batch.labels.success, values[torch.arange(len(values), device=values.device), row, column]

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, data: Dataset[PictureBatch], device: torch.device) -> Evaluation:
        """As of the values of pushes; of one state are those that were tried on the same map."""
        network.to(device).eval()
        rows = []
        for batch in in_order(data, self.evaluated_at_once):
            labels, logits = self.predict(network, self.augment(batch, None).to(device))
            states = [zlib.crc32(image.numpy().tobytes()) for image in batch.images]
            rows.append(np.stack([labels.double().cpu().numpy(), logits.double().cpu().numpy(), states]))
        return evaluation(*np.concatenate([np.zeros((3, 0)), *rows], 1))


def planes(maps: OrthographicMaps) -> np.ndarray:
    """(PLANES, CELLS, CELLS) uint8: colour, height in HEIGHT_UNIT, 255 on the goal."""
    height = np.rint(maps.height / HEIGHT_UNIT).clip(0, 255).astype(np.uint8)
    return np.concatenate([maps.colour.transpose(2, 0, 1), height[None], 255 * maps.goal[None].astype(np.uint8)])


TASK = PushGraspQmapTask
