"""Learning from colours where hands fit and hold and how high things are: windows round what stands on a table, and the
truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.height_from_rgb import (
    BOUNDS,
    COARSE,
    COARSER,
    PIXELS_PER_METRE,
    REACHES,
    SIDE,
    HeightEstimate,
    at_turns,
    bins,
)
from shared.networks.mobileunet import MobileUNet
from shared.networks.radial import leans, radial_angles, radial_windows
from shared.open_hand import AROUND
from shared.registry import ModelCard, Registry, UnknownModel
from shared.rgb_windows import CELL, UNTRIED, RgbWindows, TriedGrasp
from shared.table_grasp import ROTATIONS
from trainer_job.data.rgb_window_folders import RgbWindowFolders
from trainer_job.evaluation.figures import draw_heights
from trainer_job.training.augmentation import jitter_colour
from trainer_job.training.recipe import TrainingRecipe

EVALUATED = 128
MOST_EVALUATED = 4096
PREFIX = "stature."
TRIES, WANDER, TURN = 12, 7.0, 0.03
"""A window's middle is the cell of the first of so many draws, with this deviation in pixels, that hits a thing; turns, rad."""
MARGIN = 22
"""Middles stay so far from the rim of a look, pixels, that what is asked about them is in it."""
LOWEST = 0.004
"""m: nothing in a look is lower but the table, which is at 0."""
FITS, HOLDS = 20.0, 8.0
"""Weights of telling where hands fit and hold, which is asked for in the end, beside telling how high things are."""
AT_TRIED = 0.67
"""Share of windows whose middle is a grasp that was tried."""


@dataclass(frozen=True)
class Answers:
    """turns (N,): angle from +u, in steps of pi / ROTATIONS, levels (N,): height of the tips, and held (N,): success of the
    grasp that was tried at a window's middle, UNTRIED if none was. fits (N, T, ROTATIONS): how well a hand fits, 0 to 1, by
    height of its tips and angle from +u. highest (N, 2): m, within each of REACHES. things (N, h, w): share of cells that
    shows a thing. spots (N, h, w): m."""

    turns: Tensor
    levels: Tensor
    held: Tensor
    fits: Tensor
    highest: Tensor
    things: Tensor
    spots: Tensor

    def to(self, device: torch.device) -> Answers:
        return Answers(*(getattr(self, field.name).to(device) for field in fields(self)))


