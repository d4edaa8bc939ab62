"""Refinement: from ordinary outcomes with offsets to a critic in the registry that the planner `refined` uses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from block_world import block_outcome
from PIL import Image
from records import store

from shared.networks.cell_critic import GAIN, CellCritic
from shared.registry import Registry
from shared.settings import TrainerSettings
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.promotion.publish import REPOSITORY, load_network, seed_registry
from trainer_job.rl.evaluate import main as evaluate
from trainer_job.rl.refine import schedule, task_for, trials_done, untaught_version
from trainer_job.tasks import task_of_model
from trainer_job.train import main as train
from trainer_job.training.round import plan_round


def test_it_learns_from_outcomes_of_any_planner() -> None:
    task, outcome = task_of_model("refine"), block_outcome(1)
    features, told = task.features([outcome])
    dense, _ = task_of_model("dense").features([outcome])
    assert np.allclose(features, dense, atol=1e-6)
    closing, across, position = told.reshape(3, 3)
    assert closing @ across == pytest.approx(0, abs=1e-6)
    expected = np.array(outcome.meta.grasp.pose_camera)  # no camera_pose: in the camera's frame
    assert position == pytest.approx(expected[:3, 3], abs=1e-4)


def test_a_registry_starts_from_the_scorer_of_dense(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    seed_registry(registry, REPOSITORY / "models", task_for("fc_gqcnn"), 0)
    network = load_network(registry, "refine", 1)
    assert isinstance(network, CellCritic)
    assert network.base == "fc_gqcnn"
    scorer = load_network(registry, "dense", registry.champion("dense") or 0)
    (seen,) = network.scorer.golden_batch()
    with torch.inference_mode():
        assert network.scorer(seen) == pytest.approx(scorer(seen), abs=1e-5)
    calibration = registry.card("dense", 1).calibration
    wanted = 1 / calibration["value"] if calibration["kind"] == "temperature" else calibration["slope"]
    assert 1 + GAIN * network.trust[0].item() == pytest.approx(wanted, abs=1e-5)
    assert untaught_version(registry, "fc_gqcnn") == 1
    with pytest.raises(ValueError, match="no untaught refine for dense"):
        untaught_version(registry, "dense")
    with pytest.raises(ValueError, match="starts from the champion of 'dense'"):
        seed_registry(Registry(tmp_path / "empty"), tmp_path / "nothing", task_for("dense"), 0)


def test_rounds_of_the_loop_fit_it_to_the_end(tmp_path: Path) -> None:
    """Thirty steps, as many passes over sixty outcomes are, moved a critic half as far as they told."""
    registry, task = Registry(tmp_path / "models"), task_of_model("refine")
    seed_registry(registry, REPOSITORY / "models", task, 0)
    store(tmp_path / "shards", [block_outcome(number) for number in range(20)])
    replay = ReplayBuffer(OutcomeIndex(tmp_path / "shards"), FeatureCache(tmp_path / "features", task))
    replay.refresh()
    schedule = plan_round(replay, registry, TrainerSettings(), "refine").schedule
    assert schedule.steps(60) == task.recipe.min_steps == 300


def test_it_is_fitted_early_and_then_every_500_trials() -> None:
    assert schedule(1200) == [50, 100, 250, 500, 1000, 1200]
    assert schedule(30) == [30]


@pytest.mark.slow
def test_the_commands_learn_go_on_and_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--models-dir", str(tmp_path / "models"), "--cell-error", "0.01,0,0,0,0,0.05"]
    learn = ["refine", *where, "--out", str(tmp_path / "run")]
    assert train([*learn, "--trials", "6"]) == 0
    assert trials_done(tmp_path / "run" / "shards") == 6
    assert train([*learn, "--trials", "9"]) == 0
    assert trials_done(tmp_path / "run" / "shards") == 9
    registry = Registry(tmp_path / "models")
    card = registry.card("refine", registry.champion("refine") or 0)
    assert card.outcomes["count"] >= 7
    assert card.parameters["base"] == "dense"
    capsys.readouterr()
    recording = tmp_path / "scenes.gif"
    assert evaluate(["refine", *where, "--episodes", "3", "--record", str(recording)]) == 0
    with Image.open(recording) as gif:
        assert gif.size == (2 * 244, 244)
    rates, gain = capsys.readouterr().out.splitlines()[-2:]
    version = f"refined:{registry.champion('refine')}"
    assert rates.startswith("3 of 3 scenes: dense ")
    assert "; untaught refined " in rates
    assert f"; {version} " in rates
    assert re.fullmatch(rf"{version} removes -?\d+% of the failures of dense", gain)
    assert train([*learn[:-2], "--out", str(tmp_path / "other"), "--cell-error", "1,2", "--trials", "2"]) == 1
    assert "six numbers, got 2" in capsys.readouterr().err
