"""Learning from colours how high things are: windows round what stands on a table, and the true height of every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from shared.looks import Looks
from shared.networks.mobileunet import MobileUNet
from shared.networks.outward import leans, outward_windows
from shared.networks.stature import BOUNDS, COARSE, COARSER, PIXELS_PER_METRE, REACHES, SIDE, bins
from shared.registry import ModelCard, Registry, UnknownModel
from trainer_job.datasets.look_folders import LookFolders
from trainer_job.picture_changes import recolour
from trainer_job.pictures import draw_statures
from trainer_job.recipe import Recipe

EVALUATED = 128
MOST_EVALUATED = 4096
PREFIX = "stature."
TRIES, WANDER, TURN = 12, 7.0, 0.03
"""A window's middle is the first of so many draws, with this deviation in pixels, that hits a thing; and turns, rad."""
MARGIN = 22
"""Middles stay so far from the rim of a look, pixels, that what is asked about them is in it."""
SPOTS = 2.0
"""Weight of telling where things are and how high each spot is, beside what is asked for in the end."""
TALL = 0.062
"""m: over this a hand whose tips are 10 mm over the table hits the thing with its palm."""


@dataclass(frozen=True)
class Answers:
    """highest (N, 2): m, within each of REACHES. things (N, h, w): share of cells that shows a thing. spots (N, h, w): m."""

    highest: Tensor
    things: Tensor
    spots: Tensor


def take_maps(network: MobileUNet, registry: Registry, name: str) -> None:
    """Copies all weights but the stature's from the champion. Raises ValueError where there is none or its maps are others."""
    version = registry.champion(name)
    if version is None:
        raise ValueError(f"part: stature adds to the champion of {name!r}, and {registry.root} has none; train its maps first")
    weights = load(registry.read_weights(name, version))
    maps = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
    maps = {key: value for key, value in maps.items() if not key.startswith(PREFIX)}
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


class StatureTask:
    """Looks for one recipe. A batch is of windows, each with its middle on a thing."""

    def __init__(self, training: LookFolders, validation: LookFolders, recipe: Recipe, network: MobileUNet) -> None:
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
        windows = recolour(windows, self.recipe.augment, self.noise)
        moved = Answers(*(each.to(device) for each in (answers.highest, answers.things, answers.spots)))
        return (windows.to(device), lean.to(device)), moved

    def forward(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        assert isinstance(network, MobileUNet)
        assert network.stature is not None
        return network.stature.learned(*inputs)

    def loss(self, outputs: tuple[Tensor, Tensor, Tensor], answers: Answers) -> Tensor:
        told, things, spots = outputs
        where = F.binary_cross_entropy_with_logits(things, answers.things)
        each = torch.where(answers.spots > 0, 1 + bins(answers.spots), 0)
        return len(REACHES) * _told(told, answers.highest) + SPOTS * (where + F.cross_entropy(spots, each))

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """On held-out windows, unchanged: `loss`, of what is asked for in the end; mean error of the expected height under the
        palm; and how often it is told right whether that is above TALL, beside the rate of guessing."""
        middles = _bin_middles()
        losses, errors, right, talls, count = 0.0, 0.0, 0, 0, 0
        for start in range(0, min(len(self.held_out), MOST_EVALUATED), EVALUATED):
            rows = np.arange(start, min(start + EVALUATED, len(self.held_out)))
            (windows, lean), answers = self._plain(rows, device)
            told = self.forward(network, (windows, lean))[0].cpu()
            expected = told[:, 0].softmax(1) @ middles
            tall = answers.highest[:, 0] > TALL
            losses += float(_told(told, answers.highest)) * len(rows)
            errors += float((expected - answers.highest[:, 0]).abs().sum())
            right += int(((expected > TALL) == tall).sum())
            talls, count = talls + int(tall.sum()), count + len(rows)
        return {
            "loss": losses / count,
            "error_mm": 1e3 * errors / count,
            "tall_right": right / count,
            "tall_guessed": max(talls, count - talls) / count,
            "windows": float(count),
        }

    def _plain(self, rows: np.ndarray, device: torch.device) -> tuple[tuple[Tensor, Tensor], Answers]:
        """Held-out windows as they are; always the same."""
        noise = torch.Generator().manual_seed(int(rows[0]))
        windows, lean, answers = _windows(self.held_out.pick(rows), noise)
        return (windows.to(device), lean.to(device)), answers

    @torch.inference_mode()
    def picture(self, network: nn.Module, device: torch.device, path: Path) -> None:
        inputs, answers = self._plain(np.arange(min(8, len(self.held_out))), device)
        shares = self.forward(network, inputs)[0][:, 0].softmax(1).cpu()
        windows = inputs[0].permute(0, 2, 3, 1).cpu()
        draw_statures(windows.numpy(), shares.numpy(), np.asarray(BOUNDS), answers.highest[:, 0].numpy(), path)


def _windows(
    looks: Looks, noise: torch.Generator, turns: Tensor | None = None, mirrors: Tensor | None = None
) -> tuple[Tensor, Tensor, Answers]:
    """Windows (N, 3, SIDE, SIDE), leans (N,) and answers around one point of a thing in each look."""
    colours = torch.from_numpy(looks.colours).permute(0, 3, 1, 2).float() / 255
    heights, lenses = torch.from_numpy(looks.heights).float() / 1e3, torch.from_numpy(looks.lenses)
    middles = _on_things(heights, noise)
    nadirs = lenses[:, :2]
    windows = outward_windows(colours, middles, nadirs, SIDE, turns, mirrors)
    seen = outward_windows(heights[:, None], middles, nadirs, SIDE, turns, mirrors)[:, 0]
    answers = Answers(
        _highest(heights, middles.long()),
        F.avg_pool2d((seen > 0.5 * _LOWEST).float(), COARSE),
        F.max_pool2d(seen, COARSER),
    )
    return windows, leans(middles, nadirs, lenses[:, 2]), answers


_LOWEST = 0.004
"""m: nothing in a look is lower but the table, which is at 0."""


def _on_things(heights: Tensor, noise: torch.Generator) -> Tensor:
    """(N, 2) as (u, v): whole pixels of things (N, S, S) near the looks' middles; a middle where nothing is hit."""
    count, side = heights.shape[:2]
    wander = (WANDER * torch.randn(count, TRIES, 2, generator=noise)).round()
    wander[:, -1] = 0
    tried = (side // 2 + wander).clamp(MARGIN, side - 1 - MARGIN).long()
    each = torch.arange(count)
    hit = heights[each[:, None], tried[..., 1], tried[..., 0]] > 0
    first = torch.where(hit.any(1), hit.float().argmax(1), TRIES - 1)
    return tried[each, first].float()


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


def _told(told: Tensor, highest: Tensor) -> Tensor:
    """Mean cross-entropy of logits (N, 2, BINS) for heights (N, 2)."""
    return F.cross_entropy(told.flatten(0, 1), bins(highest).flatten())


def _bin_middles() -> Tensor:
    bounds = torch.tensor(BOUNDS)
    return (bounds[1:] + bounds[:-1]) / 2
