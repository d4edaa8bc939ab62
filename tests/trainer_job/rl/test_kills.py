"""kill -9 of the real command, at ten random moments: the weights come out the same, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE

from shared.registry import Registry
from trainer_job.rl.learner import CHECKPOINT

TINY = ["--steps=2800", "--worlds=2", "--evaluate-every=1400", "--evaluate-episodes=2", "--final-episodes=2", "--seed=3"]
KILLS = 10


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "trainer_job.train", "closed-loop", *TINY, "--out", str(folder / "run")]
    with open(folder / "log", "ab") as log:
        return subprocess.Popen([*command, "--models-dir", str(folder / "models")], stdout=log, stderr=log)


def finished(folder: Path) -> str:
    """sha256 of the published weights."""
    assert start(folder).wait(PATIENCE) == 0, (folder / "log").read_text()
    return Registry(folder / "models").card("closed-loop-depth", 1).sha256


@pytest.mark.slow
def test_ten_kills_change_nothing_but_time(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    began = time.monotonic()
    expected = finished(whole)
    took = time.monotonic() - began
    moments, kills = np.random.default_rng(0), 0
    for _ in range(KILLS):
        process = start(killed)
        try:
            # Most of a run's length lies between two kills at most: so some come while it starts, some late.
            process.wait(moments.uniform(0.2, 0.6) * took)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.wait()
        if (killed / "run" / "result.json").exists():
            break
    assert kills >= 2
    assert (killed / "run" / CHECKPOINT).is_file()
    assert finished(killed) == expected
    results = [json.loads((folder / "run" / "result.json").read_text()) for folder in (whole, killed)]
    assert results[0]["evaluations"] == results[1]["evaluations"]
