"""The gate: what may replace the champion by held-out outcomes alone."""

from __future__ import annotations

import numpy as np
import pytest

from trainer_job.evaluation.metrics import Evaluation, log_losses
from trainer_job.promotion.offline_gate import MIN_HELD_OUT, GateComparison, compare, decide


def logits_of(skill: float, labels: np.ndarray, seed: int) -> np.ndarray:
    return skill * (2 * labels - 1) + np.random.default_rng(seed).normal(0, 1, len(labels))


def of(labels: np.ndarray, logits: np.ndarray) -> Evaluation:
    return Evaluation(log_losses(labels, logits), labels, logits)


@pytest.fixture
def labels() -> np.ndarray:
    return (np.random.default_rng(0).random(400) < 0.6).astype(float)


def test_a_better_candidate_is_promoted_and_a_worse_one_is_not(labels: np.ndarray) -> None:
    good, bad = logits_of(2.0, labels, 1), logits_of(0.5, labels, 2)
    assert decide(compare(of(labels, bad), of(labels, good)), champion_trained=True).promote
    verdict = decide(compare(of(labels, good), of(labels, bad)), champion_trained=True)
    assert not verdict.promote
    assert "worse" in verdict.reason


def test_an_equal_candidate_is_promoted(labels: np.ndarray) -> None:
    same = logits_of(1.0, labels, 1)
    comparison = compare(of(labels, same), of(labels, same))
    assert comparison.difference == 0
    assert decide(comparison, champion_trained=True).promote


def test_scale_alone_makes_no_candidate_worse(labels: np.ndarray) -> None:
    same = logits_of(1.0, labels, 1)
    assert abs(compare(of(labels, same), of(labels, 3 * same)).difference) < 1e-3


def test_a_trained_champion_needs_enough_evidence_and_an_untrained_one_does_not() -> None:
    few = GateComparison(outcomes=MIN_HELD_OUT - 1, difference=-0.5, standard_error=0.01)
    assert not decide(few, champion_trained=True).promote
    assert decide(few, champion_trained=False).promote


def test_one_outcome_keeps_nothing_untrained_in_place() -> None:
    labels = np.ones(1)
    comparison = compare(of(labels, np.array([0.1])), of(labels, np.array([-0.1])))
    assert comparison.difference > comparison.standard_error == 0
    assert decide(comparison, champion_trained=False).promote
    assert not decide(comparison, champion_trained=True).promote


@pytest.mark.parametrize(
    "figures",
    [
        {"difference": float("nan")},
        {"standard_error": float("nan")},
        {"difference": float("inf")},
        {"candidate": {"ap": float("nan")}},
        {"champion": {"ap": float("nan")}},
    ],
)
def test_what_is_no_number_is_refused(figures: dict) -> None:
    comparison = GateComparison(**{"outcomes": 100, "difference": -0.1, "standard_error": 0.01, **figures})
    assert not decide(comparison, champion_trained=True).promote


def test_ranking_counts_beside_the_log_loss() -> None:
    comparison = GateComparison(100, -0.01, 0.02, champion={"ap": 0.95}, candidate={"ap": 0.90})
    verdict = decide(comparison, champion_trained=True)
    assert not verdict.promote
    assert "AP 0.050 lower" in verdict.reason


def test_without_any_held_out_outcome_only_an_untrained_champion_yields() -> None:
    nothing = compare(*[of(np.zeros(0), np.zeros(0))] * 2)
    assert decide(nothing, champion_trained=False).promote
    assert not decide(nothing, champion_trained=True).promote
