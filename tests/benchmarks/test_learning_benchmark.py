"""Figures of the learning benchmark from made runs."""

from __future__ import annotations

import json
import re
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
from commands import run_module
from records import store

from benchmarks.learning.judging import judged
from benchmarks.learning.plots import draw
from benchmarks.learning.running import attempts, seconds, stored
from benchmarks.learning.success import rate
from benchmarks.learning.tools import write
from grasp_client.contract import Grasp, GraspMeta, ImageSpec, Outcome
from shared.rates import paired_gain
from sim_worker.world import SceneSpec, World


def test_a_trial_ends_as_soon_as_the_judge_knows() -> None:
    assert judged(repeat((False, True)), 400) == (True, 14)
    assert judged(repeat((True, False)), 400) == (False, 9)
    assert judged(repeat((True, True)), 30) == (False, 30)
    with pytest.raises(ValueError, match="at least 30 pairs, got 5"):
        judged(iter([(True, True)] * 5), 30)


def test_gains_are_paired_and_in_points() -> None:
    before, after = [True] * 80 + [False] * 20, [True] * 90 + [False] * 10
    found = paired_gain(before, after)
    assert (found["points"], found["n"]) == (10.0, 100)
    assert 3 < found["low"] < 10 < found["high"] < 17
    assert paired_gain(before, before) == {"points": 0.0, "low": 0.0, "high": 0.0, "n": 100}


def outcome(time: float) -> Outcome:
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[1.0, 2.0], angle=0.0)
    spec = {"depth": ImageSpec(shape=[4, 4], dtype="float32")}
    meta = GraspMeta(grasp=grasp, planner="dense", success=True, time=time, images=spec)
    return Outcome(id=f"w:{time}:0", meta=meta, images={"depth": np.ones((4, 4), np.float32)})


def test_attempts_are_counted_in_the_order_of_their_time(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    store(shards, [outcome(1003.0), outcome(1001.0)])
    store(shards, [outcome(1002.0)])
    assert attempts(tmp_path) == 3
    assert [time for time, _ in stored(tmp_path)] == [1001.0, 1002.0, 1003.0]
    assert seconds("1970-01-01T00:16:41+00:00") == 1001.0


def test_curves_are_drawn_from_the_reports_of_all_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        served = [{"after": 0, "version": 1, **rate([True, False])}, {"after": 500, "version": 2, **rate([True] * 9)}]
        versions = [{"version": 1, "learned_from": 0, "auc": 0.5}, {"version": 2, "learned_from": 400, "auc": 0.8}]
        report = {"seed": seed, "attempts": 900, "served": served, "versions": versions}
        (tmp_path / f"scratch-{seed}.json").write_text(json.dumps(report))
    assert draw(tmp_path, tmp_path / "pictures").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="no scratch-"):
        draw(tmp_path / "empty", tmp_path)


def test_the_command_explains_itself() -> None:
    shown = run_module("benchmarks.learning", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "from random weights" in shown.stdout


def test_hammers_are_heavy_at_the_head_and_follow_from_the_seed(tmp_path: Path) -> None:
    folder, again = write(tmp_path / "a", 3, 0), write(tmp_path / "b", 3, 0)
    texts = [path.read_text() for path in sorted(folder.iterdir())]
    assert texts == [path.read_text() for path in sorted(again.iterdir())]
    assert len(set(texts)) == 3
    for text in texts:
        head = max(float(x) for x in re.findall(r'<origin xyz="(\S+) 0 0"/><geometry>', text))
        [centre] = (float(x) for x in re.findall(r'<origin xyz="(\S+) 0 0"/>\n', text))
        assert 0.75 * head < centre < head
    scene = World().build(SceneSpec(seed=3, kind="single", object_set="folder", objects_dir=folder))
    assert [name.startswith("folder/hammer-0-") for name in scene.objects] == [True]
