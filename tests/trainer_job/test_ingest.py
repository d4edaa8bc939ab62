"""Ingest against a real queue: nothing lost, nothing twice, whatever dies."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import redis
from block_world import block_outcome
from places import ROOT
from records import dead_letters, send
from waiting import wait_until

from grasp_client.contract import Outcome, SceneRef, SceneRequest
from shared.outcome_codec import encode_outcome
from shared.shards import ShardReader, shard_folders
from shared.streams import OutcomeStream, connect
from trainer_job.ingest.ingest import MOST_DELIVERIES, Ingest, IngestThread
from trainer_job.promotion.evidence import RequestSigner


def stored_ids(directory: Path) -> list[str]:
    return [name for folder in shard_folders(directory) for name in ShardReader(folder).ids()]


def open_ingest(url: str, directory: Path, **options: Any) -> Ingest:
    return Ingest(OutcomeStream(connect(url)), directory, **{"shard_outcomes": 4, "shard_seconds": 0.05, **options})


def drain(ingest: Ingest) -> None:
    while ingest.stream.lag() or ingest.stream.pending():
        ingest.step(block_ms=20)


def test_outcomes_are_stored_once_and_acknowledged_after_that(redis_url: str, tmp_path: Path) -> None:
    stream = OutcomeStream(connect(redis_url))
    sent = [block_outcome(i) for i in range(10)]
    for outcome in [*sent, sent[0], sent[9], sent[9]]:
        send(stream, outcome)
    ingest = open_ingest(redis_url, tmp_path)
    drain(ingest)
    assert sorted(stored_ids(tmp_path)) == sorted(o.id for o in sent)
    assert ingest.duplicates == 3
    again = open_ingest(redis_url, tmp_path)
    send(stream, sent[3])
    drain(again)
    assert len(stored_ids(tmp_path)) == 10
    assert again.duplicates == 1


def test_nothing_is_acknowledged_before_its_shard_is_written(redis_url: str, tmp_path: Path) -> None:
    stream = OutcomeStream(connect(redis_url))
    send(stream, block_outcome(0))
    ingest = open_ingest(redis_url, tmp_path, shard_outcomes=100, shard_seconds=1e6)
    assert ingest.step(block_ms=10) is None
    assert (stored_ids(tmp_path), stream.pending()) == ([], 1)
    assert ingest.flush() is not None
    assert (stored_ids(tmp_path), stream.pending()) == (["w:0:0"], 0)


def test_what_a_killed_trainer_had_in_hand_is_taken_up_at_the_next_start(redis_url: str, tmp_path: Path) -> None:
    stream = OutcomeStream(connect(redis_url))
    for i in range(3):
        send(stream, block_outcome(i))
    open_ingest(redis_url, tmp_path, shard_outcomes=100, shard_seconds=1e6).step(block_ms=10)
    assert stream.pending() == 3
    open_ingest(redis_url, tmp_path).step(block_ms=10)
    assert sorted(stored_ids(tmp_path)) == ["w:0:0", "w:1:0", "w:2:0"]
    assert stream.pending() == 0


def test_a_repeat_is_not_acknowledged_before_the_first_is_stored(redis_url: str, tmp_path: Path) -> None:
    stream = OutcomeStream(connect(redis_url))
    send(stream, block_outcome(0))
    send(stream, block_outcome(0))
    ingest = open_ingest(redis_url, tmp_path, shard_outcomes=100, shard_seconds=1e6)
    ingest.step(block_ms=10)
    assert stream.pending() == 2


def test_unreadable_entries_go_to_the_dead_stream_with_the_reason(redis_url: str, tmp_path: Path) -> None:
    stream = OutcomeStream(connect(redis_url))
    good = encode_outcome(block_outcome(0)).fields()
    no_image = Outcome(id="w:7:0", meta=block_outcome(7).meta.model_copy(update={"images": {}}))
    for fields in (
        {"x": "y"},
        {**good, "v": "9"},
        {**good, "meta": "{}"},
        {**good, "depth": b"short"},
        encode_outcome(no_image).fields(),
        good,
    ):
        stream.client.xadd(stream.stream, fields)
    ingest = open_ingest(redis_url, tmp_path)
    drain(ingest)
    assert stored_ids(tmp_path) == ["w:0:0"]
    reasons = " | ".join(reason for _, reason in dead_letters(stream))
    assert ingest.dead_letters == 5
    for part in ("version is missing", "version is 9", "meta.success: Field required", "has 5 bytes", "no image"):
        assert part in reasons


def test_outcomes_of_scenes_that_nobody_asked_for_are_not_learned_from(redis_url: str, tmp_path: Path) -> None:
    stream, signer = OutcomeStream(connect(redis_url)), RequestSigner.of(tmp_path)
    request = signer.sign(SceneRequest(id="revisit-7", seed=5, kind="pile", attempts=3))
    other = signer.sign(request.model_copy(update={"seed": 6}))
    told = {"seed": 5, "kind": "pile", "profile": request.profile, "ticket": request.id, "nonce": request.nonce}
    made_up = [
        {**told, "nonce": "0" * 64}, {**told, "nonce": request.nonce[:32]}, {**told, "nonce": other.nonce}, {**told, "seed": 6},
        {**told, "kind": "single"}, {**told, "ticket": "revisit-8"}, {**told, "ticket": None},
    ]  # fmt: skip
    scenes = [SceneRef.model_validate(scene) for scene in (told, *made_up, {"seed": 5})]
    for number, scene in enumerate(scenes):
        send(stream, block_outcome(number, scene=scene))
    ingest = open_ingest(redis_url, tmp_path / "shards", issued=signer.issued)
    drain(ingest)
    ingest.flush()
    asked, of_itself = block_outcome(0), block_outcome(len(scenes) - 1)
    assert sorted(stored_ids(tmp_path / "shards")) == sorted([asked.id, of_itself.id])
    assert ingest.dead_letters == len(made_up)


def test_an_entry_that_was_in_hand_at_every_death_becomes_a_dead_letter(redis_url: str, tmp_path: Path) -> None:
    stream = OutcomeStream(connect(redis_url))
    send(stream, block_outcome(0))
    stream.read("trainer", block_ms=10)
    for _ in range(MOST_DELIVERIES):
        stream.claim("trainer", min_idle_ms=0)
    send(stream, block_outcome(1))
    drain(open_ingest(redis_url, tmp_path))
    assert stored_ids(tmp_path) == ["w:1:0"]
    assert f"delivered {MOST_DELIVERIES + 1} times" in dead_letters(stream)[0][1]


def test_stored_entries_leave_the_queue(redis_url: str, tmp_path: Path) -> None:
    stream = OutcomeStream(connect(redis_url))
    for i in range(8):
        send(stream, block_outcome(i))
    drain(open_ingest(redis_url, tmp_path))
    open_ingest(redis_url, tmp_path).step(block_ms=1)
    assert stream.client.xlen(stream.stream) == 0


def test_a_full_queue_is_emptied_without_loss(own_queue_server: Any, tmp_path: Path) -> None:
    """At `maxmemory` with `noeviction` nothing can be added, not even a dead letter, until stored entries are dropped."""
    shards = tmp_path / "shards"
    stream = OutcomeStream(connect(own_queue_server.url))
    for i in range(40):
        send(stream, block_outcome(i))
    stream.client.xadd(stream.stream, {"x": "y"})
    ingest = open_ingest(own_queue_server.url, shards)
    stream.create_group()
    stream.client.config_set("maxmemory", int(stream.client.info("memory")["used_memory"]) - 100_000)
    with pytest.raises(redis.OutOfMemoryError):
        send(stream, block_outcome(99))

    def emptied() -> bool:
        ingest._tended = None  # as if its time had come
        with contextlib.suppress(redis.RedisError):
            ingest.step(block_ms=20)
        return not (stream.lag() or stream.pending())

    wait_until(emptied)
    assert len(stored_ids(shards)) == 40
    assert [reason for _, reason in dead_letters(stream)] == ["schema version is missing, this reader knows 1"]
    assert send(stream, block_outcome(99))


def test_a_full_disk_leaves_outcomes_in_the_queue(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = OutcomeStream(connect(redis_url))
    send(stream, block_outcome(0))
    ingest = open_ingest(redis_url, tmp_path)
    usage = namedtuple("usage", "free")
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: usage(free=0))
        with pytest.raises(OSError, match="64 MiB free"):
            ingest.step(block_ms=1)
    assert (stream.lag(), stream.pending()) == (1, 0)
    drain(ingest)
    assert stored_ids(tmp_path) == ["w:0:0"]


def test_the_thread_goes_on_after_the_queue_was_away(
    own_queue_server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards = tmp_path / "shards"
    stream = OutcomeStream(connect(own_queue_server.url))
    thread = IngestThread(open_ingest(own_queue_server.url, shards))
    thread.start()
    send(stream, block_outcome(0))
    wait_until(lambda: stored_ids(shards) == ["w:0:0"])
    own_queue_server.kill()
    wait_until(lambda: "ingest waits" in caplog.text)
    own_queue_server.start()
    send(stream, block_outcome(1))
    wait_until(lambda: len(stored_ids(shards)) == 2)
    thread.stop()
    assert sorted(stored_ids(shards)) == ["w:0:0", "w:1:0"]


INGEST_FOREVER = """
import sys, pathlib
from shared.streams import OutcomeStream, connect
from trainer_job.ingest.ingest import Ingest, IngestThread
stream, folder = OutcomeStream(connect(sys.argv[1])), pathlib.Path(sys.argv[2])
IngestThread(Ingest(stream, folder, shard_outcomes=8, shard_seconds=0.02)).run()
"""


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_lose_and_repeat_nothing(redis_url: str, tmp_path: Path, kills: int) -> None:
    """Kills at moments that nobody chose while outcomes, some of them sent twice, go through."""
    stream = OutcomeStream(connect(redis_url))
    command = [sys.executable, "-c", INGEST_FOREVER, redis_url, str(tmp_path)]
    sent = 0
    for kill in range(kills):
        process = subprocess.Popen(command, cwd=ROOT)
        goal = len(stored_ids(tmp_path)) + 8
        for _ in range(40):
            send(stream, block_outcome(sent))
            if sent % 7 == 0:
                send(stream, block_outcome(sent))
            sent += 1
        wait_until(lambda goal=goal: len(stored_ids(tmp_path)) >= goal)
        time.sleep(0.03 * kill / kills)  # whatever it is doing then
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    drain(open_ingest(redis_url, tmp_path))
    stored = stored_ids(tmp_path)
    assert len(stored) == len(set(stored)) == sent == 40 * kills
    assert dead_letters(stream) == []
