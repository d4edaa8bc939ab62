"""The benchmark of `POST /act` with tiny numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.serving.acting import CLIENTS, Settings, main


@pytest.mark.slow
def test_steps_are_measured_beside_a_plain_handler(tmp_path: Path) -> None:
    figures = main(Settings(seconds=0.5, reloads=3, json_file=tmp_path / "figures.json"))
    for row in (
        *figures["grasploop"].values(),
        *figures["plain"].values(),
        figures["reloading"],
        *figures["beside plans"].values(),
    ):
        assert row["n"] > 0
        assert set(row["statuses"]) == {"200"}
    assert str(CLIENTS) in figures["plain"]
    assert (tmp_path / "figures.json").is_file()
