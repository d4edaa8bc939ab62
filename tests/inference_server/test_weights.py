"""Weights follow the champion pointer; what fails its checks never serves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from serving import publish_dense
from waiting import PATIENCE, wait_until

from inference_server.batching.batcher import Batcher
from inference_server.metrics import Metrics
from inference_server.models.weights import PINNED_VERSIONS, Weights
from planning.networks.device import Execution, pick_device
from planning.networks.loading import Loader
from shared.registry import BrokenModel, Registry, UnknownModel, UnknownVersion

CPU = torch.device("cpu")


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(4, Metrics())
    made.start()
    yield made
    made.close(0)


@pytest.fixture
def weights(tmp_path: Path, batcher: Batcher) -> Weights:
    loader = Loader(Registry(tmp_path), {"dense": "dense"}, Execution(CPU))
    return Weights(loader, batcher.between_batches, Metrics(), 0.02)


def first_weight(weights: Weights) -> torch.Tensor:
    network = weights.get("dense")
    assert network is not None
    return next(network.module.parameters())


def test_without_a_champion_there_is_nothing(weights: Weights) -> None:
    with pytest.raises(UnknownModel, match="no champion"):
        weights.look("dense")
    assert weights.get("dense") is None


def test_the_pointer_is_followed_forward_and_back(weights: Weights, tmp_path: Path) -> None:
    publish_dense(tmp_path, 1)
    assert weights.look("dense") == 1
    before = first_weight(weights)
    publish_dense(tmp_path, 2)
    assert weights.look("dense") == 2
    assert not torch.equal(before, first_weight(weights))
    Registry(tmp_path).rollback("dense")
    assert weights.look("dense") == 1
    assert torch.equal(before, first_weight(weights))


def test_a_follower_finds_new_versions_by_itself(weights: Weights, tmp_path: Path) -> None:
    weights.start()
    assert weights.looked.wait(PATIENCE)
    publish_dense(tmp_path, 1)
    wait_until(lambda: weights.versions() == {"dense": 1})
    publish_dense(tmp_path, 2)
    wait_until(lambda: weights.versions() == {"dense": 2})
    weights.stop()


def with_nan(state: dict[str, Any]) -> dict[str, Any]:
    next(iter(state.values())).view(-1)[0] = float("nan")
    return state


def with_huge(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value * 1e30 if value.is_floating_point() else value for key, value in state.items()}


def with_other_shape(state: dict[str, Any]) -> dict[str, Any]:
    key = next(iter(state))
    return {**state, key: state[key][:1].clone()}


def with_other_names(state: dict[str, Any]) -> dict[str, Any]:
    return {f"old.{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    ("damage", "card", "reason"),
    [
        (with_nan, {}, "NaN"),
        (with_huge, {}, "golden batch"),
        (with_other_shape, {}, "size mismatch"),
        (with_other_names, {}, "Missing key"),
        (None, {"architecture": "gqcnn"}, "needs 'dense'"),
        (None, {"parameters": {"depth": 3}}, "do not fit"),
    ],
)
def test_a_bad_version_is_refused_and_the_old_one_goes_on(
    weights: Weights, tmp_path: Path, damage: Any, card: dict, reason: str
) -> None:
    publish_dense(tmp_path, 1)
    weights.look("dense")
    publish_dense(tmp_path, 2, damage=damage, **card)
    with pytest.raises(BrokenModel, match=reason):
        weights.look("dense")
    assert weights.versions() == {"dense": 1}
    assert reason in weights.failures()["dense"]
    assert weights.look("dense") == 1, "it is not tried again at every look"
    publish_dense(tmp_path, 3)
    assert weights.look("dense") == 3
    assert weights.failures() == {}


def test_changed_bytes_are_refused(weights: Weights, tmp_path: Path) -> None:
    publish_dense(tmp_path, 1)
    path = Registry(tmp_path).weights_path("dense", 1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BrokenModel, match="sha256"):
        weights.look("dense")
    path.write_bytes(b"")
    with pytest.raises(BrokenModel):
        weights.look("dense", insist=True)


def test_a_version_can_be_pinned_and_the_oldest_pin_goes(weights: Weights, tmp_path: Path) -> None:
    for seed in range(PINNED_VERSIONS + 2):
        publish_dense(tmp_path, seed, champion=seed == 0)
    weights.look("dense")
    first = weights.pin("dense", 2)
    assert first.version == 2
    assert weights.pin("dense", 2) is first
    assert weights.pin("dense", 1) is weights.get("dense")
    for version in range(3, PINNED_VERSIONS + 3):
        weights.pin("dense", version)
    assert weights.pin("dense", 2) is not first
    with pytest.raises(UnknownVersion, match="99"):
        weights.pin("dense", 99)


def test_a_device_that_is_not_there_is_named() -> None:
    assert pick_device("cpu") == CPU
    with pytest.raises(ValueError, match="expected auto, cpu or cuda:N"):
        pick_device("toaster")


@pytest.mark.parametrize("damage", ["truncated weights", "no card", "card cut", "missing version", "pointer cut"])
def test_a_start_on_a_damaged_champion_serves_the_version_before_it(weights: Weights, tmp_path: Path, damage: str) -> None:
    for seed in (1, 2):
        publish_dense(tmp_path, seed)
    folder = tmp_path / "dense"
    if damage == "truncated weights":
        os.truncate(folder / "2" / "weights.safetensors", 100)
    elif damage == "no card":
        (folder / "2" / "card.json").unlink()
    elif damage == "card cut":
        os.truncate(folder / "2" / "card.json", 20)
    else:
        (folder / "champion").write_text("7" if damage == "missing version" else "²\0")
    weights.start()
    assert weights.looked.wait(PATIENCE)
    assert weights.versions() == {"dense": 1}
    assert "dense" in weights.failures()
    repaired = publish_dense(tmp_path, 3)
    wait_until(lambda: (weights.versions(), weights.failures()) == ({"dense": repaired}, {}))
    weights.stop()
