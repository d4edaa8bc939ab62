"""Modules are filled in place, version after version, but never while anybody holds the version before."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from serving import publish_dense

from planning.networks.device import Execution
from planning.networks.loading import SPARE, Loader
from shared.registry import BrokenModel, Registry

CPU = torch.device("cpu")


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    for seed in range(3):
        publish_dense(tmp_path, seed)
    return Loader(Registry(tmp_path), {"dense": "dense"}, Execution(CPU))


def addresses(loader: Loader, version: int) -> list[int]:
    network, _ = loader.load("dense", version)
    return [parameter.data_ptr() for parameter in network.module.parameters()]


def test_the_next_version_is_copied_into_the_tensors_that_became_free(loader: Loader) -> None:
    assert addresses(loader, 1) == addresses(loader, 2)


def test_a_version_that_is_held_keeps_its_weights(loader: Loader) -> None:
    first, _ = loader.load("dense", 1)
    before = [parameter.clone() for parameter in first.module.parameters()]
    second, _ = loader.load("dense", 2)
    third, _ = loader.load("dense", 3)
    assert all(torch.equal(*pair) for pair in zip(before, first.module.parameters(), strict=True))
    weights = [next(network.module.parameters()) for network in (first, second, third)]
    assert len({weight.data_ptr() for weight in weights}) == 3


def test_modules_differ_where_tensors_are_shared(loader: Loader) -> None:
    """Planners remember what they derive from a module: another version must not be taken for it."""
    first, slot = loader.load("dense", 1)
    assert first.module is not slot.view()
    assert next(first.module.parameters()) is next(slot.view().parameters())


def test_a_damaged_version_leaves_a_module_that_can_be_filled_again(loader: Loader, tmp_path: Path) -> None:
    addresses(loader, 1)

    def with_nan(state: dict) -> dict:
        next(iter(state.values())).view(-1)[0] = float("nan")
        return state

    broken = publish_dense(tmp_path, 4, damage=with_nan)
    with pytest.raises(BrokenModel, match="NaN"):
        loader.load("dense", broken)
    network, _ = loader.load("dense", 2)
    assert all(torch.isfinite(parameter).all() for parameter in network.module.parameters())


def test_checking_a_version_leaves_the_threads_of_others_alone(loader: Loader) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        loader.load("dense", 1)
        loader.registry.weights_path("dense", 2).write_bytes(b"nonsense")
        with pytest.raises(BrokenModel):
            loader.load("dense", 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_few_modules_stay_behind(loader: Loader) -> None:
    held = [loader.load("dense", 1) for _ in range(6)]
    modules = [weakref.ref(slot.module) for _, slot in held]
    held.clear()
    gc.collect()
    assert sum(module() is not None for module in modules) == SPARE
