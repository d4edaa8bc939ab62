"""`python -m sim_worker` against a real server and a real queue: killed, stopped and started again."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run_module
from records import read_outcomes
from serving import serving, settings
from waiting import PATIENCE, wait_until

from shared.streams import OutcomeStream, WorkerStatusStore, connect


@pytest.fixture(scope="module")
def server_url(tmp_path_factory, queue_server):
    with serving(settings(tmp_path_factory.mktemp("models"), redis_url=queue_server.url)) as running:
        yield running.url


def options(folder: Path, server: str) -> list[str]:
    chosen = ["--server-url", server, "--worker-id", "robot", "--spool-dir", str(folder / "spool"), "--log-format", "text"]
    return [*chosen, "--profile", "clean", "--scene-kind", "single"]


@pytest.fixture
def start():
    """Starts workers, of which none outlives the test."""
    started: list[subprocess.Popen] = []

    def worker(folder: Path, server: str, queue: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "sim_worker", *options(folder, server), "--redis-url", queue]
        with open(folder / "log", "ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    yield worker
    for process in started:
        process.kill()
        process.wait()


def test_killed_and_restarted_every_outcome_counts_once(tmp_path, start, server_url, redis_url):
    stream = OutcomeStream(connect(redis_url))
    killed = start(tmp_path, server_url, redis_url)
    wait_until(lambda: sum(stream.sent().values()) >= 2, (tmp_path / "log").read_text)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    stopped = start(tmp_path, server_url, redis_url)
    wait_until(lambda: len(stream.sent()) >= 2, (tmp_path / "log").read_text)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    ids = [outcome.id for outcome in read_outcomes(stream)]
    assert len(set(ids)) == len(ids) == sum(stream.sent().values()) >= 3
    assert len({name.split(":")[0] for name in ids}) == 2, "a restarted worker takes a new name"
    lines = WorkerStatusStore(connect(redis_url)).read()
    assert any(line["state"] == "stopped" and line["spooled"] == 0 for line in lines.values())


def test_without_a_server_it_says_what_it_waits_for(tmp_path, start, redis_url):
    process = start(tmp_path, "http://127.0.0.1:9", redis_url)
    log = tmp_path / "log"
    wait_until(lambda: "waiting for the server at http://127.0.0.1:9" in log.read_text(), log.read_text)
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_without_a_queue_of_its_own_it_reports_to_the_server(tmp_path, server_url, redis_url):
    done = run_module("sim_worker", *options(tmp_path, server_url), "--attempts", "3")
    assert done.returncode == 0, done.stderr
    outcomes = read_outcomes(OutcomeStream(connect(redis_url)))
    assert len({outcome.id for outcome in outcomes}) == 3, done.stderr
    for outcome in outcomes:
        assert outcome.id.startswith("robot-")
        assert outcome.images["depth"].dtype == "uint16"
        assert outcome.meta.scene is None, "nobody asked for it"
        assert outcome.meta.robot.startswith("robot-")
        assert outcome.id.startswith(f"{outcome.meta.group}:")
