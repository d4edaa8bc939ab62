"""Getting one thing out of clutter: the rules of an episode, the policies, the figures, and what a session folder holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grasp_client.contract import Gripper, ModelRef, Push
from shared.maps.orthographic import OrthographicMaps
from sim_worker.benchmark.goal import scenes
from sim_worker.benchmark.goal.episodes import driven, replay, run_episode
from sim_worker.benchmark.goal.policies import POLICIES, Policy, PolicyName
from sim_worker.benchmark.goal.qmap import QmapPolicy
from sim_worker.benchmark.goal.results import compare, summarise
from sim_worker.benchmark.goal.scenes import GoalProtocol, GoalScene, find_scene, preset_files
from sim_worker.grasp_poses import jaw_grasp, top_down
from sim_worker.planner_request import Failure
from sim_worker.tasks.goal_episode import Decision, GoalRunner, Look
from sim_worker.tasks.goals import goal_mask, place_of
from sim_worker.world import CameraView, SceneError, SceneSpec, World


def push(x: float, y: float, angle: float, quality: float) -> Push:
    start = top_down(np.array([x, y]), 0.012, angle + np.pi / 2)
    end = start.copy()
    end[:2, 3] += 0.13 * np.array([np.cos(angle), np.sin(angle)])
    return Push(start_base=start.tolist(), end_base=end.tolist(), length=0.13, predicted_quality=quality)


class Referee:
    """Grasps the goal, closing along x, well when no neighbour's pixel lies within 35 mm of it along x; knows three pushes."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool, bool]] = []

    def decide(self, view: CameraView, goal: str, failed: Sequence[Failure], clear: bool, push: bool) -> Decision:
        self.asked.append((len(failed), clear, push))
        mask = goal_mask(view, goal)
        v, u = np.nonzero(mask)
        place = np.array([u.mean() - view.camera.cx, view.camera.cy - v.mean()]) * 0.65 / view.camera.fx
        rows = view.segmentation[int(v.mean()) - 8 : int(v.mean()) + 8, int(u.min()) - 22 : int(u.max()) + 23]
        free = not ((rows > 0) & (rows != view.objects.index(goal) + 1)).any()
        grasp = jaw_grasp(top_down(place, 0.01, 0.0), 0.075, 0.9 if free else 0.2, view.camera, np.asarray(view.camera_pose))
        return Decision(grasp.quality, "push", (grasp,), (), PUSHES if push else ())


PUSHES = (push(0.065, -0.11, np.pi / 2, 0.8), push(-0.065, -0.11, np.pi / 2, 0.7), push(0.0, -0.11, np.pi / 2, 0.3))
"""The first pushes the neighbour away along y, the second meets nothing, the third the goal."""


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def found(world: World, tmp_path: Path) -> GoalScene:
    """A cube beside a cube, in a row along x."""
    path = tmp_path / "case.txt"
    path.write_text("".join(f"4.obj 1 0 0 {x - 0.5} -0.1 0.026 0 0 0\n" for x in (0.0, 0.0505)))
    spec = SceneSpec(seed=2, kind="case", case=path, object_set="blocks")
    return GoalScene.of(world.build(spec), "block/4")


def play(world: World, found: GoalScene, policy: PolicyName) -> tuple[GoalRunner, Referee]:
    scene, referee = world.build(found.spec), Referee()
    runner = GoalRunner(scene, "block/4", Gripper())
    list(driven(runner, Policy(policy, referee, scene, Gripper(), np.random.default_rng(0))))
    return runner, referee


def test_best_pushes_free_the_goal_for_a_grasp(world: World, found: GoalScene) -> None:
    runner, referee = play(world, found, "push_only")
    assert runner.log.done
    assert runner.log.kinds[-1] == "grasp"
    assert set(runner.log.kinds[:-1]) == {"push"}
    assert runner.log.motions == len(runner.log.kinds) == 2
    assert referee.asked[0] == (0, False, True)


