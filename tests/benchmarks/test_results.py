"""The results page: from a real benchmark to Markdown, pictures and cards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import run_module

from benchmarks.results import __main__ as results
from benchmarks.results import curve
from benchmarks.results.calibration import expected_error
from benchmarks.results.page import page
from benchmarks.results.rows import ROWS
from shared.registry import Registry


def test_expected_error_is_the_mean_gap_of_the_bins() -> None:
    promised = np.array([0.95] * 10 + [0.55] * 10)
    achieved = np.array([1.0] * 9 + [0.0] + [1.0] * 5 + [0.0] * 5)
    assert expected_error(promised, achieved) == pytest.approx(0.05)
    assert expected_error(achieved, achieved) == 0.0


def test_rows_have_names_of_their_own_and_never_look_at_objects_that_are_learned_from() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    sets = {row.options[row.options.index("--object-set") + 1] for row in ROWS if "--object-set" in row.options}
    assert sets == {"household", "curved"}


@pytest.mark.parametrize("name", ["bin-standard", "pile-hard"])
def test_rows_that_are_told_what_failed_differ_in_nothing_else(name: str) -> None:
    rows = {row.name: row for row in ROWS}
    plain, told = rows[name].arguments(7), rows[f"{name}-told"].arguments(7)
    assert told == [*plain, "--inputs", "failures"]
    assert rows[name].goal == rows[f"{name}-told"].goal


def in_this_process(command: list[str], **options: object) -> None:
    done = run_module(*command[2:])
    assert done.returncode == 0, done.stderr


def test_a_row_becomes_a_page_with_pictures_and_a_second_run_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        results, "subprocess", SimpleNamespace(run=in_this_process, CalledProcessError=subprocess.CalledProcessError)
    )
    shutil.copytree(results.REPOSITORY / "models", tmp_path / "models")
    options = ["--models", str(tmp_path / "models"), "--out", str(tmp_path / "out"), "--page", str(tmp_path / "docs")]
    options += ["--rows", "single-clean", "pile-hard-told", "--workers", "1"]
    assert results.main([*options, "--quick"]) == 0
    shown = (tmp_path / "docs" / "results.md").read_text()
    assert "| one object | clean | `dense` |" in shown
    assert "| pile of 5, told what failed | hard | `dense` |" in shown
    assert "each request names the grasps that failed" in shown
    assert "| `dense` | dense |" in shown
    assert (tmp_path / "docs" / "results" / "success.png").stat().st_size > 1000
    before = (tmp_path / "out" / "single-clean.json").stat().st_mtime_ns
    assert results.main(options) == 0
    assert (tmp_path / "out" / "single-clean.json").stat().st_mtime_ns == before
    registry = Registry(tmp_path / "models")
    card = registry.card("dense", registry.champion("dense") or 0)
    assert card.simulated is not None
    assert "single-clean (dense)" in card.simulated["protocols"]
    assert "other versions" not in shown
    newer = registry.publish("dense", registry.read_weights("dense", card.version), card)
    registry.promote("dense", newer)
    assert results.main(options) == 0
    assert f"`single-clean` (dense:{card.version})" in (tmp_path / "docs" / "results.md").read_text()


def test_the_page_of_the_documents_is_made_of_the_figures_beside_it() -> None:
    docs = results.REPOSITORY / "docs"
    figures = json.loads((docs / "results" / "figures.json").read_text())
    assert (docs / "results.md").read_text() == page(figures, results.REPOSITORY / "models")


@pytest.mark.slow
def test_a_learning_curve_goes_from_attempts_to_a_picture(tmp_path: Path) -> None:
    collect = ["sim_worker.collect", "--attempts", "400", "--out", str(tmp_path / "shards")]
    subprocess.run([sys.executable, "-m", *collect], check=True)
    where = ["--out", str(tmp_path / "out"), "--page", str(tmp_path / "page"), "--workers", "1"]
    assert curve.main(["--shards", str(tmp_path / "shards"), "--sizes", "100", "200", "--rounds", "2", *where]) == 0
    figures = json.loads((tmp_path / "page" / "curve.json").read_text())
    assert [point["attempts"] for point in figures["dense"]] == [100, 200]
    assert all(point[profile]["attempts"] <= 2 for point in figures["dense"] for profile in curve.PROFILES)
    assert set(figures["antipodal"]) == set(curve.PROFILES)
    assert (tmp_path / "page" / "curve.png").stat().st_size > 1000
