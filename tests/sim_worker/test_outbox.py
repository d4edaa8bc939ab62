"""Outcomes on disk: order, resumption after a kill, orphans, limits."""

import dataclasses
import multiprocessing
import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from unittest.mock import MagicMock

import httpx
import numpy as np
import pytest
import redis
from waiting import PATIENCE, wait_until

from grasp_client import GraspClient
from grasp_client.contract import Grasp, GraspMeta, ImageSpec, Outcome
from shared.outcome_codec import EncodedOutcome, encode_outcome
from shared.settings import WorkerSettings
from sim_worker.__main__ import open_outbox, to_server
from sim_worker.worker.outbox import Outbox, OutboxFile
from sim_worker.worker.publisher import DeliveryRefused, OutboxPublisher


def outcome(number: int, worker: str = "w") -> EncodedOutcome:
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[3.0, 2.0], angle=0.1)
    depth = np.full((4, 6), number, dtype=np.uint16)
    images = {"depth": ImageSpec(shape=[4, 6], dtype="uint16", scale=1e-4)}
    meta = GraspMeta(grasp=grasp, planner="antipodal", success=True, images=images, details={"number": number})
    return encode_outcome(Outcome(id=f"{worker}:{number}:0", meta=meta, images={"depth": depth}))


def numbers(spool: Outbox) -> list[int]:
    return [int(kept.id.split(":")[1]) for _, batch in spool.batches() for kept in batch.outcomes()]


