"""The best of many poses: tried in the scene itself, chosen under other pose errors than it is scored under."""

import json
import math
import sys

import numpy as np
import pytest

from grasp_client.contract import GraspPlan
from sim_worker.benchmark import command
from sim_worker.benchmark.ceiling import CHOOSING, CeilingState, Search, StateSearch, allowed, ceilings
from sim_worker.benchmark.ceiling_results import ceiling_json
from sim_worker.benchmark.trials import Protocol
from sim_worker.grasp_poses import jaw_grasp, top_down
from sim_worker.planners import NamedPlanner
from sim_worker.world import Scene, World


class Beside:
    """Plans one grasp of nothing, in a corner of the table."""

    def plan(self, observation, request):
        pose = top_down(np.array([0.18, 0.18]), 0.02, 0.0)
        return GraspPlan(planner="beside", grasps=[jaw_grasp(pose, 0.06, 0.7, request.camera, np.asarray(request.camera_pose))])


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


def protocol(**changes) -> Protocol:
    return Protocol.model_validate({"kind": "single", "object_set": "procedural", "named": ["box/90x50x40"], **changes})


def test_the_best_pose_holds_where_a_planner_misses_and_is_scored_under_other_draws(world, monkeypatch):
    draws, attempt = [], Scene.attempt
    monkeypatch.setattr(Scene, "attempt", lambda self, *how: draws.append(how[5]) or attempt(self, *how))
    [state] = ceilings(world, [NamedPlanner("beside", Beside())], protocol(), Search(16, draws=4), 0, 0)
    assert state.best == [True, True]
    assert state.own == {"beside": ["missed", "missed"]}
    assert state.quality == {"beside": 0.7}
    assert state.poses == 16
    assert draws.count(CHOOSING) >= 16
    assert set(draws) == {CHOOSING, CHOOSING + 1, 0, 1}
    assert draws.count(0) == draws.count(1) == 2


def test_every_state_is_searched_until_nothing_is_left(world):
    pile = protocol(kind="packed", count=2, named=[], profile="clean")
    states = ceilings(world, [], pile, Search(8, draws=2, picks=5), 0, 1)
    assert len(states) == 2
    assert len({state.scene_hash for state in states}) == 2


@pytest.mark.parametrize(("name", "approach", "lean"), [("dense", 60, 0), ("tilted", 60, 60), ("tilted", None, 0)])
def test_poses_come_as_the_row_allows(world, name, approach, lean):
    row = protocol(view="side_640", lean=60, approach=approach, within=10)
    scene = world.build(row.spec(0, 0))
    planners = [NamedPlanner(name, Beside(), name)]
    ways = allowed(scene, scene.observe(), planners, row)
    assert math.acos(-ways.axis[2]) == pytest.approx(math.radians(lean), abs=1e-6)
    search = StateSearch(scene, planners, row)
    straight = search._sampled(2)[0]
    for pose in [search._leaned(straight) for _ in range(10)]:
        assert search._allows(pose)
        assert np.allclose(pose.base[:3, 3], straight.base[:3, 3])
        assert all(search._allows(search._moved(pose)) for _ in range(5))


def test_the_share_of_the_distance_that_is_closed():
    def state(best: int, own: int, before: int) -> CeilingState:
        held = {"own": [None] * own + ["slipped"] * (4 - own), "before": [None] * before + ["missed"] * (4 - before)}
        return CeilingState(0, 0, "", 200, best, [True] * best + [False] * (4 - best), held, {"own": 0.5, "before": None})

    result = ceiling_json(protocol(), Search(200), ["own", "before"], [state(4, 3, 2), state(4, 3, 0)])
    assert result["ceiling"]["rate"] == 1
    assert result["planners"]["own"]["closed"] == pytest.approx((0.75 - 0.25) / (1 - 0.25))
    assert result["planners"]["own"]["failures"] == {"slipped": 2}
    assert result["planners"]["own"]["promised"] == 0.5
    assert result["planners"]["before"]["closed"] is None


def test_the_command_prints_a_ceiling(tmp_path, monkeypatch, capsys):
    options = ["--ceiling", "8", "--draws", "2", "--rounds", "1", "--object-set", "procedural", "--profile", "clean"]
    files = ["--planner", "centroid", "--json", str(tmp_path / "c.json")]
    monkeypatch.setattr(sys, "argv", ["benchmark", "single", *options, *files])
    assert command.main() == 0
    assert "best of 8 poses" in " ".join(capsys.readouterr().out.split())
    stored = json.loads((tmp_path / "c.json").read_text())
    assert stored["states"] == 1
    assert list(stored["planners"]) == ["centroid"]
