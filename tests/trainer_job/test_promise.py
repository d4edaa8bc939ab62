"""What a planner promises is fitted to its own best grasps, and to nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from block_world import block_outcome
from records import store

from grasp_client.contract import ModelRef
from planning.calibration import calibrated_logits
from shared.features.circumstances import NAMES
from shared.registry import ModelCard, Registry
from trainer_job import promise
from trainer_job.evaluation.metrics import sigmoid
from trainer_job.promotion.publish import weights_of
from trainer_job.tasks import task_of_model

PLANS, OF_EACH = 120, 2
TOO_MUCH = 1.5
"""What is promised too much, in logits."""


def planned(version: int, too_much: float, **meta: Any) -> list[Any]:
    """Grasps of plans: what is promised of them is too much by this, in logits."""
    rng = np.random.default_rng(version)
    outcomes = []
    for plan in range(PLANS):
        for rank in range(OF_EACH):
            logit = float(rng.normal(1.5, 1.0))
            held = bool(rng.random() < sigmoid(np.array([logit - too_much]))[0])
            fields = {
                "quality": float(sigmoid(np.array([logit]))[0]),
                "rank": rank,
                "model": ModelRef(name="dense", version=version),
            }
            outcomes.append(block_outcome(plan, rank, held, worker=f"w{version}", **{**fields, **meta}))
    return outcomes


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry, weights = Registry(tmp_path / "models"), weights_of(task_of_model("dense").build())
    registry.publish("dense", weights, ModelCard(name="dense", architecture="dense", note="first"))
    registry.promote("dense", 1)
    return registry


def told(registry: Registry, quality_logit: float) -> float:
    """What the champion promises of a logit of the blend in usual circumstances."""
    champion = registry.champion("dense")
    assert champion is not None
    promise_of = registry.card("dense", champion).promise
    return calibrated_logits(torch.tensor([quality_logit]), promise_of, np.zeros((1, len(NAMES)))).item()


def fit(registry: Registry, tmp_path: Path) -> int:
    return promise.main(["--data", str(tmp_path / "shards"), "--models-dir", str(registry.root)])


def test_the_same_weights_are_published_with_the_promise_that_was_kept(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "shards", planned(1, TOO_MUCH))
    assert fit(registry, tmp_path) == 0
    card = registry.card("dense", 2)
    assert registry.champion("dense") == 2
    assert card.sha256 == registry.card("dense", 1).sha256
    assert card.promise["grasps"] == PLANS * OF_EACH
    assert card.promise["scenes"] == PLANS
    assert "approach" not in card.promise["by"]  # which grasps of one plan do not share
    assert told(registry, 1.5) == pytest.approx(1.5 - TOO_MUCH, abs=0.5)
    said = capsys.readouterr().out.splitlines()
    assert float(said[0].rsplit(" ", 1)[1]) > 0.2
    assert float(said[1].rsplit(" ", 1)[1]) < 0.1


def test_what_was_promised_by_a_promise_is_fitted_as_if_there_had_been_none(registry: Registry, tmp_path: Path) -> None:
    first = registry.card("dense", 1).model_copy(
        update={"promise": {"kind": "circumstances", "slope": 1.0, "offset": 1.0, "by": {}}, "created": ""}
    )
    registry.publish("dense", registry.read_weights("dense", 1), first)
    registry.promote("dense", 2)
    store(tmp_path / "shards", planned(2, TOO_MUCH))
    assert fit(registry, tmp_path) == 0
    # 1.5 of the blend was promised as 2.5, and held as 1.0.
    assert told(registry, 1.5) == pytest.approx(2.5 - TOO_MUCH, abs=0.5)


@pytest.mark.parametrize("other", [{"exploration": True}, {"model": None}, {"model": ModelRef(name="dense", version=7)}])
def test_grasps_that_the_champion_did_not_choose_do_not_count(
    registry: Registry, tmp_path: Path, other: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "shards", planned(1, TOO_MUCH, **other))
    assert fit(registry, tmp_path) == 1
    assert "0 grasps of plans by dense" in capsys.readouterr().err
    assert registry.champion("dense") == 1
