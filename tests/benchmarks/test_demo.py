"""`make demo`: its folder, its curve and its table; and the whole of it where tests may take minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from records import store
from rich.console import Console

from benchmarks.demo.__main__ import MARK, begin, table
from benchmarks.demo.__main__ import REPORT as REPORT_FILE
from benchmarks.demo.animation import SIDE, WIDTH, animate
from benchmarks.demo.plot import WINDOW, curve, draw, served
from benchmarks.learning.running import SETTINGS
from benchmarks.learning.tools import LONG, USUAL, hammer
from grasp_client.contract import CameraIntrinsics, Grasp, GraspMeta, ImageSpec, ModelRef, Outcome

RATE = {"attempts": 20, "successes": 10, "rate": 0.5, "low": 0.3, "high": 0.7}
REPORT = {
    "attempts_until_served": 60,
    "before": {"version": 1, **RATE},
    "after": {"version": 2, **RATE, "rate": 0.7},
    "gain": {"points": 20.0, "low": 4.0, "high": 36.0, "n": 20},
}


def outcome(number: int, version: int, success: bool, exploration: bool = False) -> Outcome:
    meta = GraspMeta(
        grasp=Grasp(kind="parallel_jaw", quality=0.5, center_px=[1.0, 2.0], angle=0.0),
        planner="dense",
        camera=CameraIntrinsics(fx=100, fy=100, cx=1.5, cy=1.5),
        model=ModelRef(name="dense", version=version),
        success=success,
        failure=None if success else "slipped",
        exploration=exploration,
        time=float(number),
        images={"depth": ImageSpec(shape=[4, 4], dtype="float32")},
    )
    return Outcome(id=f"w:{number}:0", meta=meta, images={"depth": np.ones((4, 4), np.float32)})


def test_it_removes_nothing_but_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="not of a demo"):
        begin(tmp_path)
    assert (tmp_path / "mine.txt").exists()
    folder = tmp_path / "demo"
    for _ in range(2):
        begin(folder)
        assert [path.name for path in folder.iterdir()] == [MARK]
        (folder / "shards").mkdir()


def test_the_curve_counts_best_grasps_of_each_version(tmp_path: Path) -> None:
    early = [outcome(k, 1, success=k % 2 == 0, exploration=k % 10 == 9) for k in range(60)]
    store(tmp_path / "shards", [*early, *(outcome(60 + k, 2, success=True) for k in range(30))])
    found = served(tmp_path)
    assert {version: len(attempts) for version, attempts in found.items()} == {1: 54, 2: 30}
    numbers, rates, bounds = curve(found[2])
    assert (numbers[-1], rates[-1]) == (89, 1.0)
    assert (bounds[:, 0] < rates).all()
    assert len(curve([(k, True) for k in range(3)])[0]) == 1
    assert curve([(k, k >= 50) for k in range(50 + WINDOW)])[1][-1] == 1.0
    draw(tmp_path, REPORT, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").stat().st_size > 5000


def test_the_run_is_animated(tmp_path: Path) -> None:
    outcomes = [outcome(k, 1 + k // 20, success=k % 3 > 0) for k in range(40)]
    store(tmp_path / "shards", outcomes)
    (tmp_path / REPORT_FILE).write_text(json.dumps(REPORT))
    animate(tmp_path, tmp_path / "loop.gif", frames=4)
    with Image.open(tmp_path / "loop.gif") as made:
        assert (getattr(made, "n_frames", 1), made.size) == (4, (SIDE + WIDTH, SIDE))


def test_the_table_says_what_was_gained() -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table(REPORT))
    shown = captured.get()
    for expected in ("1 (before)", "50%", "2 (after)", "70%", "+20 points", "+4 to +36", "20 scenes"):
        assert expected in shown


def test_hammers_have_handles_of_the_length_asked_for() -> None:
    random = np.random.default_rng(0)
    usual, long = (float(hammer("h", random, each).split('<box size="')[1].split()[0]) for each in (USUAL, LONG))
    assert USUAL[0] <= usual <= USUAL[1] < LONG[0] <= long <= LONG[1]


def test_the_loop_takes_no_settings_from_around_it() -> None:
    assert {"MODEL", "REDIS_URL", "API_KEYS", "WORKERS", "SERVER_URL"} <= SETTINGS
    assert "PATH" not in SETTINGS


@pytest.mark.slow
def test_it_learns_within_ten_minutes(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "benchmarks.demo", "--out", str(folder), "--scenes", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((folder / "demo.json").read_text())
    assert report["after"]["version"] > report["before"]["version"]
    assert report["gain"]["points"] > 0
    assert (folder / "demo.png").exists()
    assert "gain" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
