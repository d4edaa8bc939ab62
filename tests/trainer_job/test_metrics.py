"""Metrics against values worked out by hand or by definition."""

from __future__ import annotations

import numpy as np
import pytest

from trainer_job.evaluation.metrics import (
    binary_metrics,
    fit_temperature,
    log_losses,
    reliability,
    sigmoid,
)


def test_sigmoid_does_not_overflow() -> None:
    np.testing.assert_allclose(sigmoid(np.array([-1e4, 0.0, 1e4])), [0, 0.5, 1])


def test_log_loss_is_that_of_the_definition() -> None:
    labels, logits = np.array([1, 0, 1]), np.array([0.3, -2.0, -1.0])
    p = sigmoid(logits, 2.0)
    np.testing.assert_allclose(log_losses(labels, logits, 2.0), -np.log([p[0], 1 - p[1], p[2]]))


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_temperature_of_miscalibrated_logits_is_found(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 40_000)
    labels = rng.random(40_000) < sigmoid(logits)
    assert fit_temperature(labels, logits * true_temperature) == pytest.approx(true_temperature, rel=0.05)


def test_temperature_is_one_without_both_labels() -> None:
    assert fit_temperature(np.ones(5), np.ones(5)) == 1.0
    assert fit_temperature(np.zeros(0), np.zeros(0)) == 1.0


def test_calibrated_probabilities_have_a_small_error_and_shifted_ones_do_not() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.random(20_000)
    labels = rng.random(20_000) < probabilities
    assert reliability(labels, probabilities).error < 0.02
    assert reliability(np.ones(100), np.full(100, 0.6)).error == pytest.approx(0.4)


def test_metrics_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(2)
    labels, logits = (rng.random(500) < 0.6).astype(float), rng.normal(0, 4, 500)
    metrics, p = binary_metrics(labels, logits, 1.7), 1 / (1 + np.exp(-logits / 1.7))
    assert metrics["brier"] == pytest.approx(np.mean((p - labels) ** 2), abs=1e-9)
    assert metrics["log_loss"] == pytest.approx(-np.mean(np.log(np.where(labels > 0, p, 1 - p))), abs=1e-9)


def test_binary_metrics_of_a_perfect_and_of_a_one_sided_set() -> None:
    perfect = binary_metrics(np.array([0, 0, 1, 1]), np.array([-9.0, -8.0, 8.0, 9.0]))
    assert perfect["ap"] == perfect["auc"] == perfect["accuracy"] == 1.0
    assert perfect["base_rate"] == 0.5
    one_sided = binary_metrics(np.ones(3), np.zeros(3))
    assert "auc" not in one_sided
    assert one_sided["brier"] == pytest.approx(0.25)
    assert binary_metrics(np.zeros(0), np.zeros(0)) == {"n": 0.0}
