"""What the server tells of workers, trainers and queue."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from serving import serving, settings
from waiting import wait_until

from inference_server.loop_watch import LoopWatch
from shared.streams import TRAINERS, WorkerStatusStore, connect


def test_trouble_of_disk_and_trainer_is_told(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = LoopWatch(tmp_path, redis_url)
    assert watch.look().trouble == ""
    board = WorkerStatusStore(connect(redis_url), TRAINERS)
    board.report("trainer", {"trouble": "disk full: shards"})
    assert watch.look().trouble == "disk full: shards"
    board.report("trainer", {})
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1))
    assert watch.look().trouble == f"disk full: less than 64 MiB free at {tmp_path}"
    assert LoopWatch(tmp_path, "redis://127.0.0.1:1/0").look().trouble.startswith("disk full")


def test_a_server_tells_how_its_loop_stands(redis_url: str, tmp_path: Path) -> None:
    queue = connect(redis_url)
    WorkerStatusStore(queue).report("w-1", {"attempts": 7, "state": "working", "recent_attempts": 5, "recent_successes": 4})
    WorkerStatusStore(queue).report("w-2", {"attempts": 2, "state": "on holiday", "spooled": 3})
    WorkerStatusStore(queue, TRAINERS).report("trainer", {"state": "collecting", "outcomes": 9, "lag": "many"})
    queue.hset("grasp:outcomes:sent", mapping={"w-1": 7, "w-2": 2})
    with serving(settings(tmp_path, redis_url=redis_url)) as server:
        wait_until(lambda: server.client.get("/loop").json()["queue"])
        told = server.client.get("/loop").json()
        text = server.client.get("/metrics").text
    assert told["sent"] == 9
    assert {name: row["attempts"] for name, row in told["workers"].items()} == {"w-1": 7, "w-2": 2}
    assert told["trainers"]["trainer"]["state"] == "collecting"
    lines = set(text.splitlines())
    assert {
        "grasp_loop_queue_up 1.0", 'grasp_loop_workers{state="working"} 1.0', 'grasp_loop_workers{state="other"} 1.0',
        'grasp_loop_workers{state="stopped"} 0.0', "grasp_loop_outcomes_sent_total 9.0", "grasp_loop_recent_successes 4.0",
        "grasp_loop_spooled 3.0", "grasp_loop_trainers 1.0", "grasp_loop_outcomes 9.0", "grasp_loop_lag 0.0",
        'grasp_loop_trouble{part="trainers"} 0.0',
    } <= lines  # fmt: skip


def test_a_server_without_a_queue_has_no_loop(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    watch = LoopWatch(tmp_path, None)
    registry.register(watch)
    assert watch.look().queue is False
    assert generate_latest(registry) == b""
