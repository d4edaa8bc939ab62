"""Robots only, end to end: what a robot reports over HTTP teaches a version, and promotes it by the grasps that were served."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from places import ROOT

from benchmarks.learning.robots import run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="runs the launcher, which needs Linux")
def test_a_robot_alone_teaches_a_version_and_promotes_it(tmp_path: Path) -> None:
    report = run(tmp_path, ROOT / "models", seed=0, wanted=1500, minutes=12, until_promoted=True)
    champion = report["champion"]
    assert champion > 1, report
    *_, promoted = report["decisions"][champion]
    assert promoted["action"] == "promoted"
    assert "on served grasps" in promoted["reason"]
    assert sum(promoted["trial"]["outcomes"].values()) < report["reported"]
    assert report["success"][champion]["rate"] > report["success"][1]["rate"] + 0.1
    assert report["forged"] > 20
    assert report["sources"][champion]["robots"]["stranger"] < 0.3
    assert (report["again"]["better_promoted"], report["again"]["worse_promoted"]) == (20, 0)
    assert any("A/B test on served grasps" in told for told in report["told"])
