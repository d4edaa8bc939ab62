"""Learning how high things are from colours: dense, since the simulator saw every pixel's depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from shared.networks.mobileunet import MobileUNet
from shared.networks.picture import rays
from shared.networks.relief import bins, median
from shared.registry import ModelCard, Registry, UnknownModel
from trainer_job.datasets.relief_pictures import THING, UNIT, UNKNOWN, ReliefPictures
from trainer_job.picture_changes import Labels, change
from trainer_job.pictures import draw_relief
from trainer_job.recipe import Recipe

EVALUATED = 16
NOTHING = -1
TALL = 0.05
RELIEF = "relief."
"""Names of its weights begin with this."""


def take_maps(network: MobileUNet, registry: Registry, name: str) -> None:
    """Copies all weights but the relief's from the champion. Raises ValueError where there is none or its maps are others."""
    version = registry.champion(name)
    if version is None:
        raise ValueError(f"part: relief adds to the champion of {name!r}, and {registry.root} has none; train its maps first")
    weights = {
        key: value.float() for key, value in load(registry.read_weights(name, version)).items() if value.is_floating_point()
    }
    try:
        missing, unknown = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ValueError(f"the maps of {name} version {version} are not those of the recipe: {error}") from error
    lost = [key for key in missing if not key.startswith(RELIEF) and not key.endswith("num_batches_tracked")]
    if lost or unknown:
        raise ValueError(
            f"the maps of {name} version {version} are not those of the recipe: {', '.join([*lost, *unknown][:5])}"
        )


def beside_maps(card: ModelCard, registry: Registry) -> ModelCard:
    """The card of a relief that was added to the champion, whose figures, calibration and training of the maps still hold."""
    version = registry.champion(card.name)
    if version is None:
        raise UnknownModel(f"model {card.name!r} in {registry.root} has no champion")
    maps = registry.card(card.name, version)
    mine, theirs = card.model_extra or {}, maps.model_extra or {}
    relief, before = mine["training"], theirs.get("training", {})
    training = {**before, "seconds": before.get("seconds", 0) + relief["seconds"], "relief": relief}
    metrics = {**maps.metrics, **{f"relief_{name}": value for name, value in card.metrics.items()}}
    return card.model_copy(update={"metrics": metrics, "calibration": maps.calibration, "training": training})


