"""Planners of other packages are found by entry point; a broken one is left out, and the others serve."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import serving, settings

from planning.discovery import discover

ENTRIES = """[grasploop.planners]
absent = a_package_that_is_not_there.planner:Planner
raises = raising_plugin:Planner
wrong = pathlib:Path
unfinished = planning.base:Planner
sound = sound_plugin:Sound
"""
SOUND = """
from planning.base import Planner
from grasp_client.contract import GraspPlan

class Sound(Planner):
    name, description = "sound", "finds nothing"

    def plan_batch(self, items, network):
        return [GraspPlan(planner=self.name) for _ in items]
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package whose metadata name four broken planners and a sound one."""
    folder = tmp_path / "plugins-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "raising_plugin.py").write_text("raise OSError('no such camera')")
    (tmp_path / "sound_plugin.py").write_text(SOUND)
    monkeypatch.syspath_prepend(tmp_path)
    discover.cache_clear()
    yield
    discover.cache_clear()


@pytest.mark.usefixtures("plugins")
def test_broken_planners_are_logged_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        found = discover()
    assert {"antipodal", "sound"} <= set(found)
    assert found.keys().isdisjoint({"absent", "raises", "wrong", "unfinished"})
    for name in ("absent", "raises", "wrong", "unfinished"):
        assert f"planner '{name}' is left out" in caplog.text
    assert "no such camera" in caplog.text


@pytest.mark.usefixtures("plugins")
def test_the_server_starts_and_serves_beside_broken_planners(tmp_path: Path) -> None:
    with serving(settings(tmp_path / "models")) as running:
        listed = {planner["name"] for planner in running.client.get("/planners").json()["planners"]}
        assert {"antipodal", "sound"} <= listed
        assert "raises" not in listed
        reply = running.raw()
        assert reply.status_code == 200
        assert reply.json()["planner"] == "antipodal"
