"""The trainer through its real command line, with a real queue and tiny numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from block_world import block_outcome

from shared.registry import Registry
from shared.shards import ShardReader, ShardWriter, shard_folders
from shared.streams import OutcomeStream, SceneRequestStream, WorkerStatusStore, connect

ROOT = Path(__file__).parents[2]
TINY = [
    "--round-outcomes",
    "40",
    "--shard-outcomes",
    "16",
    "--shard-seconds",
    "0.2",
    "--outstanding-tickets",
    "4",
    "--epochs",
    "1",
    "--least-steps",
    "12",
    "--judge-pairs",
    "0",
]


def command(url: str, folder: Path, *more: str) -> list[str]:
    paths = ["--data-dir", str(folder), "--models-dir", str(folder / "models"), "--shipped-models-dir", str(folder / "none")]
    return ["-m", "trainer_job", "--redis-url", url, "--log-format", "json", "--torch-threads", "1", *paths, *TINY, *more]


def start(arguments: list[str], launcher: list[str] | None = None) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *(launcher or []), *arguments], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def publish(url: str, episodes: range) -> None:
    stream = OutcomeStream(connect(url))
    for episode in episodes:
        stream.publish(block_outcome(episode), "w", episode + 1)


def stored(folder: Path) -> list[str]:
    return [name for shard in shard_folders(folder / "shards") for name in ShardReader(shard).ids()]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the trainer has ended"
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def test_the_command_line_explains_itself() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "trainer_job", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--round-outcomes" in shown.stdout


def test_a_round_goes_from_the_queue_to_a_new_champion(redis_url: str, tmp_path: Path) -> None:
    publish(redis_url, range(60))
    process = start(command(redis_url, tmp_path, "--rounds", "1"))
    assert process.wait(timeout=120) == 0
    registry = Registry(tmp_path / "models")
    assert registry.champion("dense") == 2
    card = registry.card("dense", 2)
    assert card.parent == 1
    assert card.outcomes["count"] + card.outcomes["held_out"] == card.outcomes["total"] >= 40
    assert card.decisions[0]["action"] == "promoted"
    assert sorted(stored(tmp_path)) == sorted(f"w:{i}:0" for i in range(60))
    assert SceneRequestStream(connect(redis_url)).outstanding() == 4
    runs = {path.name.split(".")[0] for path in (tmp_path / "runs" / "dense-0002").iterdir()}
    assert runs >= {"loss", "reliability", "events"}


def test_a_second_trainer_on_the_same_data_is_refused(redis_url: str, tmp_path: Path) -> None:
    process = start(command(redis_url, tmp_path))
    wait_until(lambda: bool(WorkerStatusStore(connect(redis_url), "grasp:trainers").read()), process)
    second = subprocess.run([sys.executable, *command(redis_url, tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 1
    assert "another trainer works on" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def test_sigterm_stores_what_is_in_hand(redis_url: str, tmp_path: Path) -> None:
    process = start(command(redis_url, tmp_path, "--shard-seconds", "1000", "--shard-outcomes", "1000"))
    stream = OutcomeStream(connect(redis_url))
    publish(redis_url, range(5))
    wait_until(lambda: stream.pending() == 5, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert (len(stored(tmp_path)), stream.pending()) == (5, 0)


def test_kills_at_any_point_end_in_the_same_dataset_and_a_new_version(redis_url: str, tmp_path: Path) -> None:
    """Kills at moments spread over start, ingest, training, publishing; then a start that is left alone."""
    for kill in range(5):
        publish(redis_url, range(20 * kill, 20 * kill + 20))
        process = start(command(redis_url, tmp_path, "--rounds", "1"))
        time.sleep(1.0 + 1.1 * kill)
        process.kill()
        process.wait()
    publish(redis_url, range(100, 140))  # enough for a round, whatever the killed ones have already learned from
    assert start(command(redis_url, tmp_path, "--rounds", "1")).wait(timeout=120) == 0
    assert sorted(stored(tmp_path)) == sorted(f"w:{i}:0" for i in range(140))
    registry = Registry(tmp_path / "models")
    assert (registry.champion("dense") or 0) >= 2
    for version in registry.versions("dense"):
        assert registry.read_weights("dense", version)
        assert version == 1 or registry.card("dense", version).decisions


def test_the_trainer_goes_on_after_the_queue_was_away(own_queue_server: Any, tmp_path: Path) -> None:
    process = start(command(own_queue_server.url, tmp_path))
    publish(own_queue_server.url, range(20))
    wait_until(lambda: len(stored(tmp_path)) == 20, process)
    own_queue_server.kill()
    time.sleep(2)
    assert process.poll() is None
    own_queue_server.start()
    publish(own_queue_server.url, range(20, 60))
    registry = Registry(tmp_path / "models")
    wait_until(lambda: registry.champion("dense") == 2, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert sorted(stored(tmp_path)) == sorted(f"w:{i}:0" for i in range(60))


def test_without_a_queue_it_says_what_to_do(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    arguments = ["-m", "trainer_job", "--data-dir", str(tmp_path)]
    shown = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert shown.returncode == 1
    assert "--redis-url" in shown.stderr


def test_fit_trains_and_publishes_from_shards_alone(tmp_path: Path) -> None:
    ShardWriter(tmp_path / "a").write([block_outcome(i) for i in range(40)])
    ShardWriter(tmp_path / "b").write([block_outcome(i) for i in range(40, 60)])
    paths = [
        "--shards",
        str(tmp_path / "a"),
        str(tmp_path / "b"),
        "--models",
        str(tmp_path / "models"),
        "--cache",
        str(tmp_path / "fit"),
    ]
    arguments = ["-m", "trainer_job.fit", *paths, "--epochs", "1", "--batch", "16", "--torch-threads", "1"]
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)
    subprocess.run([sys.executable, *arguments, "--warm", "--test-shards", str(tmp_path / "b")], cwd=ROOT, check=True)
    registry = Registry(tmp_path / "models")
    assert registry.versions("dense") == [1, 2]
    first, second = (registry.card("dense", version) for version in (1, 2))
    assert first.outcomes["count"] + first.outcomes["held_out"] == 60
    assert first.metrics["auc"] > 0.5
    assert (second.parent, second.outcomes["held_out"]) == (1, 20)
    assert second.decisions


def test_fit_says_when_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    arguments = [
        "-m",
        "trainer_job.fit",
        "--shards",
        str(tmp_path),
        "--models",
        str(tmp_path / "models"),
        "--cache",
        str(tmp_path / "c"),
    ]
    shown = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 1
    assert "no outcomes to learn from" in shown.stderr


@pytest.mark.slow
def test_two_processes_under_torchrun_train_one_version(redis_url: str, tmp_path: Path) -> None:
    publish(redis_url, range(60))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = start(command(redis_url, tmp_path, "--rounds", "1"), launcher)
    assert process.wait(timeout=240) == 0
    card = Registry(tmp_path / "models").card("dense", 2)
    assert card.model_dump()["training"]["world"] == 2
    assert card.decisions[0]["action"] == "promoted"
    assert len(stored(tmp_path)) == 60
