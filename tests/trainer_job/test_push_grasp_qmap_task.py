"""What Q-maps learn from, each action for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from block_world import block_outcome
from records import store
from table_scenes import Box, camera, render

from grasp_client.contract import GraspMeta, Outcome, Push, PushMeta, SceneRef
from shared.networks.push_grasp_qmap import PushGraspQmap
from shared.outcome_codec import build_outcome
from shared.registry import Registry
from trainer_job.data.examples import Examples
from trainer_job.data.pictures import PictureBatch, Windows
from trainer_job.data.replay_buffer import read_shards
from trainer_job.tasks import task_of
from trainer_job.tasks.push_grasp_qmap import PushGraspQmapTask
from trainer_job.training.recipe import load

SMALL = {"growth": 2, "blocks": [1, 1, 1, 1], "zoom": 1}
VIEW = camera(480, 640, 525.0)
GOAL = Box(0.05, -0.02, 0.0, 0.05, 0.05, 0.05)


def task_for(recipe: str) -> PushGraspQmapTask:
    found = task_of(load(recipe).model_copy(update={"parameters": SMALL}))
    assert isinstance(found, PushGraspQmapTask)
    return found


def tip(x: float, y: float) -> list[list[float]]:
    return [[0.0, 1, 0, x], [1, 0, 0, y], [0, 0, -1, 0.01], [0, 0, 0, 1]]


def pushed(number: int, x: float = -0.099, **fields: Any) -> Outcome[PushMeta]:
    """Along the base's y axis."""
    depth, without = render(VIEW, [GOAL]), render(VIEW, [])
    start, end = tip(x, -0.049), tip(x, 0.051)
    meta = {
        "push": Push(start_base=start, end_base=end, length=0.1),
        "camera": VIEW.intrinsics, "camera_pose": VIEW.pose.tolist(), "planner": "push", "goal": "cube",
        "quality_before": 0.25, "quality_after": 0.8, "moved": 0.02, "scene": SceneRef(seed=0), **fields,
    }  # fmt: skip
    return build_outcome(PushMeta, f"w:0:{number}", depth, None, meta, {"goal": depth < without - 1e-6})


def grasped(scene: int) -> Outcome[Any]:
    """At the cube."""
    outcome, pose = block_outcome(scene), np.array(tip(0.055, -0.025))
    grasp = outcome.meta.grasp.model_copy(update={"pose_camera": (np.linalg.inv(VIEW.pose) @ pose).tolist()})
    fields = {"camera": VIEW.intrinsics, "camera_pose": VIEW.pose.tolist(), "grasp": grasp}
    return build_outcome(GraspMeta, outcome.id, render(VIEW, [GOAL]), None, {**dict(outcome.meta), **fields})


def test_a_push_lies_at_its_cell_and_turn() -> None:
    task = task_for("push-qmap")
    [features], [aux] = task.features([pushed(0)])
    assert features.shape == task.spec.shape
    assert aux.tolist() == [87, 62, 4]  # a quarter of a turn from columns to rows
    row, column = np.nonzero(features[4])
    assert (row.mean() - 111.5) * 0.002 == pytest.approx(-0.02, abs=0.002)
    assert (column.mean() - 111.5) * 0.002 == pytest.approx(0.05, abs=0.002)
    assert np.median(features[3][features[4] > 0]) == pytest.approx(50, abs=1)
    assert task.refusal(pushed(1, x=0.3).meta.model_dump(mode="json")) == "outside_map"
    assert task.refusal(pushed(2, blocked=True).meta.model_dump(mode="json")) == "blocked"


def test_left_and_right_change_places() -> None:
    task = task_for("push-qmap")
    features, aux = task.features([pushed(0)])
    batch = _examples(features, aux).batch(np.arange(1))
    task_batch = task.augment(batch, None)
    assert task_batch.images[0, 3].max() == pytest.approx(0.05, abs=0.002)
    images, labels = task._mirrored(task_batch.images, task_batch.labels, torch.tensor([True]))
    assert labels.place.tolist() == [[223 - 87, 62]]
    assert labels.map.tolist() == [12]
    assert torch.equal(images.flip(2), task_batch.images)


def test_a_choice_is_judged_among_the_pushes_on_the_same_map() -> None:
    task, network = task_for("push-qmap"), PushGraspQmap(**SMALL)
    features, aux = task.features([pushed(0), pushed(1, x=-0.149), pushed(2)])
    features[2] = np.roll(features[2], 9, axis=2)
    data = Windows(Examples(features, np.array([0.9, 0.1, 0.4], np.float32), aux))
    found = task.evaluate(network, data, torch.device("cpu"))
    assert (found.figures["states"], found.figures["random"], found.figures["best"]) == (1, 0.5, 1)
    assert found.labels.tolist() == [1, 0, 0]
    assert np.isfinite(found.loss)


def test_one_action_learns_and_the_other_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, network = task_for("push-qmap"), PushGraspQmap(**SMALL)
    monkeypatch.setattr(Registry, "champion", lambda *_: 1)
    task.prepare(network, Registry(tmp_path))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features, aux = task.features([pushed(0), pushed(1)])
    batch: PictureBatch = task.augment(_examples(features, aux).batch(np.arange(2)), None)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01, weight_decay=0.1)
    network.train()
    task.loss(network, batch).backward()
    optimizer.step()
    changed = {name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"push_color_trunk", "push_depth_trunk", "pushnet"}


def test_a_grasp_has_the_thing_at_its_place_for_a_goal(tmp_path: Path) -> None:
    task = task_for("grasp-qmap")
    store(tmp_path / "shards", [grasped(scene) for scene in range(24)])
    training, held_out, _ = read_shards(task, [tmp_path / "shards"], [], tmp_path / "cache", 1000, 0)
    assert len(training) + len(held_out) > 0
    row, column = training.aux[:, :2].astype(int).T
    goals = training.features[:, 4]
    assert (goals[np.arange(len(goals)), row, column] == 255).all()
    assert 0 < (goals > 0).mean() < 0.1


def _examples(features: np.ndarray, aux: np.ndarray) -> Windows:
    return Windows(Examples(features, np.full(len(features), 0.8, np.float32), aux))
