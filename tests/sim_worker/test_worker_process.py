"""`python -m sim_worker` against `python -m inference_server` and a real queue: killed, stopped and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grasp_client import GraspClient
from shared.streams import OutcomeStream, WorkerStatusStore, connect

pytest.importorskip("inference_server.app", exc_type=ImportError)


@pytest.fixture(scope="module")
def server_url(tmp_path_factory, queue_server):
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "inference_server", "--port", str(port), "--models-dir", str(folder / "models")]
    command += ["--redis-url", queue_server.url]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    with GraspClient(url) as client:
        client.wait_until_ready(60)
    yield url
    process.terminate()
    process.wait(30)


def start(folder: Path, server: str, queue: str | None, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "sim_worker", "--server-url", server, "--worker-id", "robot"]
    command += ["--redis-url", queue] if queue else []
    command += ["--spool-dir", str(folder / "spool"), "--profile", "clean", "--scene-kind", "single", *options]
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "LOG_FORMAT": "text"})


def test_killed_and_restarted_every_outcome_counts_once(tmp_path, server_url, redis_url):
    stream = OutcomeStream(connect(redis_url))
    killed = start(tmp_path, server_url, redis_url)
    deadline = time.monotonic() + 90
    while sum(stream.sent().values()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    stopped = start(tmp_path, server_url, redis_url)
    while len(stream.sent()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(30) == 0, (tmp_path / "log").read_text()
    ids = [entry.outcome.id for entry in stream.read("reader", 1000, 100)]
    assert len(set(ids)) == len(ids) == sum(stream.sent().values()) >= 3
    assert len({name.split(":")[0] for name in ids}) == 2, "a restarted worker takes a new name"
    lines = WorkerStatusStore(connect(redis_url)).read()
    assert any(line["state"] == "stopped" and line["spooled"] == 0 for line in lines.values())


def test_without_a_server_it_says_what_it_waits_for(tmp_path, redis_url):
    process = start(tmp_path, "http://127.0.0.1:9", redis_url)
    deadline = time.monotonic() + 60
    while "waiting for the server at http://127.0.0.1:9" not in (tmp_path / "log").read_text():
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 0


def test_without_a_queue_of_its_own_it_reports_to_the_server(tmp_path, server_url, redis_url):
    process = start(tmp_path, server_url, None, "--attempts", "3")
    assert process.wait(90) == 0, (tmp_path / "log").read_text()
    entries = OutcomeStream(connect(redis_url)).read("reader", 100, 100)
    assert len({entry.outcome.id for entry in entries}) == 3
    for entry in entries:
        assert entry.outcome.id.startswith("robot-")
        assert entry.outcome.images["depth"].dtype == "uint16"
        assert entry.outcome.meta.scene.objects
