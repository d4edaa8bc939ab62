"""The queue behind sentinels: its address, and what a killed primary takes with it, which is nothing that was acknowledged."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis
from test_outcome_batches import outcome
from waiting import PATIENCE, wait_until

from services.queue import ReservedPort, server_binary
from shared.outcome_codec import encode_outcome
from shared.streams import OutcomeSender, OutcomeStream, connect, outcomes
from shared.streams.outcome_batches import OutcomeBatch, pack_outcomes

SENTINELS = 3


def test_the_url_tells_sentinels_service_and_account() -> None:
    client = connect("rediss+sentinel://worker:s%40cret@one:26379,two:26380/queue/2?ssl_ca_certs=/ca.pem")
    pool = client.connection_pool
    told = pool.connection_kwargs
    assert (told["username"], told["password"], told["db"], told["ssl_ca_certs"]) == ("worker", "s@cret", 2, "/ca.pem")
    hosts = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]  # type: ignore[attr-defined]
    assert [(each["host"], each["port"]) for each in hosts] == [("one", 26379), ("two", 26380)]
    assert all(not each.get("password") and each["ssl_ca_certs"] == "/ca.pem" for each in hosts)


@pytest.mark.parametrize("url", ["redis+sentinel://:s3cret@one/queue", "redis+sentinel://one:1", "http+sentinel://one:1/queue"])
def test_a_url_without_port_or_service_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected redis://.*redis\+sentinel://") as refused:
        connect(url)
    assert "s3cret" not in str(refused.value)


class Queue:
    """A server process; `name`: of its folder."""

    def __init__(self, folder: Path, more: str, sentinel: bool = False) -> None:
        folder.mkdir()
        self.port = ReservedPort()
        self.config, self.options = folder / "queue.conf", ["--sentinel"] if sentinel else []
        self.config.write_text(f'port {self.port.number}\ndir "{folder}"\nbind 127.0.0.1\n{more}')
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [server_binary(), str(self.config), *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Queue, str]]:
    """The primary, and the URL of a primary with one replica and three sentinels."""
    with ExitStack() as stack:

        def start(name: str, more: str, sentinel: bool = False) -> Queue:
            queue = Queue(tmp_path / name, more, sentinel)
            stack.callback(queue.kill)
            return queue

        kept = "appendonly yes\nappendfsync always\nrepl-diskless-sync-delay 0\n"
        primary = start("primary", kept)
        start("replica", f"{kept}replicaof 127.0.0.1 {primary.port.number}\n")
        with redis.Redis(port=primary.port.number) as client:
            wait_until(lambda: _says(client, "connected_slaves") == 1)
        watch = f"sentinel monitor queue 127.0.0.1 {primary.port.number} 2\nsentinel down-after-milliseconds queue 700\n"
        watch += "sentinel failover-timeout queue 3000\n"
        sentinels = [start(f"sentinel-{number}", watch, sentinel=True) for number in range(SENTINELS)]
        for sentinel in sentinels:
            with redis.Redis(port=sentinel.port.number) as client:
                wait_until(lambda client=client: _says(client, "sentinels") == SENTINELS)  # type: ignore[misc]
        yield primary, f"redis+sentinel://{','.join(f'127.0.0.1:{each.port.number}' for each in sentinels)}/queue/0"


def _says(client: redis.Redis, what: str) -> int:
    """Of a primary how many replicas it has, of a sentinel how many know each other."""
    with suppress(redis.RedisError, KeyError):
        info = client.info()
        return int(info["master0"]["sentinels"] if what == "sentinels" else info[what])
    return 0


def test_a_retry_is_not_taken_before_a_replica_has_what_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "REPLICA_MS", 50)
    with ExitStack() as stack:
        primary = Queue(tmp_path / "primary", "repl-diskless-sync-delay 0\n")
        stack.callback(primary.kill)
        replica = Queue(tmp_path / "replica", f"replicaof 127.0.0.1 {primary.port.number}\n")
        stack.callback(replica.kill)
        client = stack.enter_context(redis.Redis(port=primary.port.number))
        wait_until(lambda: _says(client, "connected_slaves") == 1)
        sender = OutcomeSender(client, replicas=1)
        first, second = (OutcomeBatch("w", number, 1, pack_outcomes([encode_outcome(outcome(number))])) for number in (1, 2))
        wait_until(lambda: _taken(sender, first))
        replica.process.send_signal(signal.SIGSTOP)
        assert not _taken(sender, second)
        client.close()  # the retry comes over another connection, as after an error
        assert not _taken(sender, second)
        replica.process.send_signal(signal.SIGCONT)
        wait_until(lambda: _taken(sender, second))
        assert OutcomeStream(client).sent() == {"w": 2}


def _taken(sender: OutcomeSender, batch: OutcomeBatch) -> bool:
    try:
        sender.publish([batch])
    except redis.RedisError:
        return False
    return True


@pytest.mark.slow
def test_a_killed_primary_takes_nothing_with_it_that_was_acknowledged(servers: tuple[Queue, str]) -> None:
    primary, url = servers
    taken, done, away = list[int](), threading.Event(), threading.Event()

    def publish() -> None:
        sender, number = OutcomeSender(connect(url), replicas=1), 1
        while not done.is_set():
            batch = OutcomeBatch("w", number, 1, pack_outcomes([encode_outcome(outcome(number))]))
            try:
                sender.publish([batch])
            except redis.RedisError:
                away.set()
                continue
            taken.append(number)
            number += 1

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        wait_until(lambda: len(taken) > 100)
        primary.kill()
        assert away.wait(PATIENCE)
        primary.start()  # comes back as a replica
        after = len(taken)
        wait_until(lambda: len(taken) > after + 100)
    finally:
        done.set()
        publisher.join()
    stream = OutcomeStream(connect(url))
    stored = [each.sender[1] for entry in stream.read("a", 100_000) for each in entry.outcomes if each.sender]
    assert len(stored) == len(set(stored))
    assert set(taken) <= set(stored)
    assert stream.sent() == {"w": len(stored)}
