"""What ships is the champion alone, in half precision where that moves no probability."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from shared.networks import build_network
from shared.registry import ModelCard, Registry, UnknownModel
from trainer_job.export_release import HALF_COSTS, ship
from trainer_job.promotion.publish import load_network, weights_of


def publish(registry: Registry, scale: float) -> int:
    torch.manual_seed(1)
    network = build_network("dense", {})
    torch.nn.init.normal_(network.head[-1].weight, std=scale)
    return registry.publish("dense", weights_of(network), ModelCard(name="dense", architecture="dense"))


def test_the_champion_ships_alone_as_half_precision_and_answers_the_same(tmp_path: Path) -> None:
    source, target = Registry(tmp_path / "made"), Registry(tmp_path / "models")
    publish(source, 0.5)
    source.promote("dense", publish(source, 0.1))
    ship(source, "dense", target)
    version = ship(source, "dense", target)
    assert target.versions("dense") == [version]
    assert target.champion("dense") == version
    assert target.weights_path("dense", version).stat().st_size < 0.6 * source.weights_path("dense", 2).stat().st_size
    [golden] = build_network("dense", {}).golden_batch()
    before, after = (load_network(registry, "dense", number)(golden) for registry, number in ((source, 2), (target, version)))
    assert (before.sigmoid() - after.sigmoid()).abs().max() < 2 * HALF_COSTS


def test_weights_that_half_precision_would_change_ship_as_they_are(tmp_path: Path) -> None:
    source, target = Registry(tmp_path / "made"), Registry(tmp_path / "models")
    source.promote("dense", publish(source, 100.0))
    tensors = safetensors.torch.load(target.read_weights("dense", ship(source, "dense", target)))
    assert all(tensor.dtype != torch.float16 for tensor in tensors.values())


def test_a_model_without_a_champion_cannot_ship(tmp_path: Path) -> None:
    publish(Registry(tmp_path / "made"), 0.1)
    with pytest.raises(UnknownModel, match="no champion"):
        ship(Registry(tmp_path / "made"), "dense", Registry(tmp_path / "models"))
