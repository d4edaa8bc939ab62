"""A whole depth image to the quality at every pixel, per angle of the closing axis (shared.networks.unet_quality_map)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grasp_client.contract import GraspMeta, Outcome
from shared.features.crops import fill_holes
from shared.features.rgb_input import fit
from shared.outcome_codec import depth_metres
from trainer_job.data.examples import Dataset, Examples, in_order
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.data.pictures import PictureBatch, Windows, cut_windows
from trainer_job.data.replay_buffer import TrainingData
from trainer_job.data.shard_images import nearest_rotation
from trainer_job.evaluation.figures import draw_heatmaps
from trainer_job.evaluation.metrics import Evaluation
from trainer_job.tasks.base import TrainingTask
from trainer_job.training.augmentation import Labels, at, augment_images, smooth_noise

FORMAT = "quality-maps"
PICTURED = 5


class QualityMapTask(TrainingTask[PictureBatch, PictureBatch]):
    """Learned from executed grasps, each at its pixel and angle, or from given maps of the quality at every pixel.

    Features are windows (1, side, side) round the grasp, of depths relative to the image's median, m, at the scale that the
    view asks for; the network is convolutional, and is shown whole images at that scale where it plans.
    """

    architectures = ("unet-quality-map",)
    evaluated_at_once = 16

    @cached_property
    def spec(self) -> FeatureSpec:
        scale, side = self.recipe.view["pixels_per_metre"], int(self.recipe.view["window"])
        return FeatureSpec(f"depth-window-1-{scale:g}-{side}-{self.outline.rotations}", (1, side, side), aux=3)

    def refusal(self, meta: Mapping[str, Any]) -> str | None:
        return super().refusal(meta) or (None if meta["camera"] else "no_camera")

    def features(self, outcomes: Sequence[Outcome[GraspMeta]]) -> tuple[np.ndarray, np.ndarray]:
        first = outcomes[0]
        assert first.meta.camera is not None  # `refusal` says so
        depth = fill_holes(depth_metres(first))
        table = float(np.median(depth))
        picture = fit(depth - np.float32(table), self.recipe.view["pixels_per_metre"] * table / first.meta.camera.fx)
        places = picture.to_picture(np.array([outcome.meta.grasp.center_px for outcome in outcomes]))
        windows, corners = cut_windows(picture.image, places, self.spec.shape[1])
        which = [nearest_rotation(outcome.meta.grasp.angle, self.outline.angles) for outcome in outcomes]
        return windows, np.column_stack([(places - corners)[:, ::-1], which]).astype(np.float32)

    def from_records(self, examples: Examples) -> Dataset[PictureBatch]:
        return Windows(examples)

    def read(self, folders: Sequence[Path], validation: Sequence[Path], cache: Path, most: int) -> TrainingData[PictureBatch]:
        """Also folders with images X/*.png and their maps Y/*.npy."""
        data = self.recipe.data
        if data.format != FORMAT:
            return super().read(folders, validation, cache, most)
        pairs = [pair for folder in folders for pair in _pairs(folder)]
        held = [pair for folder in validation for pair in _pairs(folder)]
        if not held:
            order = (
                np.random.default_rng(self.recipe.seed).permutation(len(pairs)) if data.split == "random" else range(len(pairs))
            )
            count = max(1, round(data.validation_share * len(pairs)))
            pairs, held = [pairs[k] for k in order[count:]], [pairs[k] for k in order[:count]]
        return TrainingData(GivenMaps(pairs), GivenMaps(held))

    def augment(self, batch: PictureBatch, noise: torch.Generator | None) -> PictureBatch:
        """Turns, mirrors and shifts with the labels, or mirrors of image and maps, and noise as a depth camera makes it."""
        if noise is None:
            return batch
        images, labels, maps, recipe = batch.images, batch.labels, batch.maps, self.recipe.augment
        if maps is None:
            angles = torch.tensor(self.outline.angles, device=images.device)
            changes = recipe.model_copy(update={"window": batch.window})
            images, labels = augment_images(images, labels, angles, changes, noise)
        elif recipe.mirror:
            for axis in (2, 3):
                flip = torch.rand((len(images), 1, 1, 1), generator=noise, device=images.device) < 0.5
                images, maps = (torch.where(flip, each.flip(axis), each) for each in (images, maps))
        if recipe.noise:
            images = images + smooth_noise(images, recipe, noise)
        return PictureBatch(images, labels, maps=maps)

    def loss(self, network: nn.Module, batch: PictureBatch) -> Tensor:
        """`success`: whether what was tried held; `map`: squared error of the quality at every pixel."""
        if self.recipe.loss == "map":
            return self._squared_errors(network, batch).mean()
        labels, logits = self.predict(network, batch)
        return F.binary_cross_entropy_with_logits(logits, labels)

    def predict(self, network: nn.Module, batch: PictureBatch) -> tuple[Tensor, Tensor]:
        return batch.labels.success, at(network(batch.images), batch.labels)

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, data: Dataset[PictureBatch], device: torch.device) -> Evaluation:
        if self.recipe.loss != "map":
            return super().evaluate(network, data, device)
        network.to(device).eval()
        batches = (batch.to(device) for batch in in_order(data, self.evaluated_at_once))
        return Evaluation(np.concatenate([self._squared_errors(network, each).double().cpu().numpy() for each in batches]))

    def _squared_errors(self, network: nn.Module, batch: PictureBatch) -> Tensor:
        """(N,) mean over the pixels of each image."""
        if batch.maps is None:
            raise ValueError(f"loss: map asks for data with given maps, format {FORMAT!r}")
        errors: Tensor = (network(batch.images).sigmoid() - batch.maps).square().mean((1, 2, 3))
        return errors

    @torch.inference_mode()
    def picture(self, network: nn.Module, data: Dataset[PictureBatch], device: torch.device, path: Path) -> None:
        batch = data.batch(np.arange(min(PICTURED, len(data)))).to(device)
        quality, labels = network(batch.images).sigmoid().cpu(), batch.labels
        targets = torch.cat([labels.place, labels.map[:, None]], 1)
        if batch.maps is not None:  # what is best in the given map
            best = torch.stack(torch.unravel_index(batch.maps.flatten(1).argmax(1), batch.maps.shape[1:]), 1)
            targets = best[:, [1, 2, 0]]
        draw_heatmaps(batch.images[:, 0].cpu().numpy(), quality.numpy(), targets.cpu().numpy(), path)


class GivenMaps:
    """Pairs of an image file, its depths as shares of the largest number, and a file of its maps (H, W) or (R, H, W)."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, rows: np.ndarray) -> PictureBatch:
        images = torch.stack([torch.from_numpy(_shares(self.pairs[row][0])) for row in rows])
        maps = torch.stack([torch.from_numpy(np.load(self.pairs[row][1]).astype(np.float32)) for row in rows])
        maps = maps.reshape(len(maps), -1, *maps.shape[-2:])
        if images.shape[1:] != maps.shape[2:]:
            raise ValueError(f"{self.pairs[rows[0]][0]}: images {tuple(images.shape[1:])}, maps {tuple(maps.shape[2:])}")
        none = torch.zeros(0)
        labels = Labels(none.long(), none.reshape(0, 2), none.long(), none, (images.shape[1], images.shape[2]))
        return PictureBatch(images[:, None], labels, maps=maps)


def _shares(path: Path) -> np.ndarray:
    """(H, W) float32, 0 to 1. Raises ValueError for what is no grey image."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path}: expected a grey PNG of 8 or 16 bits")
    return image.astype(np.float32) / (255 if image.dtype == np.uint8 else 65_535)


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Images and maps of equal names. Raises ValueError for a folder without, or with one that lacks the other."""
    images, maps = sorted((folder / "X").glob("*.png")), sorted((folder / "Y").glob("*.npy"))
    if not images or [path.stem for path in images] != [path.stem for path in maps]:
        raise ValueError(f"{folder}: expected X/<name>.png and Y/<name>.npy in pairs, got {len(images)} and {len(maps)}")
    return list(zip(images, maps, strict=True))


TASK = QualityMapTask
