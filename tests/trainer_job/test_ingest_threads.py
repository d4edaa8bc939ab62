"""Several processes share the streams: each outcome is stored once, whoever dies and whoever takes over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from block_world import block_outcome
from places import ROOT
from test_ingest import stored_ids
from waiting import wait_until

from shared.outcome_codec import encode_outcome
from shared.retrying import Troubles
from shared.settings import TrainerSettings
from shared.streams import OutcomeSender, connect
from shared.streams.outcome_batches import OutcomeBatch, pack_outcomes
from trainer_job.ingest.threads import IngestThreads, numbers_of, only_ingest


def settings(url: str, data: Path, **options: object) -> TrainerSettings:
    many = {"outcome_streams": 3, "ingest_processes": 2, "shard_outcomes": 8, "shard_seconds": 0.05, **options}
    return TrainerSettings(redis_url=url, data_dir=data, **many)  # type: ignore[arg-type]


def scene(worker: str, first: int) -> OutcomeBatch:
    outcomes = [encode_outcome(block_outcome(first + i).model_copy(update={"id": f"{worker}:{first}:{i}"})) for i in range(2)]
    return OutcomeBatch(worker, first, 2, pack_outcomes(outcomes))


def open_part(url: str, data: Path, part: int, **options: object) -> IngestThreads:
    return IngestThreads(connect(url), settings(url, data, **options), lambda scene: True, part, Troubles())


def test_every_stream_has_one_process(tmp_path: Path) -> None:
    asked = settings("redis://none", tmp_path)
    assert [list(numbers_of(asked, part)) for part in (0, 1)] == [[0, 2], [1]]
    taken = pytest.raises(SystemExit, match="another process stores outcome stream 1")
    with only_ingest(asked, 0), only_ingest(asked, 1), taken, only_ingest(asked, 1):
        pass
    for part, options in ((2, {}), (1, {"outcome_streams": 1})):
        with pytest.raises(SystemExit, match="expected INGEST_PROCESSES"):
            numbers_of(settings("redis://none", tmp_path, **options), part)


def test_streams_that_change_hands_are_stored_once(redis_url: str, tmp_path: Path) -> None:
    sender = OutcomeSender(connect(redis_url), streams=3)
    sent = [scene(f"w{worker}", 1) for worker in range(12)]
    sender.publish(sent)
    parts = [open_part(redis_url, tmp_path, part) for part in (0, 1)]
    for part in parts:
        part.start()
    wait_until(lambda: not parts[0].lag())
    for part in parts:
        part.stop()
    assert len(stored_ids(tmp_path / "shards")) == len(set(stored_ids(tmp_path / "shards"))) == 24
    client = connect(redis_url)
    for name in sender.names:  # as if nothing had been acknowledged, and all of it delivered to one process
        client.delete(name)
    client.delete("grasp:outcomes:sequence")
    OutcomeSender(client, streams=2).publish([*sent, scene("w3", 3)])
    alone = open_part(redis_url, tmp_path, 0, outcome_streams=2, ingest_processes=1)
    alone.start()
    wait_until(lambda: not alone.lag())
    alone.stop()
    assert alone.status()["duplicates"] == 24
    assert len(stored_ids(tmp_path / "shards")) == len(set(stored_ids(tmp_path / "shards"))) == 26


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_of_one_of_two_processes_lose_and_repeat_nothing(redis_url: str, tmp_path: Path, kills: int) -> None:
    (tmp_path / "scene_requests.key").write_bytes(os.urandom(32))
    options = {"OUTCOME_STREAMS": "3", "INGEST_PROCESSES": "2", "SHARD_OUTCOMES": "8", "SHARD_SECONDS": "0.05"}
    environment = {**os.environ, **options, "REDIS_URL": redis_url, "DATA_DIR": str(tmp_path), "LOG_LEVEL": "warning"}
    sender, sent = OutcomeSender(connect(redis_url), streams=3), 0
    mine = open_part(redis_url, tmp_path, 0)
    mine.start()
    for kill in range(kills + 1):
        other = subprocess.Popen([sys.executable, "-m", "trainer_job.ingest", "--part", "1"], cwd=ROOT, env=environment)
        goal = len(stored_ids(tmp_path / "shards")) + 20
        for _ in range(3):
            sent += 2 * len([sender.publish([scene(f"w{worker}", sent + 1)]) for worker in range(12)])
        if kill < kills:
            wait_until(lambda goal=goal: len(stored_ids(tmp_path / "shards")) >= goal)  # type: ignore[misc]
            time.sleep(0.02 * kill / kills)
            other.send_signal(signal.SIGKILL)
        else:
            wait_until(lambda: not mine.lag())
            other.terminate()
        other.wait()
    mine.stop()
    stored = stored_ids(tmp_path / "shards")
    assert len(stored) == len(set(stored)) == sent
