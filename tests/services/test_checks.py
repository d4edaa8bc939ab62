"""What `grasploop doctor` finds where the services are installed."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from places import ROOT

from grasp_client.cli.doctor import Finding
from services.checks import machine


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "0")
    for name in ("REDIS_URL", "DEVICE", "DATA_DIR", "WORKERS"):
        monkeypatch.delenv(name, raising=False)


def found() -> dict[str, Finding]:
    return {each.what: each for each in machine()}


def test_a_fresh_folder_is_well() -> None:
    assert {each.what for each in machine() if each.level == "wrong"} == set()
    assert "first start of the trainer" in found()["models"].text


def test_what_is_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        assert found()["port"].level == "odd"
    monkeypatch.setenv("WORKERS", "200")
    assert "one less than there are cores" in found()["cores"].cure
    monkeypatch.setenv("DEVICE", "cuda")
    assert found()["device"].level == "wrong"
    monkeypatch.setenv("REDIS_URL", "redis://user:secret@127.0.0.1:1/0")
    assert found()["queue"].level == "wrong"
    assert "secret" not in str(found()["queue"])
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    assert found()["disk"].level == "wrong"


def test_settings_that_cannot_work_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "many")
    [finding] = machine()
    assert (finding.level, "WORKERS=many" in finding.text) == ("wrong", True)


def test_damaged_models_are_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "dense", tmp_path / "data" / "models" / "dense")
    assert found()["model dense"].level == "ok"
    weights = next((tmp_path / "data" / "models" / "dense").glob("*/weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    assert found()["model dense"].level == "wrong"