def test_grasping_alone_fails_ten_times_and_tells_the_planner(world: World, found: GoalScene) -> None:
    runner, referee = play(world, found, "grasp_only")
    assert runner.log.ended in ("failed_grasps", "done", "hidden", "lost")
    assert set(runner.log.kinds) == {"grasp"}
    assert runner.log.attempts == runner.log.motions
    assert [failed for failed, _, _ in referee.asked] == list(range(len(referee.asked)))
    assert not any(push for _, _, push in referee.asked)


@pytest.mark.parametrize("policy", ["random_push", "rule", "oracle"])
def test_every_policy_ends(world: World, found: GoalScene, policy: PolicyName) -> None:
    runner, _ = play(world, found, policy)
    assert runner.log.ended is not None
    assert runner.log.motions <= 15


def test_the_oracle_takes_what_it_tries_back(world: World, found: GoalScene) -> None:
    scene, referee = world.build(found.spec), Referee()
    settled = scene.hash()
    choose = Policy("oracle", referee, scene, Gripper(), np.random.default_rng(0))
    look = next(GoalRunner(scene, "block/4", Gripper()).run())
    move = choose(look)  # type: ignore[arg-type]
    assert move is not None
    assert move.kind == "push"
    assert scene.hash() == settled


def test_the_rule_sweeps_neighbours_and_makes_no_push_twice(world: World, found: GoalScene) -> None:
    scene, referee = world.build(found.spec), Referee()
    choose = Policy("rule", referee, scene, Gripper(), np.random.default_rng(0))
    look = next(GoalRunner(scene, "block/4", Gripper()).run())
    first, second = (choose(look) for _ in range(2))  # type: ignore[arg-type]
    assert first is not None
    assert second is not None
    assert {PUSHES.index(each.push) for each in (first, second) if each.push} == {0, 1}


def test_a_session_can_be_looked_at_and_replayed(world: World, found: GoalScene, tmp_path: Path) -> None:
    folder = tmp_path / "session" / "push_only" / "0000"
    row = run_episode(found, "push_only", Referee(), Gripper(), 0, folder)
    assert row["ended"] == "done"
    told = json.loads((folder / "00.json").read_text())
    assert (told["kind"], told["value"], told["goal_quality"]) == ("push", 0.8, 0.2)
    rewards = [json.loads(path.read_text())["reward"] for path in sorted(folder.glob("[0-9][0-9].json"))]
    assert rewards[-2:] == pytest.approx([0.7, 1.0])
    with Image.open(folder / "00-height.png") as image:
        heights = np.asarray(image)
    assert heights.shape == (224, 224)
    assert heights[112, 112] == pytest.approx(5000, abs=150)
    with Image.open(folder / "strip.png") as strip:
        assert strip.width == row["motions"] * strip.height
    again = replay(world, folder, Gripper())
    assert [(told["success"], told["lifted"]) for told, _ in again] == [(now.success, now.lifted) for _, now in again]
    assert [told["moved"] for told, _ in again] == [now.moved for _, now in again]
    with pytest.raises(ValueError, match=r"no scene\.json"):
        replay(world, tmp_path, Gripper())


def test_every_policy_finds_the_scene_as_it_was_built(world: World, found: GoalScene) -> None:
    rows = [run_episode(found, "push_only", Referee(), Gripper(), 0, None) for _ in range(2)]
    assert rows[0]["ended"] == "done"
    assert rows[1] == rows[0]
    assert found.again().hash() == found.hash == world.build(found.spec).hash()


def test_figures_are_those_of_published_work() -> None:
    def row(ended: str, motions: int, attempts: int, failures: int, number: int = 0) -> dict[str, object]:
        return {"policy": "a", "number": number, "hash": "h", "ended": ended, "motions": motions, "attempts": attempts,
                "failures": failures, "kinds": ["push"] * (motions - attempts) + ["grasp"] * attempts}  # fmt: skip

    rows = [row("done", 2, 1, 0), row("done", 4, 2, 1, 1), row("lost", 3, 0, 0, 2), row("hidden_at_start", 0, 0, 0, 3)]
    figures = summarise(rows)
    assert figures["completion"]["rate"] == pytest.approx(2 / 3)
    assert figures["grasp_success"]["rate"] == pytest.approx(2 / 3)
    assert figures["grasp_success_per_episode"]["value"] == pytest.approx(0.75)
    assert figures["motions"]["value"] == 3
    assert figures["action_efficiency"]["value"] == pytest.approx(2 / 9)
    assert (figures["episodes"], figures["hidden"]) == (3, 1)
    other = [row("done", 3, 1, 0), row("done", 3, 1, 0, 1), row("done", 9, 1, 0, 2)]
    [compared] = compare({"a": rows, "b": other})
    assert (compared["completed"]["first_only"], compared["completed"]["second_only"]) == (0, 1)
    assert (compared["fewer_motions"]["first_only"], compared["fewer_motions"]["second_only"]) == (1, 2)


