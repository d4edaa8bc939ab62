"""Copies champions into a registry that ships, alone and as small as they can be without a measurable loss.

    python -m trainer_job.export_release --models data/pretrain/models --to models [--names dense heatmap]

Weights go as float16 when no probability on the network's golden batch moves by more than 0.001, else as they are.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from shared.networks import build_network
from shared.networks.mobileunet import MobileUNet
from shared.registry import ModelCard, Registry, UnknownModel

HALF_COSTS = 1e-3
"""Most that a probability may move for half precision to cost nothing measurable."""


def ship(source: Registry, name: str, target: Registry) -> int:
    """Publishes and promotes the champion of `source`, removes what shipped before; the version in `target`.

    Raises UnknownModel when there is no champion.
    """
    version = source.champion(name)
    if version is None:
        raise UnknownModel(f"model {name!r} in {source.root} has no champion")
    card, state = source.card(name, version), safetensors.torch.load(source.read_weights(name, version))
    half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    moved = half_precision_cost(card, state, half)
    kept = half if moved <= HALF_COSTS else state
    shipped = card.model_copy(
        update={
            "parent": None,
            "comparison": None,
            "decisions": [],
            "shipped": {"dtype": "float16" if kept is half else "float32", "half_precision_moves": moved},
        }
    )
    published = target.publish(
        name, safetensors.torch.save({key: tensor.contiguous() for key, tensor in kept.items()}), shipped
    )
    target.promote(name, published)
    (target.root / name / "previous").unlink(missing_ok=True)
    for old in target.versions(name):
        if old != published:
            shutil.rmtree(target.root / name / str(old))
    return published


def half_precision_cost(card: ModelCard, state: dict[str, Tensor], half: dict[str, Tensor]) -> float:
    """Greatest change of a probability on the golden batch."""
    full, halved = (_probabilities(card, tensors) for tensors in (state, half))
    return round(max(float((one - other).abs().max()) for one, other in zip(full, halved, strict=True)), 6)


@torch.inference_mode()
def _probabilities(card: ModelCard, state: dict[str, Tensor]) -> list[Tensor]:
    """What the network says of its golden batch, and what it says of heights, where it does."""
    network = build_network(card.architecture, card.parameters).eval()
    network.load_state_dict(state)
    batch = network.golden_batch()  # type: ignore[operator]
    found = [torch.sigmoid(network(*batch).double())]
    if isinstance(network, MobileUNet) and network.height_from_rgb is not None:
        found += [torch.sigmoid(logits.double()) for logits in network.height_from_rgb(*network.height_from_rgb.golden_batch())]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m trainer_job.export_release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="registry to copy from")
    parser.add_argument("--to", type=Path, required=True, help="registry to copy into")
    parser.add_argument("--names", nargs="+", help="only these models; none: all that have a champion")
    options = parser.parse_args(arguments)
    source, target = Registry(options.models), Registry(options.to)
    for name in options.names or [name for name in source.names() if source.champion(name)]:
        version = ship(source, name, target)
        size = target.weights_path(name, version).stat().st_size / 1e6
        print(f"{name} version {version}: {size:.2f} MB in {options.to}")


if __name__ == "__main__":
    main()
