"""Seeding a registry, candidates with their cards, and decisions that survive a kill."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.registry import ModelCard, Registry
from trainer_job.evaluation.assessment import Assessment
from trainer_job.evaluation.metrics import Evaluation, log_losses
from trainer_job.promotion.offline_gate import compare
from trainer_job.promotion.publish import (
    OFFERED,
    UNTRAINED,
    Trained,
    is_trained,
    load_network,
    offer_shipped,
    offline_decision,
    pending_versions,
    promote,
    publish,
    reject,
    seed_registry,
    weights_of,
)
from trainer_job.tasks import task_of_model

TASK = task_of_model("dense")
LABELS = np.tile([1.0, 0.0], 50)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    seed_registry(registry, tmp_path / "none", TASK, seed=0)
    return registry


def evaluation(logits: np.ndarray) -> Evaluation:
    return Evaluation(log_losses(LABELS, logits), LABELS, logits)


def candidate(parent: int, skill: float) -> Trained:
    rival, found = (evaluation(each * (2 * LABELS - 1)) for each in (0, skill))
    assessment = Assessment(found, rival, compare(rival, found))
    return Trained(TASK.build(), TASK, parent, assessment, {"total": 100, "count": 90}, 7, {"steps": 3})


PROMISE = {"kind": "circumstances", "slope": 0.7, "offset": 0.4, "by": {}}


def test_a_version_keeps_the_champions_promise_and_the_scale_that_it_was_fitted_to(registry: Registry) -> None:
    said = np.where(np.arange(100) % 3, 1, -1) * (2 * LABELS - 1)
    rival, found = evaluation(0.5 * said), evaluation(1.0 * said)
    for promise in ({}, PROMISE):
        card = ModelCard(name="dense", architecture="dense", calibration={"kind": "temperature", "value": 2.0}, promise=promise)
        assessment = Assessment(found, rival, compare(rival, found), card)
        made = registry.card("dense", publish(registry, replace(candidate(1, 1.0), assessment=assessment)))
        assert made.promise == promise
        assert (made.calibration["kind"] == "circumstances") == bool(promise)
    # The candidate's logits are twice the champion's: it promises on the same scale where it counts half of them.
    assert made.calibration["slope"] == pytest.approx(0.25, abs=0.06)


def test_an_empty_registry_gets_a_version_that_says_it_has_learned_nothing(registry: Registry) -> None:
    card = registry.card("dense", 1)
    assert registry.champion("dense") == 1
    assert card.note == UNTRAINED
    assert not is_trained(card)
    network = load_network(registry, "dense", 1)
    assert torch.isfinite(network(*network.golden_batch())).all()


def test_the_same_seed_initialises_the_same_weights(registry: Registry, tmp_path: Path) -> None:
    other = Registry(tmp_path / "other")
    seed_registry(other, tmp_path / "none", TASK, seed=0)
    assert other.card("dense", 1).sha256 == registry.card("dense", 1).sha256


def test_shipped_champions_start_a_registry_once(tmp_path: Path) -> None:
    shipped, registry = Registry(tmp_path / "shipped"), Registry(tmp_path / "models")
    weights = weights_of(TASK.build())
    for name in ("dense", "other"):
        for _ in range(2):
            card = ModelCard(
                name=name, architecture="dense", metrics={"ap": 0.9}, parent=1, outcomes={"count": 14_000, "total": 14_000}
            )
            version = shipped.publish(name, weights, card)
        shipped.promote(name, version)
    for _ in range(2):
        seed_registry(registry, shipped.root, TASK, seed=0)
    assert registry.names() == ["dense", "other"]
    assert [registry.versions(name) for name in registry.names()] == [[1], [1]]
    card = registry.card("dense", 1)
    assert (card.metrics, card.parent, card.outcomes) == ({"ap": 0.9}, None, {"count": 14_000, "total": 0})
    assert is_trained(card)
    assert registry.read_weights("dense", 1) == weights


def test_weights_that_ship_later_are_offered_once_beside_the_champion(tmp_path: Path) -> None:
    shipped, registry = Registry(tmp_path / "shipped"), Registry(tmp_path / "models")
    card = ModelCard(name="dense", architecture="dense")
    shipped.promote("dense", shipped.publish("dense", weights_of(TASK.build()), card))
    seed_registry(registry, shipped.root, TASK, seed=0)
    assert offer_shipped(registry, shipped.root) == []
    torch.manual_seed(1)
    newer = weights_of(TASK.build())
    shipped.promote("dense", shipped.publish("dense", newer, card))
    assert offer_shipped(registry, shipped.root) == ["dense version 2"]
    assert (registry.champion("dense"), registry.candidate("dense")) == (1, 2)
    assert registry.read_weights("dense", 2) == newer
    assert registry.card("dense", 2).note == OFFERED
    registry.set_candidate("dense", None)  # rejected, and removed since
    shutil.rmtree(registry.root / "dense" / "2")
    assert offer_shipped(registry, shipped.root) == []


def test_a_champion_gets_the_promise_that_its_weights_ship_with_later(tmp_path: Path) -> None:
    shipped, registry = Registry(tmp_path / "shipped"), Registry(tmp_path / "models")
    weights, card = weights_of(TASK.build()), ModelCard(name="dense", architecture="dense")
    shipped.promote("dense", shipped.publish("dense", weights, card))
    seed_registry(registry, shipped.root, TASK, seed=0)
    shipped.promote("dense", shipped.publish("dense", weights, card.model_copy(update={"promise": PROMISE})))
    for _ in range(2):
        assert offer_shipped(registry, shipped.root) == []
        assert (registry.versions("dense"), registry.champion("dense")) == ([1, 2], 2)
    assert registry.card("dense", 2).promise == PROMISE
    assert registry.read_weights("dense", 2) == weights


def test_a_start_that_was_killed_before_pointing_points_at_the_next(registry: Registry, tmp_path: Path) -> None:
    (registry.root / "dense" / "champion").unlink()
    seed_registry(registry, tmp_path / "none", TASK, seed=0)
    assert (registry.versions("dense"), registry.champion("dense")) == ([1], 1)


def test_a_card_tells_where_a_candidate_comes_from(registry: Registry) -> None:
    version = publish(registry, candidate(1, skill=3.0), {"rate": 0.5})
    card = registry.card("dense", version)
    assert (version, card.parent, card.seeds, card.outcomes["count"]) == (2, 1, {"training": 7}, 90)
    assert card.calibration["kind"] == "temperature"
    assert {"ap", "brier", "ece", "base_rate", "auc"} <= set(card.metrics)
    assert card.model_dump()["comparison"]["outcomes"] == 100
    assert card.git_commit is None or len(card.git_commit) == 40


def test_what_a_kill_left_undecided_is_decided_from_the_card(registry: Registry) -> None:
    good = publish(registry, candidate(1, skill=3.0))
    bad = publish(registry, candidate(1, skill=-1.0))
    again = Registry(registry.root)
    assert pending_versions(again, "dense") == [good, bad]
    for version, act in ((good, promote), (bad, reject)):
        decision = offline_decision(again, TASK, version)
        assert decision.promote == (version == good)
        act(again, "dense", version, decision.as_json())
    assert pending_versions(again, "dense") == []
    assert again.champion("dense") == good
    assert again.card("dense", bad).decisions[0]["action"] == "rejected"
    assert "standard error" in again.card("dense", bad).decisions[0]["rule"]


def test_a_version_that_was_made_beside_no_champion_cannot_be_compared(registry: Registry) -> None:
    with pytest.raises(ValueError, match="not made beside a champion"):
        offline_decision(registry, TASK, 1)
