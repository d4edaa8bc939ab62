"""Rounds from stored outcomes to a published candidate."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from block_world import block_outcome
from records import store

from grasp_client.contract import ModelRef
from shared.networks import build_network
from shared.registry import ModelCard, Registry
from shared.settings import TrainerSettings
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer, examples
from trainer_job.evaluation.calibration import corrected
from trainer_job.promotion.publish import load_network, seed_registry, weights_of
from trainer_job.tasks import task_of_model
from trainer_job.training.loop import new_share, train
from trainer_job.training.round import FRESH, WARM, finish_round, kept_promise, plan_round, train_round, trained_on

TASK = task_of_model("dense")
SETTINGS = TrainerSettings(epochs=1, min_steps=10, replay_outcomes=50)


def library_in(folder: Path) -> ReplayBuffer:
    library = ReplayBuffer(OutcomeIndex(folder / "shards"), FeatureCache(folder / "features", TASK))
    library.refresh()
    return library


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards and their features, for copies."""
    folder = tmp_path_factory.mktemp("stored")
    store(folder / "shards", [block_outcome(i) for i in range(60)])
    library_in(folder)
    return folder


@pytest.fixture
def library(stored: Path, tmp_path: Path) -> ReplayBuffer:
    shutil.copytree(stored, tmp_path, dirs_exist_ok=True)
    return library_in(tmp_path)


def run(library: ReplayBuffer, registry: Registry, runs: Path) -> int:
    plan = plan_round(library, registry, SETTINGS, "dense")
    network, history = train_round(plan, registry, library.cache, library.dataset.directory)
    return finish_round(plan, network, history, library, registry, runs)


def test_a_candidate_has_the_shape_of_its_parent(library: ReplayBuffer, tmp_path: Path) -> None:
    shipped, registry = Registry(tmp_path / "shipped"), Registry(tmp_path / "models")
    weights = weights_of(build_network("dense", {"width": 8}))
    shipped.promote(
        "dense", shipped.publish("dense", weights, ModelCard(name="dense", architecture="dense", parameters={"width": 8}))
    )
    seed_registry(registry, shipped.root, TASK, seed=0)
    version = run(library, registry, tmp_path / "runs")
    card = registry.card("dense", version)
    assert (version, card.parent, card.parameters) == (2, 1, {"width": 8})
    assert sum(p.numel() for p in load_network(registry, "dense", 2).parameters()) < 60_000


def test_decisions_of_another_registry_do_not_come_with_shipped_weights(tmp_path: Path) -> None:
    shipped, registry = Registry(tmp_path / "shipped"), Registry(tmp_path / "models")
    card = ModelCard(name="dense", architecture="dense", decisions=[{"action": "promoted", "reason": "there"}])
    shipped.promote("dense", shipped.publish("dense", weights_of(build_network("dense", {})), card))
    seed_registry(registry, shipped.root, TASK, seed=0)
    assert registry.card("dense", 1).decisions == []


def test_a_round_repeats_after_a_kill_and_the_next_one_differs(library: ReplayBuffer, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    seed_registry(registry, tmp_path / "none", TASK, seed=0)
    first, again = (plan_round(library, registry, SETTINGS, "dense") for _ in range(2))
    assert first == again
    networks = [train_round(plan, registry, library.cache, library.dataset.directory)[0] for plan in (first, again)]
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-5)
    run(library, registry, tmp_path / "runs")
    assert plan_round(library, registry, SETTINGS, "dense").seed != first.seed


def test_random_weights_are_trained_long_and_trained_ones_gently(library: ReplayBuffer, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    seed_registry(registry, tmp_path / "none", TASK, seed=0)
    fresh = plan_round(library, registry, SETTINGS, "dense").schedule
    assert (fresh.batch, fresh.min_steps) == (FRESH.batch, 10)
    registry.promote("dense", run(library, registry, tmp_path / "runs"))
    warm = plan_round(library, registry, SETTINGS, "dense").schedule
    assert (warm.batch, warm.min_steps) == (WARM.batch, 4)


def test_what_is_learned_from_a_trained_champion_is_blended_with_it(library: ReplayBuffer, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    seed_registry(registry, tmp_path / "none", TASK, seed=0)
    registry.promote("dense", run(library, registry, tmp_path / "runs"))
    plan = plan_round(library, registry, SETTINGS, "dense")
    champion = load_network(registry, "dense", plan.parent)
    alone = load_network(registry, "dense", plan.parent)
    train(alone, TASK, examples(plan.selection, library.cache, library.dataset.directory), plan.schedule, plan.seed)
    blended, _ = train_round(plan, registry, library.cache, library.dataset.directory)
    share = new_share(len(plan.selection.labels), registry.card("dense", 2).outcomes["count"])
    assert share == 0.5
    for old, new, mixed in zip(champion.parameters(), alone.parameters(), blended.parameters(), strict=True):
        np.testing.assert_allclose(mixed.detach(), (share * new + (1 - share) * old).detach(), atol=1e-4)


def test_promises_follow_the_held_out_grasps_that_the_champion_planned(tmp_path: Path) -> None:
    promise = {"kind": "circumstances", "slope": 0.8, "offset": 0.3, "by": {}}
    outcomes = [
        block_outcome(i, success=False, quality=0.9, model=ModelRef(name="dense", version=1 + (i % 3 == 0))) for i in range(60)
    ]
    store(tmp_path / "shards", outcomes)
    library = library_in(tmp_path)
    own = [record.version for record in library.records if record.held_out].count(1)
    assert 0 < own < len(library.held_out())
    card = ModelCard(name="dense", version=1, architecture="dense", promise=promise)
    kept = kept_promise(card, library, library.held_out()).promise
    assert kept["offset"] == pytest.approx(corrected(promise, np.full(own, 0.9), np.zeros(own))["offset"])
    assert kept["offset"] < 0
    assert kept_promise(card.model_copy(update={"promise": {}}), library, library.held_out()).promise == {}


def test_a_card_counts_what_was_there_when_it_was_made(library: ReplayBuffer, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    seed_registry(registry, tmp_path / "none", TASK, seed=0)
    assert trained_on(registry, "dense", library) == 0
    version = run(library, registry, tmp_path / "runs")
    outcomes = registry.card("dense", version).outcomes
    assert outcomes["count"] == min(50, outcomes["total"] - outcomes["held_out"])
    assert trained_on(registry, "dense", library) == len(library) == 60
    fewer = ReplayBuffer(OutcomeIndex(tmp_path / "none"), library.cache)
    assert trained_on(registry, "dense", fewer) == 0  # the registry was kept, the outcomes were not


def test_a_model_without_a_champion_cannot_be_trained(library: ReplayBuffer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no champion"):
        plan_round(library, Registry(tmp_path / "models"), SETTINGS, "dense")