class ReliefTask:
    """Pictures and heights for one recipe. A batch is of windows round a thing each; all their pixels are learned from."""

    def __init__(self, training: ReliefPictures, validation: ReliefPictures, recipe: Recipe, network: MobileUNet):
        assert network.relief is not None
        if not len(training) or not len(validation):
            raise ValueError(
                f"{len(training)} pictures to learn from and {len(validation)} to validate on: expected some of both"
            )
        network.relief.requires_grad_(True)
        self.recipe, self.data, self.held_out = recipe, training, validation
        self.training = np.arange(len(training))
        self.angles = torch.tensor(network.angles)
        self.rng = np.random.default_rng(recipe.seed)
        self.noise = torch.Generator().manual_seed(recipe.seed)

    def epoch(self) -> np.ndarray:
        """Pictures of one pass, shuffled."""
        return self.rng.permutation(self.training)

    def batch(self, pictures: np.ndarray, device: torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
        """Changed pictures with the directions of their pixels, and heights (N, H, W), m, NaN where unknown."""
        some = self.data.pick(pictures)
        heights = _metres(some)
        count, size = len(some), (some.images.shape[1], some.images.shape[2])
        each = torch.arange(count)
        labels = Labels(
            each,
            self._on_things(heights),
            torch.zeros(count, dtype=torch.long),
            torch.zeros(count),
            size,
            lenses=torch.from_numpy(some.lenses).float(),
            layers=heights[:, None],
        )
        images, moved = change(_colours(some), labels, self.angles, self.recipe.augment, self.noise)
        assert moved.lenses is not None
        assert moved.layers is not None
        return (_seen(images, moved.lenses, device),), moved.layers[:, 0].to(device)

    def _on_things(self, heights: Tensor) -> Tensor:
        """(N, 2): row and column of one pixel of a thing in each picture; of any pixel where there is none."""
        chance = (heights > THING).flatten(1).float() + 1e-9
        place = torch.multinomial(chance, 1, generator=self.noise)[:, 0]
        return torch.stack([place // heights.shape[2], place % heights.shape[2]], 1).float()

    def forward(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        assert isinstance(network, MobileUNet)
        assert network.relief is not None
        return network.relief(*inputs)

    def loss(self, outputs: Tensor, heights: Tensor) -> Tensor:
        """Of a pixel of a thing; a table that fills the picture does not drown what lies on it."""
        return _cross_entropy(outputs, heights) / (heights > THING).sum().clamp(min=1)

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """On whole held-out pictures: `loss`; iou of things; mean error of the median height on things, and above 50 mm."""
        totals = np.zeros(7)
        for start in range(0, len(self.held_out), EVALUATED):
            inputs, heights = self._whole(slice(start, start + EVALUATED), device)
            outputs = self.forward(network, inputs)
            shares = outputs.softmax(1).movedim(1, -1)
            found, likely = median(shares), shares[..., 0] < 0.5
            thing, taken, tall = heights > THING, likely & ~torch.isnan(heights), heights > TALL
            wrong = (found - heights).abs()
            sums = (
                (thing & taken).sum(),
                (thing | taken).sum(),
                wrong[thing].sum(),
                wrong[tall].sum(),
                thing.sum(),
                tall.sum(),
            )
            totals += [float(_cross_entropy(outputs, heights)), *map(float, sums)]
        loss, both, either, wrong_things, wrong_tall, things, talls = totals.tolist()
        return {
            "loss": loss / max(things, 1),
            "iou": both / max(either, 1),
            "error_mm": 1e3 * wrong_things / max(things, 1),
            "tall_error_mm": 1e3 * wrong_tall / max(talls, 1),
            "pictures": float(len(self.held_out)),
        }

    def _whole(self, rows: slice, device: torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
        """Held-out pictures as they are."""
        some = self.held_out.pick(np.arange(len(self.held_out))[rows])
        return (_seen(_colours(some), torch.from_numpy(some.lenses).float(), device),), _metres(some).to(device)

    @torch.inference_mode()
    def picture(self, network: nn.Module, device: torch.device, path: Path) -> None:
        (images,), heights = self._whole(slice(0, 5), device)
        shares = self.forward(network, (images,)).softmax(1).movedim(1, -1)
        found = torch.where(shares[..., 0] < 0.5, median(shares), 0.0)
        draw_relief(images[:, :3].permute(0, 2, 3, 1).cpu().numpy(), heights.cpu().numpy(), found.cpu().numpy(), path)


def _cross_entropy(outputs: Tensor, heights: Tensor) -> Tensor:
    """Sum over the pixels whose height is known."""
    known = ~torch.isnan(heights)
    which = torch.where(known, bins(heights.nan_to_num()), NOTHING)
    return F.cross_entropy(outputs, which, ignore_index=NOTHING, reduction="sum")


def _colours(some: ReliefPictures) -> Tensor:
    return torch.from_numpy(some.images).permute(0, 3, 1, 2).float() / 255


def _metres(some: ReliefPictures) -> Tensor:
    """(N, H, W), NaN where unknown."""
    units = torch.from_numpy(some.heights.astype(np.float32))
    return torch.where(units == UNKNOWN, torch.nan, units * UNIT)


def _seen(images: Tensor, lenses: Tensor, device: torch.device) -> Tensor:
    where = lenses.numpy()
    size = (images.shape[2], images.shape[3])
    both = torch.cat([images, torch.from_numpy(rays(size, where[:, :2], where[:, 2]))], 1)
    return both.to(device, memory_format=torch.channels_last)
