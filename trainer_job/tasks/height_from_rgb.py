"""Learning from colours where hands fit and hold and how high things are: windows round what stands on a table, and the
truth. It is learned beside the heat maps of a champion, which stay as they are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from grasp_client.contract import GraspMeta, Outcome
from shared.networks.height_from_rgb import BOUNDS, HeightEstimate, at_turns, bins
from shared.networks.mobileunet import MobileUNet
from shared.registry import ModelCard, Registry, UnknownModel
from shared.rgb_windows import UNTRIED
from shared.table_grasp import ROTATIONS
from trainer_job.data.examples import Dataset, Examples, in_order
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.data.height_targets import WindowBatch, windows_of
from trainer_job.data.replay_buffer import TrainingData
from trainer_job.data.rgb_window_folders import RgbWindowBatch, held_apart
from trainer_job.evaluation.figures import draw_heights
from trainer_job.evaluation.metrics import Evaluation, log_losses
from trainer_job.tasks.base import TrainingTask
from trainer_job.training.augmentation import jitter_colour
from trainer_job.training.recipe import TrainingRecipe

NAMES = ("height_from_rgb", "stature")
"""What its parameter is called, and its weights beside those of the maps, now and in versions of GraspLoop 0.1."""
PREFIXES = tuple(f"{name}." for name in NAMES)
TURN = 0.03
"""Standard deviation of a window's turn while it is learned from, rad."""
FITS = 20.0
"""Weight of telling where hands fit, beside telling how high things are."""
HOLDS = 8.0
"""Weight of telling where they hold, which is asked for in the end."""
MAX_EVALUATED = 4096


