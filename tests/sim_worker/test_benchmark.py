"""The benchmark through its real command, and what it is made of."""

import json
import subprocess
import sys

import numpy as np
import pytest
from commands import run_module
from forked import CONTEXT
from PIL import Image

from grasp_client.contract import Grasp, GraspPlan, Gripper
from sim_worker import processes
from sim_worker.benchmark.baselines import BASELINES
from sim_worker.benchmark.command import BenchmarkSettings
from sim_worker.benchmark.results import compare
from sim_worker.benchmark.trials import Protocol, run_round
from sim_worker.command_line import settings_of
from sim_worker.planner_request import planning_request
from sim_worker.planners import NamedPlanner, load_planner
from sim_worker.world import World


def benchmark(*options: str) -> subprocess.CompletedProcess:
    return run_module("sim_worker.benchmark", *options)


def test_the_command_measures_and_reports(tmp_path):
    files = ["--json", str(tmp_path / "r.json"), "--report", str(tmp_path / "report"), "--gif", str(tmp_path / "e.gif")]
    options = ["--planner", "edges", "--profile", "clean", "--object-set", "procedural", "--rounds", "3", "--count", "3"]
    result = benchmark("pile", *options, *files)
    assert result.returncode == 0, result.stderr
    assert "GSR" in result.stdout
    stored = json.loads((tmp_path / "r.json").read_text())
    assert set(stored["planners"]) == {"edges", "random", "centroid"}
    assert len(stored["comparisons"]) == 3
    hashes = {name: [each["scene_hash"] for each in rounds] for name, rounds in stored["rounds"].items()}
    assert hashes["edges"] == hashes["random"] == hashes["centroid"]
    assert len(set(hashes["edges"])) == 3
    for name, figures in stored["planners"].items():
        rounds = stored["rounds"][name]
        assert figures["attempts"]["attempts"] == sum(len(each["attempts"]) for each in rounds)
        assert figures["dr"]["value"] == pytest.approx(
            sum(each["removed"] for each in rounds) / sum(each["presented"] for each in rounds)
        )
        for each in rounds:
            lost_in_a_row = [attempt["success"] for attempt in each["attempts"]][-2:]
            assert each["ended"] != "failures_in_a_row" or lost_in_a_row == [False, False]
    failed = [a for each in stored["rounds"]["edges"] for a in each["attempts"] if not a["success"]]
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("<img") == len(failed) == len(list((tmp_path / "report").glob("*.png")))
    with Image.open(tmp_path / "e.gif") as gif:
        assert gif.n_frames == stored["planners"]["edges"]["attempts"]["attempts"]  # type: ignore[attr-defined]


def test_processes_do_not_change_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "get_context", lambda method: CONTEXT)
    options = ["single", "--planner", "centroid", "--no-baselines", "--rounds", "4", "--profile", "hard"]
    attempts = []
    for workers in ("1", "2"):
        path = tmp_path / f"{workers}.json"
        assert benchmark(*options, "--workers", workers, "--json", str(path)).returncode == 0
        attempts.append(json.loads(path.read_text())["rounds"]["centroid"])
    assert attempts[0] == attempts[1]


class ColourOnly:
    """Grasps the middle of the picture, and remembers what it was sent."""

    def __init__(self):
        self.sent = []

    def plan(self, observation, request):
        self.sent.append((observation, request))
        pose = np.diag([1.0, -1, -1, 1]).tolist()
        grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[120, 120], angle=0.0, width=0.08, pose_base=pose)
        return GraspPlan(planner="colour", grasps=[grasp])


def test_depth_can_be_withheld():
    protocol = Protocol(kind="single", object_set="procedural", rounds=1, inputs=["rgb", "table_depth"], drop_inputs=["depth"])
    colour = ColourOnly()
    [trial] = run_round(World(), [NamedPlanner("colour", colour)], protocol, 0, 0)
    assert len(trial.picks) == 1
    [(observation, request)] = colour.sent
    assert observation.depth is None
    assert observation.rgb is not None
    assert request.table_depth == pytest.approx(0.7, abs=0.01)
    assert request.camera_pose is not None


def test_failures_are_told_when_asked_for_in_the_same_scenes():
    told, hashes = [], []
    for extras in ([], ["failures"]):
        protocol = Protocol(kind="pile", object_set="procedural", count=2, rounds=1, inputs=extras)
        blind = ColourOnly()
        [trial] = run_round(World(), [NamedPlanner("colour", blind)], protocol, 0, 0)
        told.append([len(request.failed) for _, request in blind.sent])
        hashes.append(trial.hash)
    assert told == [[0, 0], [0, 1]]
    assert hashes[0] == hashes[1]