def quarantined(path: Path) -> list[tuple[int, str]]:
    """(number, reason) of what can never be delivered, as a person finds it."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT first, quarantined FROM batch WHERE quarantined IS NOT NULL").fetchall()


def places(spool: Outbox) -> list:
    return [place for place, _ in spool.batches()]


def one_by_one(deliver):
    """A receiver that takes batches one by one."""
    return lambda batches: sum(deliver(batch) for batch in batches)


def test_a_scene_comes_back_byte_for_byte(tmp_path):
    spool = Outbox(tmp_path, "w")
    scene = [outcome(7), outcome(8)]
    put = spool.put(scene)
    [(_, read)] = spool.batches()
    assert read == put
    assert read.outcomes() == scene
    assert list(read.fields()) == ["v", "worker", "first", "count", "outcomes", "image:0", "image:1"]


def test_first_in_first_out_and_deleted_when_done(tmp_path):
    spool = Outbox(tmp_path, "w")
    for number in range(12):
        assert spool.put([outcome(number)]).first == number + 1
    assert numbers(spool) == list(range(12))
    spool.done(places(spool)[:1])
    assert numbers(spool) == list(range(1, 12))


def test_only_what_is_kept_waits_for_the_disk(tmp_path):
    with closing(OutboxFile(tmp_path / "w.sqlite3", make=True)) as file:
        said: list[str] = []
        file._database.set_trace_callback(said.append)
        levels = {}
        for name, act in (
            ("put", lambda: file.put([])),
            ("delete", lambda: file.delete([1])),
            ("put again", lambda: file.put([])),
        ):
            before = file.number("PRAGMA synchronous")
            said.clear()
            act()
            levels[name] = (
                before,
                [each for each in said if "synchronous" in each and said.index(each) < said.index("COMMIT")],
            )
        assert levels == {"put": (2, []), "delete": (2, ["PRAGMA synchronous = NORMAL"]), "put again": (2, [])}


def test_the_limit_is_in_bytes_on_disk(tmp_path):
    spool = Outbox(tmp_path, "w", limit_bytes=1)
    assert not spool.full()
    spool.put([outcome(1)])
    assert spool.full()
    assert spool.size_bytes() > 1


def test_its_log_stays_small_so_that_a_full_disk_needs_little_room(tmp_path):
    spool, entry = Outbox(tmp_path, "w"), outcome(1)
    large = dataclasses.replace(entry, images={"depth": os.urandom(100_000)})
    for _ in range(60):
        spool.put([large])
    for place in places(spool):
        spool.done([place])
    assert (tmp_path / "w.sqlite3-wal").stat().st_size < 1_500_000


def test_one_thread_may_look_while_another_delivers(tmp_path):
    spool = Outbox(tmp_path, "w", limit_bytes=1e9)
    finished = threading.Event()

    def deliver() -> None:
        while not finished.is_set() or spool.waiting():
            for place in places(spool):
                spool.done([place])

    publisher = threading.Thread(target=deliver)
    publisher.start()
    looks = 0
    try:
        for number in range(600):
            spool.put([outcome(number)])
            for _ in range(5):
                looks += spool.size_bytes() >= 0 and not spool.full()
    finally:
        finished.set()
        publisher.join(PATIENCE)
    assert looks == 3000
    assert spool.waiting() == 0


def test_workers_that_come_and_go_at_once_disturb_nobody(tmp_path):
    """Each opens a folder while its neighbours look for the dead; none fails, and every outcome is seen by somebody."""

    def live(name: str) -> int:
        seen = 0
        for boot in range(15):
            spool = Outbox(tmp_path, f"{name}-{boot}")
            spool.put([outcome(boot)])
            spool.claim_orphans()
            for place in places(spool)[: 1 + boot % 2]:
                spool.done([place])
                seen += 1
            spool.close()
        return seen

    with ThreadPoolExecutor(8) as pool:
        seen = sum(pool.map(live, [f"w{number}" for number in range(8)]))
    last = Outbox(tmp_path, "last")
    last.claim_orphans()
    assert seen + last.waiting() == 8 * 15


def test_a_database_of_before_is_sent_on_with_its_numbers_and_keeps_its_quarantine(tmp_path):
    with closing(sqlite3.connect(tmp_path / "old.sqlite3", isolation_level=None)) as database:
        database.executescript(
            """PRAGMA journal_mode = WAL; PRAGMA user_version = 1;
            CREATE TABLE outcome (entry INTEGER PRIMARY KEY, worker TEXT NOT NULL, sequence INTEGER NOT NULL, id TEXT NOT NULL,
              kind TEXT NOT NULL, meta BLOB NOT NULL, size INTEGER NOT NULL, quarantined TEXT);
            CREATE TABLE image (entry INTEGER NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL);"""
        )
        left = [outcome(number, "old") for number in range(3)]
        for number, each in enumerate(left):
            row = (number + 1, "old", number + 5, each.id, each.kind, each.meta, 1, "refused" if number == 1 else None)
            database.execute("INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            database.execute("INSERT INTO image VALUES (?, 'depth', ?)", (number + 1, each.images["depth"]))
    spool = Outbox(tmp_path, "w")
    assert spool.claim_orphans() == 2
    batches = [batch for _, batch in spool.batches()]
    assert [(batch.worker, batch.first) for batch in batches] == [("old", 5), ("old", 7)]
    assert [batch.outcomes() for batch in batches] == [[left[0]], [left[2]]]
    assert Outbox(tmp_path, "other").claim_orphans() == 0
    with closing(sqlite3.connect(tmp_path / "old.sqlite3")) as database:
        assert database.execute("SELECT id, quarantined FROM outcome").fetchall() == [("old:1:0", "refused")]


def test_a_database_of_a_live_worker_of_before_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / "old.sqlite3", isolation_level=None)) as database:
        database.executescript("PRAGMA locking_mode = EXCLUSIVE; PRAGMA user_version = 1; CREATE TABLE outcome (entry);")
        assert Outbox(tmp_path, "w").claim_orphans() == 0
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_broken_file_stops_nothing(tmp_path):
    (tmp_path / "dead.sqlite3").write_bytes(b"no database at all" * 100)
    spool = Outbox(tmp_path, "w")
    spool.put([outcome(2)])
    assert spool.claim_orphans() == 0
    assert numbers(spool) == [2]
    assert (tmp_path / "dead.unreadable").exists()


def test_a_database_that_is_just_being_made_is_left_alone(tmp_path):
    (tmp_path / "starting.sqlite3").touch()
    assert Outbox(tmp_path, "w").claim_orphans() == 0
    assert (tmp_path / "starting.sqlite3").exists()


def test_a_name_in_use_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sim_worker.worker.outbox.OWN_SECONDS", 0.01)
    spool = Outbox(tmp_path, "w")
    with pytest.raises(RuntimeError, match="in use"):
        Outbox(tmp_path, "w")
    spool.close()


def _fill_and_wait(root, filled):
    spool = Outbox(root, "dead")
    for number in range(3):
        spool.put([outcome(number, "dead")])
    filled.set()
    signal.pause()


def test_what_a_killed_worker_left_is_claimed_once_and_goes_first(tmp_path):
    context = multiprocessing.get_context("spawn")
    filled = context.Event()
    process = context.Process(target=_fill_and_wait, args=(tmp_path, filled))
    process.start()
    assert filled.wait(PATIENCE)
    spool, other = Outbox(tmp_path, "alive"), Outbox(tmp_path, "other")
    assert spool.claim_orphans() == 0, "the other process still lives"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    spool.put([outcome(9)])
    assert spool.claim_orphans() == 3
    assert other.claim_orphans() == 0, "claimed by one only"
    assert numbers(spool) == [0, 1, 2, 9]
    entries = [batch for _, batch in spool.batches()]
    assert [(entry.worker, entry.first) for entry in entries] == [("dead", 1), ("dead", 2), ("dead", 3), ("alive", 1)]
    spool.done(places(spool)[:3])
    assert not (tmp_path / "dead.sqlite3").exists()


def test_the_publisher_keeps_the_order_over_an_outage(tmp_path):
    spool, taken, away = Outbox(tmp_path, "w"), [], [True]

    def deliver(entry):
        if away[0]:
            raise redis.ConnectionError("connection refused")
        taken.append(entry.first)
        return True

    publisher = OutboxPublisher(spool, one_by_one(deliver))
    for number in range(5):
        publisher.put([outcome(number)])
    publisher.start()
    wait_until(lambda: publisher.away_since is not None)
    assert spool.waiting() == 5
    away[0] = False
    wait_until(lambda: publisher.delivered == 5)
    assert publisher.away_since is None
    assert publisher.stop(PATIENCE) == 0
    assert taken == [1, 2, 3, 4, 5]
    assert publisher.delivered == 5
    assert not spool.waiting()


def test_the_publisher_counts_a_retry_once_and_puts_a_refused_outcome_into_quarantine(tmp_path):
    spool = Outbox(tmp_path, "w")

    def deliver(entry):
        if entry.first == 2:
            raise DeliveryRefused("422")
        return entry.first != 1

    publisher = OutboxPublisher(spool, one_by_one(deliver))
    for number in range(3):
        publisher.put([outcome(number)])
    publisher.deliver_waiting()
    assert publisher.delivered == 1
    assert not spool.waiting()
    spool.close()
    assert quarantined(tmp_path / "w.sqlite3") == [(2, "DeliveryRefused: 422")]
    assert Outbox(tmp_path, "next").claim_orphans() == 0, "what is in quarantine is not sent again"
    assert (tmp_path / "w.sqlite3").exists()


def colour_outcome(number: int) -> EncodedOutcome:
    """Of a worker that keeps no depth image."""
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[3.0, 2.0], angle=0.1)
    meta = GraspMeta(
        grasp=grasp, planner="heatmap", success=True, images={"rgb": ImageSpec(shape=[4, 6, 3], dtype="uint8")}, source="w"
    )
    return encode_outcome(Outcome(id=f"w:{number}:0", meta=meta, images={"rgb": np.zeros((4, 6, 3), np.uint8)}))


def test_an_outcome_without_depth_is_reported_to_the_server(tmp_path):
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(202, json={"id": "w:1:0"})

    with GraspClient("http://server", transport=httpx.MockTransport(answer)) as client:
        publisher = OutboxPublisher(Outbox(tmp_path, "w"), to_server(client))
        publisher.put([colour_outcome(1)])
        publisher.deliver_waiting()
    assert publisher.delivered == 1
    assert b"rgb.npy" in sent[0]
    assert b"depth.npy" not in sent[0]


def test_an_odd_outcome_goes_into_quarantine_and_keeps_nobody_waiting(tmp_path):
    taken = []

    def deliver(entry):
        if entry.first == 1:
            raise KeyError("depth")
        taken.append(entry.first)
        return True

    publisher = OutboxPublisher(Outbox(tmp_path, "w"), one_by_one(deliver))
    for number in range(3):
        publisher.put([outcome(number)])
    publisher.deliver_waiting()
    assert publisher.away_since is None
    assert taken == [2, 3]
    publisher.outbox.close()
    assert quarantined(tmp_path / "w.sqlite3") == [(1, "KeyError: 'depth'")]


def test_on_a_full_disk_what_is_delivered_is_marked_as_soon_as_there_is_room(tmp_path, monkeypatch):
    taken, room, delete = [], threading.Event(), OutboxFile.delete

    def limited(self, numbers):
        if not room.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        delete(self, numbers)

    monkeypatch.setattr(OutboxFile, "delete", limited)
    publisher = OutboxPublisher(Outbox(tmp_path, "w"), one_by_one(lambda entry: taken.append(entry.first) is None))
    for number in range(3):
        publisher.put([outcome(number)])
    publisher.start()
    wait_until(lambda: publisher.trouble == f"disk full: {tmp_path}")
    assert publisher.away_since is None
    room.set()
    wait_until(lambda: not publisher.outbox.waiting() and not publisher.trouble)
    assert publisher.stop(PATIENCE) == 0
    assert sorted(set(taken)) == [1, 2, 3]  # what was sent again, its sequence number lets the queue drop


def test_a_full_disk_at_the_start_is_waited_for(tmp_path, monkeypatch):
    tries = []

    def limited(path, make):
        tries.append(path)
        if len(tries) < 3:
            raise sqlite3.OperationalError("database or disk is full")
        return OutboxFile(path, make)

    monkeypatch.setattr("sim_worker.worker.outbox.OutboxFile", limited)
    board = MagicMock()
    opened = open_outbox(WorkerSettings(outbox_dir=tmp_path / "spool"), "w", board, threading.Event())
    assert opened.put([outcome(1)]).first == 1
    assert board.report.call_args[0][1]["trouble"] == f"disk full: {tmp_path / 'spool'}"
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    stopped = threading.Event()
    stopped.set()
    tries.clear()
    with pytest.raises(sqlite3.OperationalError, match="full"):
        open_outbox(WorkerSettings(outbox_dir=tmp_path / "spool"), "w2", None, stopped)


def test_the_publisher_thread_delivers_and_stops(tmp_path):
    taken = []
    publisher = OutboxPublisher(Outbox(tmp_path, "w"), one_by_one(lambda entry: taken.append(entry.first) is None))
    publisher.start()
    for number in range(20):
        publisher.put([outcome(number)])
    assert publisher.stop(PATIENCE) == 0
    assert taken == list(range(1, 21))
    assert not publisher.is_alive()


def test_a_folder_that_cannot_be_looked_at_keeps_no_outcome_waiting(tmp_path, caplog, monkeypatch):
    root, taken = tmp_path / "spool", []
    publisher = OutboxPublisher(Outbox(root, "w"), one_by_one(lambda entry: taken.append(entry.first) is None))
    monkeypatch.setattr(Outbox, "claim_orphans", lambda self: os.listdir(root / "unreadable"))
    publisher.start()
    publisher.put([outcome(1)])
    assert publisher.stop(PATIENCE) == 0
    assert taken == [1]
    assert "cannot look for what stopped workers left" in caplog.text
