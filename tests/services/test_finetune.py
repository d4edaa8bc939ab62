"""Finetuning: a folder for each content, true sizes, paired figures, and the whole command with tiny numbers."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import trimesh
from commands import run_module
from places import SHIPPED
from rich.console import Console

from grasp_client.contract import Gripper
from services.finetune import folder_of, main, sizes, steps
from services.finetune_report import print_report
from shared.registry import ModelCard, Registry

HAND = Gripper()


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    folder.mkdir()
    trimesh.creation.box((0.03, 0.05, 0.06)).export(folder / "brick.stl")
    trimesh.creation.box((90, 120, 160)).export(folder / "crate.obj")
    return folder


def test_a_changed_file_or_gripper_is_another_folder(objects: Path, tmp_path: Path) -> None:
    first = folder_of(tmp_path, "dense", objects, HAND)
    assert first == folder_of(tmp_path, "dense", objects, HAND)
    found = {
        first,
        folder_of(tmp_path, "dense", objects, Gripper(max_width=0.05)),
        folder_of(tmp_path, "heatmap", objects, HAND),
    }
    trimesh.creation.box((0.03, 0.05, 0.07)).export(objects / "brick.stl")
    found.add(folder_of(tmp_path, "dense", objects, HAND))
    (objects / "brick.stl").rename(objects / "stone.stl")
    found.add(folder_of(tmp_path, "dense", objects, HAND))
    assert len(found) == 5


def test_true_sizes_are_told_and_what_no_jaw_holds(objects: Path) -> None:
    brick, crate = sizes(objects, HAND)
    assert "60 x 50 x 30 mm" in brick
    assert "wider than" not in brick
    assert "wider than the opening of 80 mm" in crate


def test_more_attempts_go_on_from_what_is_there(tmp_path: Path) -> None:
    def names(attempts: int) -> list[str]:
        options = Namespace(model="suction-dense", attempts=attempts, models_dir=tmp_path, workers=2)
        return [word for step in steps(tmp_path, options) for word in step.command() if word.startswith("--out")]

    assert names(100)[:2] == names(200)[:2]
    options = Namespace(model="suction-dense", attempts=101, models_dir=tmp_path, workers=2)
    collect, ordinary, train = steps(tmp_path, options)
    assert f"--objects-dir={tmp_path / 'files'}" in collect.arguments
    assert "--planner=suction" in ordinary.arguments
    assert "--attempts=50" in ordinary.arguments
    assert "--warm" in train.arguments


@pytest.mark.parametrize(
    ("low", "meaning"), [(1.0, "better on these objects"), (-20.0, "No difference"), (-30.0, "worse on these objects")]
)
def test_the_report_says_what_the_figures_mean_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low: float, meaning: str
) -> None:
    registry = Registry(tmp_path)
    for _ in range(2):
        registry.publish("dense", b"weights", ModelCard(name="dense", architecture="dense"))
    registry.promote("dense", 2 if low > 0 else 1)
    console = Console(width=120)
    monkeypatch.setattr("services.finetune_report.Console", lambda: console)
    rate = {"attempts": 10, "successes": 5, "rate": 0.5, "low": 0.2, "high": 0.8}
    gain = {"points": low + 10, "low": low, "high": low + 25, "n": 10}
    report = {"model": "dense", "before": {"version": 1, **rate}, "after": {"version": 2, **rate}, "gain": gain}
    with console.capture() as captured:
        print_report({**report, "objects": {"brick": [rate, rate]}}, registry, tmp_path / "index.html")
    said = captured.get()
    assert meaning in said
    assert "5 of 10" in said
    assert ("Undo: POST /models/dense/rollback" if low > 0 else "POST /models/dense/promote?version=2") in said


def test_what_cannot_be_used_is_told_in_one_line(objects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out"), "--models-dir", str(tmp_path / "models")]
    assert main(["--objects", str(tmp_path / "none"), *out]) == 2
    assert "expected a folder" in capsys.readouterr().err
    assert main(["--objects", str(objects), "--gripper", "suction_15mm", *out]) == 2
    assert "dense plans for a jaw" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_command_with_tiny_numbers(objects: Path, tmp_path: Path) -> None:
    (objects / "crate.obj").unlink()
    models = tmp_path / "models"
    shutil.copytree(SHIPPED, models)
    options = ["--objects", str(objects), "--out", str(tmp_path / "out"), "--models-dir", str(models), "--workers", "2"]
    tiny = ["--attempts", "300", "--scenes", "12"]
    done = run_module("services.finetune", *options, *tiny)
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = (tmp_path / "out").iterdir()
    report = json.loads((folder / "finetune.json").read_text())
    assert report["report"]["gain"]["n"] == 12
    assert report["after"] > report["before"]
    assert (folder / "pictures" / "000.png").exists()
    again = run_module("services.finetune", *options, *tiny)
    assert json.loads((folder / "finetune.json").read_text()) == report
    assert again.returncode == 0
