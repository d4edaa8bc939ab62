"""Two commits in turn: the arithmetic, the processes, and the whole command with tiny numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_loop import runs
from waiting import PATIENCE, wait_until

from benchmarks.compare.__main__ import Figure, take_turns
from benchmarks.compare.forty import recorded
from benchmarks.compare.processes import program
from benchmarks.compare.speed import REQUESTS
from benchmarks.serving.watch import family


def test_arms_take_turns_and_ratios_are_of_neighbours() -> None:
    order: list[str] = []
    figure = Figure("plan", "ms")

    def measure(arm: str) -> float:
        order.append(arm)
        return {"base": 2.0, "head": 3.0 + len(order)}[arm]

    take_turns(figure, measure, ("base", "head"), 3)
    assert order == ["base", "head"] * 3
    row = figure.row()
    assert (row["least"], row["median"], row["most"]) == (2.5, 3.5, 4.5)
    assert (row["base"], row["head"], row["turns"]) == (2.0, 7.0, 3)


def test_a_slow_quantity_gets_two_turns() -> None:
    figure = Figure("plan", "ms")
    take_turns(figure, lambda arm: 1.0, ("base", "head"), 9, longest=0.0)
    assert len(figure.base) == len(figure.head) == 2


def test_every_planner_is_timed_with_a_request_that_it_answers() -> None:
    by_name = {each.name: each for each in recorded()}
    assert all(by_name[name].planner == planner for planner, name in REQUESTS.items())
    assert set(REQUESTS) == {name for each in by_name.values() for name in each.planner.split(", ")}


def test_a_program_ends_with_its_children_and_tells_why_it_failed(tmp_path: Path) -> None:
    child = "import time; time.sleep(600)"
    parent = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}])\nprint('up', flush=True)\n{child}"
    with program([sys.executable, "-c", parent], tmp_path) as started:
        started.wait_for(lambda: "up" in started.said(), PATIENCE)
        members = family(started.process.pid)
        assert len(members) == 2
    assert started.process.returncode == -signal.SIGTERM
    wait_until(lambda: not any(runs(member) for member in members))  # killed, but the kernel takes it away in its own time
    with (
        program([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path) as failing,
        pytest.raises(RuntimeError, match="no such thing") as told,
    ):
        failing.wait(PATIENCE)
    assert "ended with 1" in str(told.value)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_command_with_tiny_numbers(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    tiny = ["--planners", "antipodal", "--loop-seconds", "2", "--loop-rounds", "1", "--rounds", "2", "--seconds", "0.2"]
    command = [sys.executable, "-m", "benchmarks.compare", "--base", "HEAD", *tiny, "--json-file", str(figures)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(figures.read_text())["figures"]}
    assert {"plan antipodal", "overhead 160x120", "overhead 640x480", "CPU per request 640x480", "loop"} <= set(rows)
    for row in rows.values():
        assert row["base"] > 0
        assert 0 < row["least"] <= row["median"] <= row["most"]
