"""The history command through its real command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from commands import run_module
from PIL import Image

from shared.rates import rate_with_interval
from shared.registry import AbTestState, ModelCard, Registry


@pytest.fixture
def models(tmp_path: Path) -> Path:
    registry = Registry(tmp_path / "models")
    for version, (successes, total) in enumerate([(40, 0), (70, 500), (20, 1000)], start=1):
        registry.publish("dense", b"weights", ModelCard(name="dense", architecture="dense", parent=version - 1 or None))
        card = {"metrics": {"ap": 0.5 + version / 10, "brier": 0.2}, "outcomes": {"total": total}}
        registry.update("dense", version, simulated=rate_with_interval(successes, 80), **card)
    registry.promote("dense", 2)
    registry.record("dense", 2, {"action": "promoted", "reason": "not worse"})
    registry.record("dense", 3, {"action": "rejected", "reason": "worse"})
    return registry.root


def history(*arguments: str) -> subprocess.CompletedProcess:
    return run_module("trainer_job.history", *arguments)


def test_the_table_tells_what_was_learned_and_decided(models: Path, tmp_path: Path) -> None:
    shown = history("--models", str(models), "--plot", str(tmp_path / "plots" / "history.png"))
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "dense: champion 2, candidate none"
    assert lines[3].split()[:2] == ["2", "1"]
    assert "87.5% [78.5%, 93.1%] n=80" in lines[3]
    assert lines[3].endswith("promoted: not worse")
    assert lines[4].endswith("rejected: worse")
    with Image.open(tmp_path / "plots" / "history.png") as picture:
        assert picture.size == (900, 400)


def test_robots_stand_beside_simulation_and_a_running_test_is_told(models: Path) -> None:
    registry = Registry(models)
    registry.update("dense", 2, robots=rate_with_interval(30, 60))
    registry.set_candidate("dense", 3)
    text = "A/B test on served grasps, version 3 against 2: 31 of at most 400 pairs"
    registry.set_ab_test("dense", AbTestState(champion=2, candidate=3, how="served", share=0.5, text=text))
    lines = history("--models", str(models)).stdout.splitlines()
    assert lines[:2] == ["dense: champion 2, candidate 3", text]
    assert "87.5% [78.5%, 93.1%] n=80  50.0% [37.7%, 62.3%] n=60" in lines[4]


def test_json_for_programs(models: Path) -> None:
    versions = json.loads(history("--models", str(models), "--name", "dense", "--json").stdout)["dense"]
    assert [version["outcomes"] for version in versions] == [0, 500, 1000]
    assert versions[1]["decisions"][0]["action"] == "promoted"


def test_an_empty_registry_is_said_to_be_empty(tmp_path: Path) -> None:
    shown = history("--models", str(tmp_path))
    assert shown.returncode == 1
    assert "no versions of any model" in shown.stderr