def test_enclosed_scenes_count_where_the_goal_is_hard_to_grasp(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "REDRAWS", 3)
    protocol = GoalProtocol(scenes="enclosed", seed=3)
    asked: list[str] = []

    def quality(scene: object, goal: str) -> float:
        asked.append(goal)
        return 0.9 if len(asked) < 3 else 0.2

    found = find_scene(world, protocol, 0, quality)
    assert len(asked) == 3
    assert found.spec == protocol.spec(0, 2)
    with pytest.raises(SceneError, match="too easy"):
        find_scene(world, protocol, 1, lambda scene, goal: 1.0)


def test_preset_files_need_their_goals(world: World, tmp_path: Path) -> None:
    line = "{}.obj 1 0 0 {} -0.1 {} 0 0 0\n"
    (tmp_path / "a.txt").write_text(line.format(4, -0.7, -800) + line.format(4, -0.6, 0.026) + line.format(4, -0.4, 0.026))
    with pytest.raises(ValueError, match="--goals"):
        preset_files(tmp_path, [])
    files, goals = preset_files(tmp_path, [2])
    protocol = GoalProtocol(scenes="cases", cases=files, goals=goals)
    assert find_scene(world, protocol, 0, lambda scene, goal: 0.0).goal == "block/4#2"
    with pytest.raises(SceneError, match="no block in the workspace"):
        find_scene(world, GoalProtocol(scenes="cases", cases=files, goals=[0]), 0, lambda scene, goal: 0.0)
    with pytest.raises(ValueError, match="no preset file"):
        preset_files(tmp_path / "none", [])


def test_policies_are_named_once() -> None:
    assert len(set(POLICIES)) == 7


@dataclass
class OneCell:
    """Values that are highest at one cell and turn of each action."""

    grasp: float
    ref = ModelRef(name="push-grasp-qmap", version=1)
    grasp_from = 0.5

    def __call__(self, seen: OrthographicMaps) -> np.ndarray:
        values = np.full((2, 16, *seen.height.shape), -9.0)
        values[0, 4, 40, 100] = 2.0
        values[1, 2][seen.goal] = self.grasp
        values[1, 3, 0, 0] = 5.0  # not on the goal
        return values


@pytest.mark.parametrize("grasp", [1.0, 0.4])
def test_qmaps_grasp_the_goal_where_that_is_worth_it_and_push_else(world: World, found: GoalScene, grasp: float) -> None:
    policy = QmapPolicy(OneCell(grasp), Gripper())
    scene = world.build(found.spec)
    look = next(GoalRunner(scene, "block/4", Gripper()).run())
    assert isinstance(look, Look)
    move = policy(look)
    assert move.kind == move.decision.action == ("grasp" if grasp > 0.5 else "push")
    if move.grasp is not None:
        pose = np.asarray(look.view.camera_pose) @ np.asarray(move.grasp.pose_camera)
        place, goal = pose[:2, 3], place_of(scene, "block/4")
        assert goal is not None
        assert np.abs(place - goal[:2]).max() < 0.027
        assert abs(pose[0, 0]) == pytest.approx(np.cos(np.pi / 4), abs=1e-6)
    else:
        assert move.push is not None
        assert move.push.start_base is not None
        assert move.push.end_base is not None
        start, end = (np.asarray(pose)[:2, 3] for pose in (move.push.start_base, move.push.end_base))
        assert start == pytest.approx([(100 - 111.5) * 0.002, (40 - 111.5) * 0.002])
        assert end - start == pytest.approx([0.0, 0.1], abs=1e-9)
