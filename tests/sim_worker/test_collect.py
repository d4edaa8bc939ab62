"""Collection: shards through the real command, resumed, the same with more processes; export; what it refuses."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run_module
from this_process import one_worker_here
from waiting import PATIENCE, wait_until

from shared.shards import ShardReader, shard_folders
from sim_worker.collect import command
from sim_worker.collect.collector import check_recipe, scene_spec
from sim_worker.collect.command import CollectSettings
from sim_worker.collect.export import export_mobileunet, mobileunet_action

SMALL = ["--scenes-per-shard", "2"]
OPTIONS = ["--kinds", "single", "--profiles", "clean", "--random", "4", "--edges", "4", "--feasible", "0", "--on-policy", "0"]


@pytest.fixture
def one_here(monkeypatch):
    one_worker_here(monkeypatch, command, "_collector")


def collect(folder, attempts: int, *options: str) -> subprocess.CompletedProcess:
    return run_module("sim_worker.collect", "--attempts", str(attempts), "--out", str(folder), *SMALL, *OPTIONS, *options)


def outcomes(folder) -> dict:
    return {outcome.id: outcome for shard in shard_folders(folder) for outcome in ShardReader(shard)}


def test_an_interrupted_collection_goes_on_and_gives_the_same(tmp_path, one_here):
    assert collect(tmp_path / "a", 10).returncode == 0
    first = outcomes(tmp_path / "a")
    assert len(first) >= 10
    again = collect(tmp_path / "a", 30)
    assert again.returncode == 0, again.stderr
    assert "continuing" in again.stdout
    resumed = outcomes(tmp_path / "a")
    assert len(resumed) >= 30
    assert first.keys() <= resumed.keys()
    assert collect(tmp_path / "b", 30, "--workers", "2", "--rgb").returncode == 0
    at_once = outcomes(tmp_path / "b")
    assert at_once.keys() == resumed.keys()
    for name, outcome in at_once.items():
        assert outcome.meta.success == resumed[name].meta.success
        np.testing.assert_array_equal(outcome.images["depth"], resumed[name].images["depth"])
    count = export_mobileunet(tmp_path / "b", tmp_path / "b.npz")
    exported = np.load(tmp_path / "b.npz")
    assert exported["imgs"].shape == (count, 64, 64, 3)
    assert exported["imgs"].dtype == np.uint8
    assert exported["actions"].shape == (count, 3)
    assert exported["actions"].dtype == np.int64


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_collection_leaves_no_process_behind(tmp_path, one_here, number):
    arguments = [sys.executable, "-m", "sim_worker.collect", "--attempts", "100000", "--out", str(tmp_path), "--workers", "2"]
    running = subprocess.Popen([*arguments, *OPTIONS, *SMALL], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_until(lambda: shard_folders(tmp_path))
        assert len(members(running.pid)) >= 3
        running.send_signal(number)
        output, _ = running.communicate(timeout=PATIENCE)
        wait_until(lambda: not members(running.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    kept = outcomes(tmp_path)
    assert kept
    if number == signal.SIGTERM:
        assert "stopped; the same command continues" in output
        assert running.returncode == 143
        assert collect(tmp_path, len(kept) + 1).returncode == 0
        assert kept.keys() < outcomes(tmp_path).keys()


def members(session: int) -> list[str]:
    """Command lines of the processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, leader = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(leader) == session and state != "Z":
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue  # it ended meanwhile
    return found


def test_other_options_for_the_same_folder_are_refused(tmp_path):
    check_recipe(tmp_path, CollectSettings(out=tmp_path, seed=1).recipe())
    check_recipe(tmp_path, CollectSettings(out=tmp_path, seed=2).recipe())
    (tmp_path / "shard-000001").mkdir()  # from now on something hangs on the recipe
    check_recipe(tmp_path, CollectSettings(out=tmp_path, seed=2, attempts=5, workers=2).recipe())
    with pytest.raises(ValueError, match="seed: 2 there, 1 asked"):
        check_recipe(tmp_path, CollectSettings(out=tmp_path, seed=1).recipe())


def test_things_are_taken_away_first_only_where_a_planner_says_which(tmp_path):
    assert CollectSettings(out=tmp_path, clear=True, on_policy=1).recipe().clear
    for options in ({"on_policy": 0}, {"records": "replay"}):
        with pytest.raises(ValueError, match="--clear lifts things with the planner of --on-policy"):
            CollectSettings(out=tmp_path, clear=True, **options)


def test_scenes_are_drawn_from_the_seed(tmp_path):
    recipe = CollectSettings(out=tmp_path, profiles="clean,hard", kinds="single,pile", min_objects=2, max_objects=4).recipe()
    specs = [scene_spec(recipe, number) for number in range(60)]
    assert specs == [scene_spec(recipe, number) for number in range(60)]
    assert len({spec.seed for spec in specs}) == 60
    assert {spec.profile for spec in specs} == {"clean", "hard"}
    assert {spec.count for spec in specs if spec.kind == "single"} == {1}
    assert {spec.count for spec in specs if spec.kind == "pile"} == {2, 3, 4}


def test_a_missing_planner_is_told(tmp_path, one_here):
    result = collect(tmp_path / "c", 1, "--on-policy", "1", "--planner", "nonsense")
    assert result.returncode == 2
    assert "nonsense" in result.stderr


def test_the_mobileunet_format_knows_two_directions(tmp_path, one_here):
    assert collect(tmp_path / "a", 8, "--edges", "12").returncode == 0
    success = next(outcome.meta for outcome in outcomes(tmp_path / "a").values() if outcome.meta.success)
    expected = {np.pi / 2: 0, -1.5: 0, 0.0: 1, 0.2: 1}
    for angle, rotation in expected.items():
        grasp = success.grasp.model_copy(update={"angle": angle, "center_px": [119.5, 59.5]})
        assert mobileunet_action(success.model_copy(update={"grasp": grasp}), 240, 240) == (16, 32, rotation)
    slanted = success.grasp.model_copy(update={"angle": 0.7})
    assert mobileunet_action(success.model_copy(update={"grasp": slanted}), 240, 240) is None
    failed = success.model_copy(update={"success": False})
    assert mobileunet_action(failed, 240, 240) is None
    with pytest.raises(ValueError, match="--rgb"):
        export_mobileunet(tmp_path / "a", tmp_path / "a.npz")