def test_baselines_are_left_out_where_depth_is_withheld(tmp_path):
    path = tmp_path / "r.json"
    result = benchmark("single", "--planner", "edges", "--drop-inputs", "depth", "--rounds", "1", "--json", str(path))
    assert result.returncode == 2
    assert "depth" in result.stderr


def test_a_planner_that_does_not_exist_is_told():
    result = benchmark("single", "--planner", "nonsense", "--rounds", "1")
    assert result.returncode == 2
    assert "nonsense" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"), [(["heap"], "--kind"), (["pile", "--rounds", "0"], "--rounds"), (["pile", "--hand", "claw"], "--hand")]
)
def test_wrong_options_are_told_in_a_line(options, told, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", *options])
    with pytest.raises(SystemExit) as ended:
        settings_of(BenchmarkSettings)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_every_planner_gets_the_same_pose_errors(tmp_path):
    protocol = Protocol(kind="single", profile="hard", object_set="procedural", rounds=1)
    twins = [load_planner("centroid", tmp_path), load_planner("centroid", tmp_path)]
    first, second = run_round(World(), twins, protocol, seed=0, number=1)
    assert first.hash == second.hash
    assert [pick.result for pick in first.picks] == [pick.result for pick in second.picks]


def test_only_images_that_pictures_are_drawn_of_are_kept(tmp_path):
    protocol = Protocol(kind="single", profile="clean", object_set="procedural", rounds=1)
    planners = [load_planner(name, tmp_path) for name in ("antipodal", "random")]
    held, missed = run_round(World(), planners, protocol, seed=0, number=0)
    assert [pick.result.success for trial in (held, missed) for pick in trial.picks] == [True, False]
    for of, kept in {"all": (True, True), "failures": (False, True), "none": (False, False)}.items():
        for trial, stays in zip((held, missed), kept, strict=True):
            trial.keep_views(of)
            assert (trial.picks[0].view is not None) == stays


def test_different_scenes_are_never_compared(tmp_path):
    planner = [load_planner("random", tmp_path)]
    protocol = Protocol(kind="single", profile="clean", object_set="procedural", rounds=1)
    world = World()
    one, two = run_round(world, planner, protocol, 0, 1), run_round(world, planner, protocol, 0, 2)
    with pytest.raises(RuntimeError, match="different scenes"):
        compare({"a": one, "b": two})


@pytest.mark.parametrize(
    ("spec", "name", "version"),
    [
        ("http://127.0.0.1:9", "auto", None),
        ("dense@http://127.0.0.1:9", "dense", None),
        ("dense:3@http://127.0.0.1:9", "dense", 3),
        *((name, name, None) for name in BASELINES),
    ],
)
def test_planners_are_spelt(tmp_path, spec, name, version):
    named = load_planner(spec, tmp_path)
    assert (named.spec, named.name, named.model_version) == (spec, name, version)


@pytest.mark.parametrize("spec", ["dense:three", "nonsense", ""])
def test_misspelt_planners_are_told(tmp_path, spec):
    with pytest.raises(ValueError, match=r"planner|version"):
        load_planner(spec, tmp_path)


def test_the_floor_of_cups_lies_on_a_flat_place_nearest_the_middle():
    spec = Protocol(kind="single", profile="clean", object_set="test").spec(0, 0)
    spec = spec.model_copy(update={"objects": ("box/120x80x40",), "upright": True})
    world = World()
    view = world.build(spec).observe()
    middle = np.asarray(world.simulation.physics.client.getBasePositionAndOrientation(1)[0])
    world.close()
    cup = Gripper(kind="suction", cup_radius=0.0075)
    for seed in range(5):
        call = planning_request(view, spec, cup, 1)
        plan = BASELINES["flattest"].plan(call.observation, call.request.model_copy(update={"seed": seed}))
        pose = np.asarray(view.camera_pose) @ np.asarray(plan.grasps[0].pose_camera)
        assert np.linalg.norm(pose[:2, 3] - middle[:2]) < 0.015
        assert pose[2, 2] < -0.99
    call = planning_request(view, spec, Gripper(), 1)
    assert BASELINES["flattest"].plan(call.observation, call.request).grasps == []