def take_maps(network: MobileUNet, registry: Registry, name: str) -> None:
    """Copies all weights but the stature's from the champion. Raises ValueError where there is none or its maps are others."""
    version = registry.champion(name)
    if version is None:
        raise ValueError(f"part: stature adds to the champion of {name!r}, and {registry.root} has none; train its maps first")
    weights = load(registry.read_weights(name, version))
    maps = {key: value for key, value in weights.items() if not key.startswith(PREFIX)}
    wrong = f"the maps of {name} version {version} are not those of the recipe"
    try:
        missing, unknown = network.load_state_dict(maps, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{wrong}: {error}") from error
    lost = [key for key in missing if not key.startswith(PREFIX)]
    if lost or unknown:
        raise ValueError(f"{wrong}: {', '.join([*lost, *unknown][:5])}")


def beside_maps(card: ModelCard, registry: Registry) -> ModelCard:
    """The card of a stature that was added to the champion, whose figures, calibration and training of the maps still hold."""
    version = registry.champion(card.name)
    if version is None:
        raise UnknownModel(f"model {card.name!r} in {registry.root} has no champion")
    maps = registry.card(card.name, version)
    mine, theirs = card.model_extra or {}, maps.model_extra or {}
    stature, before = mine["training"], theirs.get("training", {})
    training = {**before, "seconds": before.get("seconds", 0) + stature["seconds"], "stature": stature}
    metrics = {**maps.metrics, **{f"stature_{name}": value for name, value in card.metrics.items()}}
    return card.model_copy(update={"metrics": metrics, "calibration": maps.calibration, "training": training})


class HeightFromRgbTask:
    """Looks for one recipe. A batch is of windows, each with its middle on a thing."""

    def __init__(
        self, training: RgbWindowFolders, validation: RgbWindowFolders, recipe: TrainingRecipe, network: MobileUNet
    ) -> None:
        if network.stature is None:
            raise ValueError("part: stature asks for a network with `stature: true` among its parameters")
        network.stature.requires_grad_(True)
        self.recipe, self.data, self.held_out = recipe, training, validation
        self.training = np.arange(len(training))
        self.rng = np.random.default_rng(recipe.seed)
        self.noise = torch.Generator().manual_seed(recipe.seed)

    def epoch(self) -> np.ndarray:
        """Looks of one pass, shuffled."""
        return self.rng.permutation(self.training)

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[tuple[Tensor, ...], Answers]:
        """Windows turned outward, a little off, mirrored and recoloured, their leans, and what is to be told of them."""
        count = len(rows)
        turns = TURN * torch.randn(count, generator=self.noise)
        mirrors = torch.rand(count, generator=self.noise) < 0.5
        windows, lean, answers = _windows(self.data.pick(rows), self.noise, turns, mirrors)
        windows = jitter_colour(windows, self.recipe.augment, self.noise)
        return (windows.to(device), lean.to(device)), answers.to(device)

    def forward(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> HeightEstimate:
        assert isinstance(network, MobileUNet)
        assert network.stature is not None
        return network.stature.told(*inputs)

    def loss(self, outputs: HeightEstimate, answers: Answers) -> Tensor:
        fits = F.binary_cross_entropy_with_logits(outputs.fits, answers.fits)
        where = F.binary_cross_entropy_with_logits(outputs.things, answers.things)
        each = torch.where(answers.spots > 0, 1 + bins(answers.spots), 0)
        heights = _heights_loss(outputs.highest, answers.highest) + F.cross_entropy(outputs.spots, each)
        return HOLDS * _holds_loss(outputs.holds, answers) + FITS * fits + heights + where

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """On held-out windows, unchanged: `loss` and ranking (`auc`) of where hands hold, of `tried` grasps; ranking of where
        they fit (`fits_auc`); mean error of the expected height under the palm."""
        told, truth, holds, held, errors = [], [], [], [], []
        for start in range(0, min(len(self.held_out), MOST_EVALUATED), EVALUATED):
            rows = np.arange(start, min(start + EVALUATED, len(self.held_out)))
            inputs, answers = self._plain(rows, device)
            outputs = self.forward(network, inputs)
            told.append(outputs.fits.cpu().flatten(1))
            truth.append(answers.fits.flatten(1))
            tried = answers.held != UNTRIED
            holds.append(_at_tried(outputs.holds.cpu(), answers)[tried])
            held.append(answers.held[tried])
            expected = outputs.highest[:, 0].softmax(1).cpu() @ _bin_middles()
            errors.append((expected - answers.highest[:, 0]).abs())
        logits, success = torch.cat(holds), torch.cat(held)
        fit = torch.cat(truth).flatten() > 0.5
        return {
            "loss": float(F.binary_cross_entropy_with_logits(logits, success)),
            "auc": _auc(success, logits),
            "tried": float(len(success)),
            "fits_auc": _auc(fit, torch.cat(told).flatten()),
            "error_mm": 1e3 * float(torch.cat(errors).mean()),
            "windows": float(sum(map(len, truth))),
        }

    def _plain(self, rows: np.ndarray, device: torch.device) -> tuple[tuple[Tensor, Tensor], Answers]:
        """Held-out windows as they are; always the same."""
        noise = torch.Generator().manual_seed(int(rows[0]))
        windows, lean, answers = _windows(self.held_out.pick(rows), noise)
        return (windows.to(device), lean.to(device)), answers

    @torch.inference_mode()
    def picture(self, network: nn.Module, device: torch.device, path: Path) -> None:
        inputs, answers = self._plain(np.arange(min(8, len(self.held_out))), device)
        shares = self.forward(network, inputs).highest[:, 0].softmax(1).cpu()
        windows = inputs[0].permute(0, 2, 3, 1).cpu()
        draw_heights(windows.numpy(), shares.numpy(), np.asarray(BOUNDS), answers.highest[:, 0].numpy(), path)


def _windows(
    looks: RgbWindows, noise: torch.Generator, turns: Tensor | None = None, mirrors: Tensor | None = None
) -> tuple[Tensor, Tensor, Answers]:
    """Windows (N, 3, SIDE, SIDE), leans (N,) and answers around one point of a thing in each look."""
    colours = torch.from_numpy(looks.colours).permute(0, 3, 1, 2).float() / 255
    heights, lenses = torch.from_numpy(looks.heights).float() / 1e3, torch.from_numpy(looks.lenses)
    middles, rows = _middles(looks, heights, noise)
    cells = ((middles + 0.5) / CELL).long()
    nadirs = lenses[:, :2]
    windows = radial_windows(colours, middles, nadirs, SIDE, turns, mirrors)
    seen = radial_windows(heights[:, None], middles, nadirs, SIDE, turns, mirrors)[:, 0]
    each = torch.arange(len(cells))
    fits = torch.from_numpy(looks.fits[each, :, cells[:, 1], cells[:, 0]]).float().unflatten(1, (-1, ROTATIONS)) / AROUND
    outward = radial_angles(middles, nadirs, turns)
    answers = Answers(
        _way(outward, mirrors) * (rows[:, TriedGrasp.ANGLE] - outward) * ROTATIONS / math.pi,
        rows[:, TriedGrasp.LEVEL].clamp(min=0).long(),
        rows[:, TriedGrasp.HELD],
        turned_radially(fits, outward, mirrors),
        _highest(heights, middles.round().long()),
        F.avg_pool2d((seen > 0.5 * LOWEST).float(), COARSE),
        F.max_pool2d(seen, COARSER),
    )
    return windows, leans(middles, nadirs, lenses[:, 2]), answers


def turned_radially(fits: Tensor, outward: Tensor, mirrors: Tensor | None = None) -> Tensor:
    """Answers (N, T, R) for image angles k pi / R, for angles k pi / R from directions `outward` (N,), rad, between the nearest
    two; mirrors (N,) bool: of windows that are mirrored across that direction."""
    rotations = torch.arange(fits.shape[2])
    return at_turns(fits, outward[:, None] * len(rotations) / math.pi + _way(outward, mirrors)[:, None] * rotations)


def _way(outward: Tensor, mirrors: Tensor | None) -> Tensor:
    """(N,): the sense in which angles of windows count, beside that of pictures."""
    return torch.ones_like(outward) if mirrors is None else torch.where(mirrors, -1.0, 1.0)


def _middles(looks: RgbWindows, heights: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Middles (N, 2) of windows of looks with heights (N, S, S), m, and the grasps (N, 5) that were tried there, if any."""
    cells = _on_things(heights, noise)
    tried = torch.from_numpy(np.array(looks.tried))
    count, tries = tried.shape[:2]
    rows = tried[torch.arange(count), torch.randint(tries, (count,), generator=noise)]
    there = (torch.rand(count, generator=noise) < AT_TRIED) & (rows[:, TriedGrasp.HELD] != UNTRIED)
    rows = torch.where(there[:, None], rows, UNTRIED)
    return torch.where(there[:, None], rows[:, : TriedGrasp.ANGLE], (cells + 0.5) * CELL - 0.5), rows


def _on_things(heights: Tensor, noise: torch.Generator) -> Tensor:
    """(N, 2): columns and rows of cells of looks (N, S, S) that show things near the looks' middles; the middle one where none
    is hit."""
    count, side = heights.shape[:2]
    wander = (WANDER * torch.randn(count, TRIES, 2, generator=noise)).round()
    wander[:, -1] = 0
    cells = (side // 2 + wander).clamp(MARGIN, side - 1 - MARGIN).long() // CELL
    each = torch.arange(count)
    shown = F.max_pool2d(heights, CELL) > 0
    hit = shown[each[:, None], cells[..., 1], cells[..., 0]]
    first = torch.where(hit.any(1), hit.float().argmax(1), TRIES - 1)
    return cells[each, first]


def _highest(heights: Tensor, middles: Tensor) -> Tensor:
    """(N, 2): highest of heights (N, S, S) within each of REACHES around middles (N, 2)."""
    reach = round(max(REACHES) * PIXELS_PER_METRE)
    steps = torch.arange(-reach, reach + 1)
    far = torch.hypot(*torch.meshgrid(steps.float(), steps.float(), indexing="ij"))
    last = heights.shape[1] - 1
    rows = (middles[:, 1, None, None] + steps[:, None]).clamp(0, last)
    columns = (middles[:, 0, None, None] + steps[None, :]).clamp(0, last)
    around = heights[torch.arange(len(heights))[:, None, None], rows, columns]
    return torch.stack([(around * (far <= each * PIXELS_PER_METRE)).flatten(1).amax(1) for each in REACHES], 1)


def _holds_loss(told: Tensor, answers: Answers) -> Tensor:
    """Mean cross-entropy of logits (N, T, R) for the grasps that were tried; 0 if none was."""
    tried = answers.held != UNTRIED
    logits = _at_tried(told, answers)[tried]
    return F.binary_cross_entropy_with_logits(logits, answers.held[tried], reduction="sum") / tried.sum().clamp(min=1)


def _at_tried(told: Tensor, answers: Answers) -> Tensor:
    """(N,): logits (N, T, R) at the angle and height of what was tried."""
    return at_turns(told, answers.turns[:, None])[torch.arange(len(told), device=told.device), answers.levels, 0]


def _auc(right: Tensor, logits: Tensor) -> float:
    """Share of pairs that are ranked right, NaN without pairs."""
    from sklearn.metrics import roc_auc_score  # seconds to load: not before it is needed

    return float(roc_auc_score(right.numpy(), logits.numpy())) if 0 < int(right.sum()) < len(right) else math.nan


def _heights_loss(told: Tensor, highest: Tensor) -> Tensor:
    """Mean cross-entropy of logits (N, 2, BINS) for heights (N, 2), m."""
    return F.cross_entropy(told.flatten(0, 1), bins(highest).flatten())


def _bin_middles() -> Tensor:
    bounds = torch.tensor(BOUNDS)
    return (bounds[1:] + bounds[:-1]) / 2