class HeightFromRgbTask(TrainingTask[RgbWindowBatch, WindowBatch]):
    """A batch is of windows, each with its middle on a thing."""

    architectures = ("mobileunet",)
    evaluated_at_once = 128
    one_process = True  # it is not the network as a whole that is run

    def __init__(self, recipe: TrainingRecipe) -> None:
        super().__init__(recipe)
        if self.outline.height_from_rgb is None:
            raise ValueError(
                f"{self.recipe.name}: a network without `height_from_rgb: true` among its parameters tells no heights"
            )

    @property
    def spec(self) -> FeatureSpec:
        self._no_outcomes()

    def features(self, outcomes: Sequence[Outcome[GraspMeta]]) -> tuple[np.ndarray, np.ndarray]:
        self._no_outcomes()

    def from_records(self, examples: Examples) -> Dataset[RgbWindowBatch]:
        self._no_outcomes()

    def _no_outcomes(self) -> NoReturn:
        raise ValueError(f"task {self.recipe.task} learns from windows of pictures with true heights, not from outcomes")

    def read(self, folders: Sequence[Path], validation: Sequence[Path], cache: Path, most: int) -> TrainingData[RgbWindowBatch]:
        if self.recipe.data.format != "rgb-windows" or validation:
            return super().read(folders, validation, cache, most)
        data = TrainingData(*held_apart(folders))
        taught, named = data.training.batch(np.arange(1)).fits.shape[1] // ROTATIONS, self.outline.height_from_rgb.tip_heights
        if taught != named:
            raise ValueError(
                f"{', '.join(map(str, folders))}: windows of {taught} heights of the tips, and the recipe names {named} "
                "(`tip_heights`): capture them anew, or learn from them with the recipe that they were captured for"
            )
        return data

    def prepare(self, network: nn.Module, registry: Registry) -> None:
        """Copies the weights of the maps from the champion, whose own they stay."""
        name = self.recipe.name
        version = registry.champion(name)
        if version is None:
            raise ValueError(
                f"heights are added to the champion of {name!r}, and {registry.root} has none; train its maps first"
            )
        weights = load(registry.read_weights(name, version))
        maps = {key: value for key, value in weights.items() if not key.startswith(PREFIXES)}
        wrong = f"the maps of {name} version {version} are not those of the recipe"
        try:
            missing, unknown = network.load_state_dict(maps, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{wrong}: {error}") from error
        lost = [key for key in missing if not key.startswith(PREFIXES)]
        if lost or unknown:
            raise ValueError(f"{wrong}: {', '.join([*lost, *unknown][:5])}")
        cast(nn.Module, cast(MobileUNet, network).height_from_rgb).requires_grad_(True)

    def comparable(self, card: ModelCard) -> bool:
        return any(card.parameters.get(name) for name in NAMES)

    def complete(self, card: ModelCard, registry: Registry) -> ModelCard:
        """With the figures, calibration and training of the maps, which still hold."""
        version = registry.champion(card.name)
        if version is None:
            raise UnknownModel(f"model {card.name!r} in {registry.root} has no champion")
        maps = registry.card(card.name, version)
        mine, theirs = card.model_extra or {}, maps.model_extra or {}
        heights, before = mine["training"], theirs.get("training", {})
        kept = {name: value for name, value in maps.metrics.items() if not name.startswith(NAMES)}
        metrics = kept | {f"{NAMES[0]}_{name}": value for name, value in card.metrics.items()}
        before = {name: value for name, value in before.items() if name not in NAMES}
        training = {**before, "seconds": before.get("seconds", 0) + heights["seconds"], NAMES[0]: heights}
        return card.model_copy(update={"metrics": metrics, "calibration": maps.calibration, "training": training})

    def augment(self, batch: RgbWindowBatch, noise: torch.Generator | None) -> WindowBatch:
        """Windows turned away from the nadir, a little off, mirrored and recoloured; without noise always the same ones."""
        count, device = len(batch.colours), batch.colours.device
        if noise is None:
            return windows_of(batch, torch.Generator(device).manual_seed(batch.first))
        turns = TURN * torch.randn(count, generator=noise, device=device)
        mirrors = torch.rand(count, generator=noise, device=device) < 0.5
        drawn = windows_of(batch, noise, turns, mirrors)
        return replace(drawn, windows=jitter_colour(drawn.windows, self.recipe.augment, noise))

    def estimate(self, network: nn.Module, batch: WindowBatch) -> HeightEstimate:
        heights = cast(MobileUNet, network).height_from_rgb
        assert heights is not None  # checked at the start
        short = network.training and self.recipe.precision == "bfloat16"
        with torch.autocast(batch.windows.device.type, torch.bfloat16, enabled=short):
            estimate: HeightEstimate = heights.estimate(batch.windows, batch.lean)
        return HeightEstimate(*(each.float() for each in estimate))

    def loss(self, network: nn.Module, batch: WindowBatch) -> Tensor:
        outputs = self.estimate(network, batch)
        fits = F.binary_cross_entropy_with_logits(outputs.fits, batch.fits)
        where = F.binary_cross_entropy_with_logits(outputs.things, batch.things)
        each = torch.where(batch.spots > 0, 1 + bins(batch.spots), 0)
        heights = _heights_loss(outputs.highest, batch.highest) + F.cross_entropy(outputs.spots, each)
        return HOLDS * _holds_loss(outputs.holds, batch) + FITS * fits + heights + where

    def predict(self, network: nn.Module, batch: WindowBatch) -> tuple[Tensor, Tensor]:
        tried = batch.held != UNTRIED
        return batch.held[tried], _at_tried(self.estimate(network, batch).holds, batch)[tried]

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, data: Dataset[RgbWindowBatch], device: torch.device) -> Evaluation:
        """Beside where hands hold of the grasps that were tried: ranking of where they fit (`fits_auc`), and mean error of the
        expected height under the palm."""
        network.to(device).eval()
        held, holds, truth, fits, errors = [], [], [], [], []
        seen = 0
        for raw in in_order(data, self.evaluated_at_once):
            batch = self.augment(raw, None).to(device)
            outputs = self.estimate(network, batch)
            tried = batch.held != UNTRIED
            held.append(batch.held[tried])
            holds.append(_at_tried(outputs.holds, batch)[tried])
            truth.append(batch.fits.flatten() > 0.5)
            fits.append(outputs.fits.flatten())
            expected = outputs.highest[:, 0].softmax(1) @ _bin_middles().to(device)
            errors.append((expected - batch.highest[:, 0]).abs())
            seen += len(batch.held)
            if seen >= MAX_EVALUATED:
                break
        labels, logits, right, ranked = (torch.cat(parts).double().cpu().numpy() for parts in (held, holds, truth, fits))
        figures = {"tried": float(len(labels)), "error_mm": 1e3 * float(torch.cat(errors).mean()), "windows": float(seen)}
        if 0 < right.sum() < len(right):
            from sklearn.metrics import roc_auc_score  # seconds to load: not before it is needed

            figures["fits_auc"] = float(roc_auc_score(right, ranked))
        return Evaluation(log_losses(labels, logits), labels, logits, figures)

    @torch.inference_mode()
    def picture(self, network: nn.Module, data: Dataset[RgbWindowBatch], device: torch.device, path: Path) -> None:
        batch = self.augment(data.batch(np.arange(min(8, len(data)))), None).to(device)
        shares = self.estimate(network, batch).highest[:, 0].softmax(1).cpu()
        windows = batch.windows.permute(0, 2, 3, 1).cpu()
        draw_heights(windows.numpy(), shares.numpy(), np.asarray(BOUNDS), batch.highest[:, 0].cpu().numpy(), path)


def _holds_loss(logits: Tensor, batch: WindowBatch) -> Tensor:
    """Mean cross-entropy of logits (N, T, R) for the grasps that were tried; 0 if none was."""
    tried = batch.held != UNTRIED
    at_tried = _at_tried(logits, batch)[tried]
    return F.binary_cross_entropy_with_logits(at_tried, batch.held[tried], reduction="sum") / tried.sum().clamp(min=1)


def _at_tried(logits: Tensor, batch: WindowBatch) -> Tensor:
    """(N,): logits (N, T, R) at the angle and height of what was tried."""
    return at_turns(logits, batch.turns[:, None])[torch.arange(len(logits), device=logits.device), batch.levels, 0]


def _heights_loss(logits: Tensor, highest: Tensor) -> Tensor:
    """Mean cross-entropy of logits (N, 2, BINS) for heights (N, 2), m."""
    return F.cross_entropy(logits.flatten(0, 1), bins(highest).flatten())


def _bin_middles() -> Tensor:
    bounds = torch.tensor(BOUNDS)
    return (bounds[1:] + bounds[:-1]) / 2


TASK = HeightFromRgbTask
