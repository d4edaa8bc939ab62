"""Heat maps of colour pictures: a map of qualities per closing angle and height of the tips."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grasp_client.contract import GraspMeta, Outcome
from shared.features.rgb_input import rays
from shared.networks.mobileunet import MobileUNet
from trainer_job.data import pictures, shard_images
from trainer_job.data.examples import Dataset, Examples, in_order
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.data.pictures import PictureBatch, Pictures, Windows, cut_windows, strides
from trainer_job.data.replay_buffer import TrainingData
from trainer_job.data.shard_images import map_of, picture_of
from trainer_job.evaluation.figures import draw_heatmaps
from trainer_job.evaluation.metrics import Evaluation
from trainer_job.tasks.base import TrainingTask
from trainer_job.training.augmentation import Labels, at, augment_images, cells_of

WINDOW = 0.6
"""Side of a window round an outcome's grasp as a share of the network's picture, rounded to a multiple of `STRIDE`."""
FITS = (0.02, 0.95)
"""Share of grasps that succeed where geometry says that a wide open hand fits nowhere around, and that it fits everywhere.
Measured on 6,720 grasps over the table: 2 % and 95 %, nearly linear between."""


class HeatmapTask(TrainingTask[PictureBatch, PictureBatch]):
    """Pictures with what was tried in them. Published data and recipes on shards give whole pictures with all their labels;
    rounds give features of single outcomes: a window (3, side, side) of the picture in the network's size, 0 to 255, and as aux
    row and column of the grasp in it, the map, principal point (u, v) and focal length, in the window's pixels."""

    architectures = ("mobileunet",)
    image = "rgb"
    evaluated_at_once = 32

    @property
    def maps(self) -> MobileUNet:
        """What the network's parameters say of its maps. Raises ValueError for one that sees more than colours."""
        outline: MobileUNet = self.outline
        if outline.inputs != 3:
            raise ValueError(f"{self.recipe.name}: expected a network of colour alone, got {outline.inputs} input channels")
        return outline

    @cached_property
    def spec(self) -> FeatureSpec:
        maps, view = self.maps, sorted(self.recipe.view.items())
        seen = [maps.image_size, maps.angles, maps.tip_heights, maps.inputs, view]
        digest = hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:12]
        side = strides(WINDOW * maps.image_size)
        return FeatureSpec(f"window-1-{digest}", (3, side, side), "uint8", 6)

    def refusal(self, meta: Mapping[str, Any]) -> str | None:
        """Of a network with heights of the tips only what it can propose: straight down, wide open, at one of its heights."""
        if reason := super().refusal(meta):
            return reason
        (u, v), (rows, columns) = meta["grasp"]["center_px"], meta["images"][self.image]["shape"][:2]
        if not (0 <= u <= columns - 1 and 0 <= v <= rows - 1):
            return "outside_picture"
        return None if map_of(GraspMeta.model_validate(meta), self.maps) is not None else "no_map"

    def features(self, outcomes: Sequence[Outcome[GraspMeta]]) -> tuple[np.ndarray, np.ndarray]:
        rgb, first = np.asarray(outcomes[0].images[self.image]), outcomes[0].meta
        picture = picture_of(rgb, first, self.maps, self.recipe.view.get("pixels_per_metre"))
        principal, focal = picture.lens(first.camera, self.recipe.view.get("focal_px"))
        places = picture.to_picture(np.array([outcome.meta.grasp.center_px for outcome in outcomes]))
        windows, corners = cut_windows(picture.image, places, self.spec.shape[1])
        which = [cast(int, map_of(outcome.meta, self.maps)) for outcome in outcomes]
        lens = np.append(principal[0], focal)
        aux = [
            [v - corner[1], u - corner[0], k, *(lens - [*corner, 0])]
            for (u, v), corner, k in zip(places, corners, which, strict=True)
        ]
        return windows, np.array(aux, np.float32)

    def from_records(self, examples: Examples) -> Dataset[PictureBatch]:
        return Windows(examples)

    def read(self, folders: Sequence[Path], validation: Sequence[Path], cache: Path, most: int) -> TrainingData[PictureBatch]:
        """Whole pictures of shards, or of files in the published format."""
        recipe = self.recipe
        if recipe.data.format == "mobileunet":
            rotations = self.outline.rotations
            training = pictures.read(folders[0], rotations)
            if validation:
                return _apart(training, pictures.read(validation[0], rotations))
            first = round(len(training) * (1 - recipe.data.validation_share))
            held = np.isin(training.which, training.pictures[first:])
            return _apart(training.pick(~held), training.pick(held))
        if recipe.data.format != "shards" or validation:
            return super().read(folders, validation, cache, most)
        scale, with_fits = recipe.view.get("pixels_per_metre"), recipe.geometry_weight > 0
        return _apart(*shard_images.read(folders, self.refusal, self.maps, scale, with_fits))

    def augment(self, batch: PictureBatch, noise: torch.Generator | None) -> PictureBatch:
        """Turns, mirrors and shifts with all labels, and other colours."""
        if noise is None:
            return batch
        angles = torch.tensor(self.outline.angles, device=batch.images.device)
        changes = self.recipe.augment.model_copy(update={"window": batch.window} if batch.window else {})
        return PictureBatch(*augment_images(batch.images, batch.labels, angles, changes, noise))

    def maps_of(self, network: nn.Module, batch: PictureBatch) -> Tensor:
        """Logits (N, maps, h, w), with the directions of pixels among the inputs where the network asks for them."""
        images, labels = batch.images, batch.labels
        plain: Any = getattr(network, "module", network)  # within what trains in parallel
        if plain.rays:
            if labels.lenses is None:
                raise ValueError("the network asks for `rays`: expected pictures whose camera is known, such as our own shards")
            lenses = labels.lenses.cpu().numpy()
            seen = torch.from_numpy(rays(labels.size, lenses[:, :2], lenses[:, 2])).to(images.device)
            images = torch.cat([images, seen], 1)
        maps: Tensor = network(images.contiguous(memory_format=torch.channels_last))
        return maps

    def loss(self, network: nn.Module, batch: PictureBatch) -> Tensor:
        """`cells`: which of all cells and rotations it was; `success`: whether the one that was tried held, and where geometry
        says how a hand fits, that of every cell."""
        outputs, labels = self.maps_of(network, batch), batch.labels
        if self.recipe.loss == "cells":
            return _cell_losses(outputs, labels).mean()
        tried = F.binary_cross_entropy_with_logits(at(outputs, labels), labels.success)
        if labels.fits is None:
            return tried
        expected = FITS[0] + (FITS[1] - FITS[0]) * labels.fits
        return tried + self.recipe.geometry_weight * F.binary_cross_entropy_with_logits(outputs, expected)

    def predict(self, network: nn.Module, batch: PictureBatch) -> tuple[Tensor, Tensor]:
        return batch.labels.success, at(self.maps_of(network, batch), batch.labels)

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, data: Dataset[PictureBatch], device: torch.device) -> Evaluation:
        """Of `cells`: median distance of the best cell from the label (pixels) and share of right rotations, of successes."""
        if self.recipe.loss != "cells":
            return super().evaluate(network, data, device)
        network.to(device).eval()
        losses, distances, right = [], [], []
        for batch in in_order(data, self.evaluated_at_once):
            outputs, labels = self.maps_of(network, batch.to(device)).cpu(), batch.labels
            losses.append(_cell_losses(outputs, labels))
            best = torch.stack(torch.unravel_index(outputs.flatten(1).argmax(1), outputs.shape[1:]), 1)[labels.picture]
            good = labels.success > 0
            distances.append(torch.linalg.norm((best[:, 1:] - cells_of(outputs, labels)).float(), dim=1)[good])
            right.append((best[:, 0] == labels.map)[good])
        figures = {"median_pixels": torch.cat(distances).median(), "rotation_right": torch.cat(right).float().mean()}
        return Evaluation(torch.cat(losses).double().numpy(), figures={name: float(value) for name, value in figures.items()})

    @torch.inference_mode()
    def picture(self, network: nn.Module, data: Dataset[PictureBatch], device: torch.device, path: Path) -> None:
        batch = data.batch(np.arange(min(5, len(data))))
        labels, logits = batch.labels, self.maps_of(network, batch.to(device)).cpu()
        share = logits.flatten(1).softmax(1).reshape(logits.shape) if self.recipe.loss == "cells" else logits.sigmoid()
        first = torch.searchsorted(labels.picture, torch.arange(len(batch.images)))
        targets = torch.cat([labels.place[first], labels.map[first, None]], 1)
        draw_heatmaps(batch.images.permute(0, 2, 3, 1).numpy(), share.numpy(), targets.numpy(), path)


def _apart(training: Pictures, held_out: Pictures) -> TrainingData[PictureBatch]:
    if not len(training) or not len(held_out):
        raise ValueError(
            f"{len(training)} pictures to learn from and {len(held_out)} to validate on are too few: expected some of both"
        )
    return TrainingData(training, held_out)


def _cell_losses(outputs: Tensor, labels: Labels) -> Tensor:
    """(L,) cross-entropy over all cells and rotations."""
    height, width = outputs.shape[2:]
    row, column = cells_of(outputs, labels).unbind(1)
    target = (labels.map * height + row) * width + column
    return F.cross_entropy(outputs.flatten(1)[labels.picture], target, reduction="none")


TASK = HeatmapTask
