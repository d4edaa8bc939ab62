"""Networks of the GQ-CNN family: a depth crop round the grasp, and how far away the gripper is."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grasp_client.contract import GraspMeta, Outcome
from grasp_client.geometry import project
from shared.features.crops import CropView, crop, cup_crop_view, fill_holes
from shared.grasp_poses import STEEPEST
from shared.outcome_codec import depth_metres
from trainer_job.data import dexnet
from trainer_job.data.examples import Dataset, FeatureBatch
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.data.replay_buffer import TrainingData
from trainer_job.evaluation.figures import draw_crops
from trainer_job.evaluation.metrics import sigmoid
from trainer_job.tasks.base import MAX_TILT, FeatureTask, drawn_by_share
from trainer_job.training.augmentation import smooth_noise
from trainer_job.training.recipe import AugmentRecipe, TrainingRecipe

PICTURED = 25
"""Crops in a picture of predictions."""


class CropTask(FeatureTask):
    """Scorers of crops. Features are crops (1, side, side) of depths relative to the tips or the cup, m: what remains is small
    enough for half precision. aux: depth of the tips, m, and lean of the approach from the optical axis, rad."""

    architectures = ("gqcnn4", "gqcnn", "efficientnet")
    evaluated_at_once = 512

    def __init__(self, recipe: TrainingRecipe) -> None:
        super().__init__(recipe)
        # Crops of cups show the surface that the cup lies on, however it leans; those of jaws do not show how the jaw leans.
        self.max_tilt = STEEPEST if recipe.kind == "suction" else MAX_TILT

    @cached_property
    def spec(self) -> FeatureSpec:
        side = self.outline.crop_size
        seen = "-".join(f"{self.recipe.view[key]:g}" for key in ("focal_px", "near", "far"))
        return FeatureSpec(f"crop-1-{side}-{seen}", (1, side, side), aux=2)

    def features(self, outcomes: Sequence[Outcome[GraspMeta]]) -> tuple[np.ndarray, np.ndarray]:
        depth, view = torch.from_numpy(fill_holes(depth_metres(outcomes[0]))), CropView(**self.recipe.view)
        seen = [crop_of(depth, outcome.meta, view, self.spec.shape[1]) for outcome in outcomes]
        aux = np.array([pose for _, pose in seen], np.float32)
        return np.stack([image - pose[0] for image, pose in seen])[:, None], aux

    def read(self, folders: Sequence[Path], validation: Sequence[Path], cache: Path, most: int) -> TrainingData[FeatureBatch]:
        """Also published tensors, one folder."""
        data = self.recipe.data
        if data.format not in dexnet.FORMATS:
            return super().read(folders, validation, cache, most)
        if len(folders) != 1 or validation:
            raise ValueError(
                f"expected one folder of {data.format} tensors, got {len(folders)} and {len(validation)} to validate"
            )
        crops = dexnet.read(folders[0], data.format, cache)
        return TrainingData(*crops.split(data.split, data.validation_share, self.recipe.seed))

    def sampling_weights(self, data: Dataset[FeatureBatch], network: nn.Module) -> np.ndarray | None:
        share = self.recipe.data.positive_share
        return None if share is None else drawn_by_share(data.labels > 0, share)  # type: ignore[attr-defined]

    def augment(self, batch: FeatureBatch, noise: torch.Generator | None) -> FeatureBatch:
        """Noise and mirrors of the recipe."""
        if noise is None:
            return batch
        depth = batch.aux[:, :1, None, None]
        return replace(batch, features=augment_crops(batch.features + depth, self.recipe.augment, noise) - depth)

    def logits(self, network: nn.Module, features: Tensor, aux: Tensor) -> Tensor:
        crops = (features + aux[:, :1, None, None]).contiguous(memory_format=torch.channels_last)
        plain: Any = getattr(network, "module", network)  # within what trains in parallel
        pose = () if not plain.takes_gripper_depth else (aux if getattr(plain, "takes_lean", False) else aux[:, 0],)
        logits: Tensor = network(crops, *pose)
        return logits

    @torch.inference_mode()
    def picture(self, network: nn.Module, data: Dataset[FeatureBatch], device: torch.device, path: Path) -> None:
        """Crops spread over the held-out ones."""
        rows = np.linspace(0, len(data) - 1, min(PICTURED, len(data))).astype(int)
        batch = data.batch(rows)
        quality = sigmoid(self.predict(network, batch.to(device))[1].cpu().numpy())
        draw_crops(crops_of(batch), batch.labels.numpy() > 0, quality, path)


def crops_of(batch: FeatureBatch) -> np.ndarray:
    """(N, side, side) m from the camera."""
    return (batch.features[:, 0] + batch.aux[:, :1, None]).numpy()


def crop_of(depth: Tensor, meta: GraspMeta, view: CropView, size: int) -> tuple[np.ndarray, tuple[float, float]]:
    """The crop (size, size), m, and the depth of the tips or the cup, m, with the approach's angle from the optical axis, rad.

    depth: (H, W) float32 metres without holes. Raises ValueError for a grasp behind the camera.
    """
    if meta.camera is None:
        raise ValueError("expected outcomes with a camera")
    pose = np.asarray(meta.grasp.pose_camera, dtype=float)
    tips = pose[:3, 3] + meta.gripper.tcp_offset * pose[:3, 2]
    if tips[2] <= 0:
        raise ValueError("the grasp is behind the camera")
    ends = project(tips + 0.01 * np.array([[0.0], [1.0], [-1.0]]) * pose[:3, 0], meta.camera)
    angle = np.arctan2(*(ends[1] - ends[2])[::-1])
    lean = float(np.arccos(np.clip(pose[2, 2], -1, 1)))
    if meta.grasp.kind == "suction":
        angle = float(cup_crop_view(torch.tensor(pose[None, :3, 2]))[0])
    scale, shift = view.scale_and_shift(tips[2:3], meta.camera.fx)
    center, turn, zoom = (torch.tensor(np.asarray(values), dtype=torch.float32) for values in (ends[:1], [angle], scale))
    image = crop(depth, center, turn, zoom, (size, size))[0, 0].numpy() + np.float32(shift[0])
    return image, (float(tips[2] + shift[0]), lean)


def augment_crops(images: Tensor, augment: AugmentRecipe, generator: torch.Generator) -> Tensor:
    """Noise in metres on what was read (depth > 0), as a depth camera makes it, and mirrors in both axes of the jaw.

    images: (N, 1, H, W) m. Smooth noise is drawn on a coarse grid and interpolated (Dex-Net 2.0, section IV-C).
    """
    count, device = len(images), images.device
    seen = images > 0
    if augment.gamma_shape:
        shape = torch.full((count, 1, 1, 1), augment.gamma_shape, device=device)
        images = images * torch._standard_gamma(shape, generator=generator) / augment.gamma_shape
    if augment.noise:
        images = torch.where(seen, images + smooth_noise(images, augment, generator), images)
    if augment.mirror:
        for axis in (2, 3):
            flip = torch.rand((count, 1, 1, 1), generator=generator, device=device) < 0.5
            # The grasp is at size / 2, between two pixels of the flipped picture: one step brings it back there.
            images = torch.where(flip, images.flip(axis).roll(1, axis), images)
    return images


TASK = CropTask
