"""The suction scorer learns from outcomes of cups, whichever way they are turned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from block_world import CAMERA, TABLE_DEPTH, block_outcome, outcome_at
from records import store

from grasp_client.contract import Grasp, Gripper, Outcome
from grasp_client.geometry import approach_frame
from planning.discovery import discover
from shared.features.cup_frame import CHANNELS, SIDE, footprint
from shared.registry import Registry
from trainer_job.data.examples import FeatureBatch
from trainer_job.tasks import task_of, task_of_model
from trainer_job.train import main as train
from trainer_job.training.recipe import load, shipped

TASK = task_of_model("suction-dense")
CUP = Gripper(kind="suction", cup_radius=0.012)


def cup_outcome(episode: int, attempt: int = 0) -> Outcome:
    """A cup on a block of 8 cm, which holds, or over its edge, which does not."""
    rng = np.random.default_rng([episode, attempt])
    depth = np.full((96, 96), TABLE_DEPTH, np.float32)
    u, v = rng.integers(36, 60, 2)
    depth[v - 8 : v + 9, u - 8 : u + 9] = TABLE_DEPTH - 0.04
    holds = bool(rng.random() < 0.5)
    du = int(rng.integers(-3, 4)) if holds else 8 * int(rng.choice([-1, 1]))
    z = TABLE_DEPTH - 0.04
    origin = np.array([(u + du - CAMERA.cx) * z / CAMERA.fx, (v - CAMERA.cy) * z / CAMERA.fy, z])
    pose = approach_frame(origin, np.array([1.0, 0, 0]), np.array([0, 0, 1.0]))
    grasp = Grasp(kind="suction", quality=0.5, center_px=[u + du, v], angle=0.0, depth=z, pose_camera=pose.tolist())
    meta: dict[str, object] = {"grasp": grasp, "gripper": CUP, "planner": "suction", "model": None}
    return outcome_at(f"w:{episode}:{attempt}", depth, (u + du, v), holds, episode, meta)


def plain(outcome: Outcome) -> dict:
    return outcome.meta.model_dump(mode="json")


def test_outcomes_of_cups_teach_and_those_of_jaws_do_not() -> None:
    assert TASK.refusal(plain(cup_outcome(1))) is None
    assert TASK.refusal(plain(block_outcome(1))) == "gripper"
    assert task_of_model("dense").refusal(plain(cup_outcome(1))) == "gripper"
    assert TASK.refusal({**plain(cup_outcome(1)), "contact_rule": "allowed"}) == "contact_rule"


def test_features_are_what_the_cup_sees() -> None:
    outcome = cup_outcome(1)
    features, _ = TASK.features([outcome])
    assert features.shape == (1, *TASK.spec.shape) == (1, CHANNELS, SIDE, SIDE)
    assert np.isfinite(features).all()


@pytest.fixture
def turned() -> torch.Tensor:
    """A spot 20 cells from the cup, seen in 600 turns."""
    patches = torch.zeros(600, CHANNELS, SIDE, SIDE)
    patches[:, 1, 6:9, 14:17] = 1.0
    patches[:, 3] = footprint(0.015, patches.device)
    batch = FeatureBatch(patches, torch.zeros(600, 0), torch.zeros(600))
    return TASK.augment(batch, torch.Generator().manual_seed(0)).features


def test_turns_go_all_the_way_round_and_leave_the_cup_in_the_middle(turned: torch.Tensor) -> None:
    line = torch.arange(SIDE) - (SIDE - 1) / 2
    mass = turned[:, 1].sum((1, 2))
    x, y = (turned[:, 1] * line).sum((1, 2)) / mass, (turned[:, 1] * line[:, None]).sum((1, 2)) / mass
    assert torch.hypot(x, y) == pytest.approx(np.full(600, float(np.hypot(0.5, 8.5))), abs=0.3)
    counts, _ = np.histogram(torch.atan2(y, x).numpy(), bins=8, range=(-np.pi, np.pi))
    assert counts.min() > 40
    assert (turned[:, 3] - footprint(0.015, turned.device)).abs().mean() < 0.02


def test_noise_is_small_and_only_in_the_fine_heights(turned: torch.Tensor) -> None:
    assert 0 < turned[:, 0].std() * 0.006 < 0.001
    assert (turned[:, [2, 4, 5]] == 0).all()


def test_it_is_trained_and_published(tmp_path) -> None:
    shards = tmp_path / "shards"
    for first in (0, 100):
        store(shards, [cup_outcome(episode) for episode in range(first, first + 100)])
    options = ["--shards", tmp_path / "shards", "--models", tmp_path / "models", "--cache", tmp_path / "fit"]
    assert train([*map(str, options), "--name", "suction-dense", "--epochs", "4", "--batch", "32", "--torch-threads", "1"]) == 0
    card = Registry(tmp_path / "models").card("suction-dense", 1)
    assert card.architecture == "suction-dense"
    assert card.metrics["ap"] > card.metrics["base_rate"] + 0.2
    assert Registry(tmp_path / "models").champion("suction-dense") == 1


def test_recipes_of_rounds_name_the_planner_that_serves_them() -> None:
    trained = [recipe for recipe in map(load, shipped()) if recipe.planner]
    names = [recipe.name for recipe in trained]
    assert {"dense", "suction-dense", "gqcnn-jaw", "heatmap"} <= set(names)
    assert len(names) == len(set(names))  # one recipe for each
    grasping = [recipe for recipe in trained if task_of(recipe).outcome_kind == "grasp"]
    assert [recipe.name for recipe in trained if recipe not in grasping] == ["push-value"]
    for recipe in grasping:
        kind = discover()[recipe.planner or ""]
        assert kind.model_name == recipe.name
        assert kind.architecture in (None, recipe.architecture)  # none: any of the GQ-CNN family
        assert recipe.kind in kind.grippers
        assert task_of(recipe).spec.shape
