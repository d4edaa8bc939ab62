"""Pushes are labelled from one settled state, for every thing that they may help, and everything is taken back."""

from pathlib import Path

import numpy as np
import pytest

from grasp_client.contract import ActionPlan, ActionRequest, GraspPlan, Gripper, PlanRequest, Push, PushMeta
from grasp_client.observation import Observation
from shared.shards import ShardReader, shard_folders
from sim_worker.collect import collector
from sim_worker.collect.command import CollectSettings
from sim_worker.planners import NamedPlanner
from sim_worker.tasks.goals import goal_mask, goal_of, is_in_workspace, is_visible, neighbours_of
from sim_worker.tasks.push_labels import PushMix, Quality, label_pushes
from sim_worker.world import CameraView, Scene, SceneSpec, World

DOWN = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])


def push(x: float, y: float, length: float = 0.1) -> Push:
    """Along the base's x axis, 15 mm over the table."""
    start, end = np.eye(4), np.eye(4)
    start[:3, :3] = end[:3, :3] = DOWN
    start[:3, 3], end[:3, 3] = (x, y, 0.015), (x + length, y, 0.015)
    return Push(start_base=start.tolist(), end_base=end.tolist(), length=length)


class Rule:
    """A thing is as good to grasp as it is far from the middle of the image, in pixels over 100."""

    name = "rule"

    def __init__(self, *pushes: Push) -> None:
        self.made = pushes

    def quality(self, view: CameraView, goal: str) -> Quality:
        v, u = np.nonzero(goal_mask(view, goal))
        return min(1.0, float(np.hypot(u.mean() - view.camera.cx, v.mean() - view.camera.cy)) / 100), None

    def pushes(self, view: CameraView, goal: str, count: int, random: np.random.Generator) -> list[Push]:
        return list(self.made)[:count]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Two cubes in a row along y, touching."""
    path = tmp_path / "case.txt"
    path.write_text("4.obj 1 0 0 -0.5 -0.1 0.026 0 0 0\n4.obj 0 1 0 -0.5 -0.0495 0.026 0 0 0\n")
    return World().build(SceneSpec(seed=1, kind="case", case=path, object_set="blocks"))


def test_every_push_starts_from_the_settled_state(scene: Scene) -> None:
    settled = scene.hash()
    planner = Rule(push(-0.1, 0.0), push(0.0, 0.0), push(-0.1, 0.0))
    mix = PushMix(relabelled=0, go_on=0.0)
    first, blocked, again = label_pushes(scene, "block/4", planner, Gripper(), mix, "w:0")
    assert scene.hash() == settled
    assert [each.id for each in (first, blocked, again)] == ["w:0:0", "w:0:1", "w:0:2"]
    assert first.meta.quality_before == blocked.meta.quality_before < 0.1
    assert first.meta.quality_after > 0.15
    assert 0.03 < first.meta.moved < 0.08
    assert (first.meta.moved, first.meta.quality_after) == pytest.approx(
        (again.meta.moved, again.meta.quality_after), abs=0.004
    )
    assert blocked.meta.blocked
    assert blocked.meta.quality_after == blocked.meta.quality_before
    assert not any(each.meta.lost for each in (first, blocked, again))
    assert set(first.images) == {"depth", "goal"}
    assert first.images["goal"].sum() == goal_mask(scene.observe(), "block/4").sum()


def test_a_push_is_labelled_for_what_stands_beside_the_goal_too(scene: Scene) -> None:
    mix = PushMix(relabelled=1, go_on=0.0)
    goal, other = label_pushes(scene, "block/4", Rule(push(-0.1, 0.05)), Gripper(), mix, "w:0")
    assert (goal.meta.goal, other.meta.goal) == ("block/4", "block/4#2")
    assert goal.meta.moved < other.meta.moved
    assert (goal.images["goal"] != other.images["goal"]).any()


def test_it_goes_on_from_states_that_pushes_leave(scene: Scene) -> None:
    mix = PushMix(relabelled=0, go_on=1.0)
    labels = list(label_pushes(scene, "block/4", Rule(push(-0.1, 0.0)), Gripper(), mix, "w:0"))
    assert len(labels) == 3
    befores, afters = ([getattr(each.meta, name) for each in labels] for name in ("quality_before", "quality_after"))
    assert befores[1:] == pytest.approx(afters[:-1], abs=0.02)


def test_a_goal_that_leaves_the_workspace_is_lost(scene: Scene) -> None:
    far = [push(-0.1, 0.0, 0.3), push(-0.1, 0.0, 0.1)]
    gone, still = label_pushes(scene, "block/4", Rule(*far), Gripper(), PushMix(relabelled=0, go_on=0.0), "w:0")
    assert gone.meta.lost
    assert gone.meta.quality_after == 0
    assert not still.meta.lost


def test_the_goal_is_drawn_among_visible_things(scene: Scene) -> None:
    assert goal_of(scene) in scene.objects
    assert goal_of(scene) == goal_of(scene)
    assert neighbours_of(scene, "block/4") == ["block/4#2"]
    assert is_visible(scene.observe(), "block/4")
    assert not is_visible(scene.observe(), "block/6")
    assert is_in_workspace(scene, "block/4")
    assert not is_in_workspace(scene, "block/6")


class Proposer:
    """Asked about actions: a goal is graspable by half where it is asked for pushes, and better afterwards."""

    def __init__(self) -> None:
        self.asked: list[ActionRequest] = []

    def plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        raise AssertionError("labels of pushes need actions")

    def plan_action(self, observation: Observation, request: ActionRequest) -> ActionPlan:
        self.asked.append(request)
        told = {"planner": "rule", "grasp_planner": "dense", "goal_quality": 0.3 if len(self.asked) % 2 else 0.6}
        pushes = [push(-0.2, y / 100) for y in range(-2, 3)] if request.push.threshold == 1.0 else []
        return ActionPlan.model_validate({**told, "action": "push" if pushes else "none", "pushes": pushes})


def test_a_collection_of_pushes_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Proposer()
    monkeypatch.setattr(collector, "load_planner", lambda *_: NamedPlanner("push", planner, "push"))
    settings = CollectSettings(
        out=tmp_path, pushes=2, kinds=["enclosed"], object_set="clutter", planner="push", scenes_per_shard=1, attempts=1
    )
    made = collector.Collector(settings.recipe(), tmp_path, Path("models"), None)
    number = next(number for number in range(20) if made.shard(number).labels)
    done, labels, _ = collector.already_there(tmp_path, 1)
    assert done == {number}
    assert labels >= 2
    [folder] = shard_folders(tmp_path)
    metas = [meta for _, outcome in ShardReader(folder).of_kind(PushMeta) for meta in [outcome.meta]]
    assert len(metas) == labels
    assert {meta.scene.object_set for meta in metas if meta.scene} == {"clutter"}
    assert all(meta.push.length == 0.1 for meta in metas)
    assert planner.asked[0].push.workspace == [-0.224, -0.224, 0.224, 0.224]
