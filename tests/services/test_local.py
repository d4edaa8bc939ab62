"""What `python -m services.local` tells its children, and what it says when it cannot start."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from commands import run_module
from waiting import PATIENCE, wait_until

from inference_server.security.keys import Keys
from services.data_lock import DataLock
from services.launcher import Launcher
from services.local import Loop, follow
from services.process import ManagedProcess
from services.status import Status
from shared.durable import keep_private
from shared.settings import LocalSettings, ServerSettings
from shared.streams import WorkerStatusStore


def settings(tmp_path: Path, **more: object) -> LocalSettings:
    return LocalSettings(_env_file=None, data_dir=tmp_path / "data", **more)  # type: ignore[arg-type, call-arg]


def loop(tmp_path: Path, **more: object) -> Loop:
    return Loop(settings(tmp_path, **more), DataLock(tmp_path))


def run_local(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_module("services.local", *arguments, cwd=tmp_path, DATA_DIR=str(tmp_path / "data"), **variables)


def test_children_are_told_where_things_are(tmp_path: Path) -> None:
    made = loop(tmp_path, port=8123, workers=2)
    first, second = (child.spec for child in made.workers())
    assert first.command == [sys.executable, "-m", "sim_worker"]
    assert first.environment["SERVER_URL"] == "http://127.0.0.1:8123"
    assert first.environment["REDIS_URL"] == made.redis_url
    assert (first.environment["WORKER_ID"], second.environment["WORKER_ID"]) == ("sim_worker-1", "sim_worker-2")
    server = made.server().spec.environment
    assert (server["HOST"], server["PORT"]) == ("127.0.0.1", "8123")
    assert server["MODELS_DIR"] == made.trainer().spec.environment["MODELS_DIR"] == str(tmp_path / "data" / "models")


def test_a_named_queue_is_used_instead_of_an_own_one(tmp_path: Path) -> None:
    made = loop(tmp_path, redis_url="redis://elsewhere:6379/0")
    assert made.queue_children() == []
    assert made.trainer().spec.environment["REDIS_URL"] == "redis://elsewhere:6379/0"


def test_the_queues_password_is_said_nowhere(tmp_path: Path) -> None:
    found = run_local(tmp_path, PORT="0", REDIS_URL="redis://loop:s3cret@127.0.0.1:1/0")
    assert "no queue answers at redis://***@127.0.0.1:1/0" in found.stderr
    assert "s3cret" not in found.stdout + found.stderr


class Screen:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shown: list[Status] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def show(self, children: list[ManagedProcess], status: Status) -> None:
        self.shown.append(status)

    def close(self) -> None:
        pass


def test_nothing_on_the_boards_ends_the_launcher(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.local.STATUS_SECONDS", 0.0)
    keep_private(tmp_path / "data")
    made, screen = loop(tmp_path, redis_url=redis_url), Screen()
    with redis.Redis.from_url(redis_url) as client:
        for key in ("grasp:workers", "grasp:trainers", "grasp:outcomes:sent"):
            client.hset(key, mapping={b"evil\xff": "{}", "worse": "[" * 100_000, "worst": "9" * 10_000})
        WorkerStatusStore(client).report("good", {"attempts": 7})
    launcher = Launcher([], [], screen.say)
    thread = threading.Thread(target=follow, args=(launcher, made, screen))
    thread.start()
    wait_until(lambda: screen.shown)
    assert [list(status.workers) for status in screen.shown[:1]] == [["good"]]
    monkeypatch.setattr("services.status.StatusReader.read", lambda self: 1 / 0)
    wait_until(lambda: len(screen.lines) > 1)
    monkeypatch.undo()
    shown = len(screen.shown)
    wait_until(lambda: len(screen.shown) > shown)
    launcher.stopping = True
    thread.join(PATIENCE)
    assert screen.lines[1:] == ["the status cannot be shown: ZeroDivisionError: division by zero"]


def test_workers_get_a_key_that_the_server_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "first, second")
    assert loop(tmp_path, workers=1).workers()[0].spec.environment["API_KEY"] == "first"
    monkeypatch.setenv("API_KEYS", "cell:report:only-reports, sim:worker:third")
    assert loop(tmp_path, workers=1).workers()[0].spec.environment["API_KEY"] == "third"
    monkeypatch.setenv("API_KEYS", "cell:report:only-reports")
    made = loop(tmp_path, workers=1)
    key = made.workers()[0].spec.environment["API_KEY"]
    accepted = Keys(ServerSettings(_env_file=None, api_keys=made.server().spec.environment["API_KEYS"])).find(key)  # type: ignore[call-arg]
    assert accepted
    assert "worker" in accepted.roles
    assert loop(tmp_path, workers=1).workers()[0].spec.environment["API_KEY"] != key, "another at every start"
    monkeypatch.setenv("API_KEYS", "cell:reporter:key")
    with pytest.raises(ValueError, match="name:role"):
        loop(tmp_path, workers=1)
    monkeypatch.setenv("API_KEYS", "first, second")
    monkeypatch.setenv("API_KEY", "second")
    assert loop(tmp_path, workers=1).workers()[0].spec.environment["API_KEY"] == "second"


def test_keys_of_a_wrong_form_are_explained(tmp_path: Path) -> None:
    found = run_local(tmp_path, PORT="0", API_KEYS="cell:emperor:s3cret")
    assert found.returncode == 2
    assert "cannot start: API_KEYS: expected" in found.stderr
    assert "s3cret" not in found.stderr


def test_a_full_disk_is_said_once_and_its_end_too(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.local.STATUS_SECONDS", 0.0)
    free = [10**6]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=free[0]))
    keep_private(tmp_path / "data")
    made, screen = loop(tmp_path, redis_url=redis_url), Screen()
    launcher = Launcher([], [], screen.say)
    thread = threading.Thread(target=follow, args=(launcher, made, screen))
    thread.start()
    wait_until(lambda: len(screen.shown) > 2)
    free[0] = 10**12
    wait_until(lambda: len(screen.lines) > 2)
    launcher.stopping = True
    thread.join(PATIENCE)
    assert [line.split(":")[0].split(" in ")[0] for line in screen.lines[1:]] == ["disk full", "there is room again"]


def test_work_ends_only_where_an_end_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not loop(tmp_path, workers=1).workers()[0].spec.may_finish
    monkeypatch.setenv("ATTEMPTS", "5")
    monkeypatch.setenv("ROUNDS", "2")
    made = loop(tmp_path, workers=1)
    assert made.workers()[0].spec.may_finish
    assert made.trainer().spec.may_finish


def test_a_port_in_use_is_explained(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = run_local(tmp_path, PORT=str(port))
    assert found.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in found.stderr
    assert f"PORT={port + 1} make run" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_data_folder_in_use_is_explained(tmp_path: Path) -> None:
    lock = DataLock(tmp_path / "data")
    lock.acquire()
    lock.describe("serving at http://127.0.0.1:8000")
    found = run_local(tmp_path, PORT="0")
    lock.release()
    assert found.returncode == 1
    assert "in use" in found.stderr
    assert "serving at http://127.0.0.1:8000" in found.stderr


def test_a_queue_that_does_not_answer_is_explained(tmp_path: Path) -> None:
    found = run_local(tmp_path, PORT="0", REDIS_URL="redis://127.0.0.1:1/0")
    assert found.returncode == 1
    assert "no queue answers at redis://127.0.0.1:1/0" in found.stderr


def test_a_wrong_setting_is_explained(tmp_path: Path) -> None:
    found = run_local(tmp_path, PORT="eighty")
    assert found.returncode == 2
    assert "PORT='eighty'" in found.stderr
    assert "Traceback" not in found.stderr


def test_help_names_the_settings(tmp_path: Path) -> None:
    found = run_local(tmp_path, "--help")
    assert found.returncode == 0
    for option in ("--port", "--workers", "--data-dir"):
        assert option in found.stdout
