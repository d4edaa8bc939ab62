"""The fit of the analytic score: known weights come back, bounds hold, and labels carry what the score saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import run_module
from places import SHIPPED
from this_process import one_worker_here

from benchmarks.analytic_score.fit import LEAST, blended, fit, fit_blend, fit_score
from benchmarks.analytic_score.labels import NAMES, Labels, read
from planning.calibration import BLEND
from planning.jaw.search import JAW_WEIGHTS
from planning.local import local_planner
from sim_worker.collect import command as collect
from trainer_job.evaluation.metrics import log_losses, sigmoid


def made_up(count: int = 6000, seed: int = 0) -> Labels:
    """Labels drawn from the score and blend that ship, with features about as large as they are."""
    rng = np.random.default_rng(seed)
    size = np.array([1.0, 0.01, 0.2, 0.01, 0.02, 0.8, 0.05, 0.5, 0.08, 0.012, 0.02, 0.006, 0.001, 0.3])
    sign = np.array([1, -1, -1, -1, -1, -1, -1, -1, 1, -1, 1, 1, -1, -1])
    features = sign * size * np.column_stack([np.ones(count), rng.random((count, len(NAMES) - 1))])
    labels = Labels(
        features=features,
        beyond=np.zeros(count),
        network=rng.normal(1.0, 2.0, count),
        success=np.zeros(count),
        scene=np.arange(count) // 10,
        profile=np.full(count, "hard"),
        on_policy=rng.random(count) < 0.5,
    )
    labels.success[:] = rng.random(count) < sigmoid(labels.score(JAW_WEIGHTS))
    return labels


def test_fit_finds_the_weights_that_made_the_labels_and_keeps_its_bounds() -> None:
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(20_000), rng.normal(size=(20_000, 3))])
    success = (rng.random(20_000) < sigmoid(design @ [0.5, 2.0, -1.0, 0.1])).astype(float)
    free = fit(design, np.zeros(20_000), success, np.full(4, -np.inf))
    assert free == pytest.approx([0.5, 2.0, -1.0, 0.1], abs=0.12)
    bounded = fit(design, np.zeros(20_000), success, np.array([-np.inf, 0.0, 0.0, 0.5]))
    assert bounded[2] == 0.0
    assert bounded[3] == pytest.approx(0.5)
    assert bounded[1] > 1.0


def test_fitted_score_is_calibrated_and_keeps_the_ratio_of_its_bounds() -> None:
    labels = made_up()
    weights = fit_score(labels)
    logits = labels.score(weights)
    assert sigmoid(logits).mean() == pytest.approx(labels.success.mean(), abs=1e-3)
    assert log_losses(labels.success, logits).mean() < log_losses(labels.success, labels.score(JAW_WEIGHTS)).mean() + 0.01
    assert weights.turn / weights.offset == pytest.approx(LEAST["turn"] / LEAST["offset"], rel=0.5)
    assert min(vars(weights)[name] for name in NAMES if name != "intercept") >= 0.0


def test_blend_comes_back_from_labels_that_it_made() -> None:
    labels, rng = made_up(40_000), np.random.default_rng(2)
    score = labels.score(JAW_WEIGHTS)
    labels.success[:] = rng.random(len(score)) < sigmoid(blended(score, labels, BLEND))
    found = fit_blend(score, labels)
    assert found.score == pytest.approx(BLEND.score, abs=0.1)
    assert found.neutral == pytest.approx(BLEND.neutral, abs=0.2)


def test_labels_carry_what_the_score_saw_of_the_grasps_that_were_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [
        "--attempts",
        "8",
        "--scenes-per-shard",
        "1",
        "--kinds",
        "single",
        "--random",
        "0",
        "--edges",
        "0",
        "--feasible",
        "6",
        "--on-policy",
        "2",
    ]
    one_worker_here(monkeypatch, collect, "_collector")
    done = run_module("sim_worker.collect", "--out", str(tmp_path), *options)
    assert done.returncode == 0, done.stderr
    network = local_planner("dense", SHIPPED).network
    assert network is not None
    labels = read(tmp_path, network)
    assert len(labels.success) >= 4
    assert np.isfinite(labels.score(JAW_WEIGHTS)).all()
    assert np.isfinite(labels.network).all()
    assert labels.on_policy.any()
    assert set(labels.profile) == {"standard"}
