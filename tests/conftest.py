"""Fixtures that several packages' tests share: a real Redis-compatible server on 127.0.0.1."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import properties  # noqa: F401  (registers what tests of properties go by)
import pytest
import redis
from waiting import wait_until

from services.queue import ReservedPort, answers, server_binary

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Many tests start processes of the services: half of each start would be spent on compiling what they import.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# The GNU C library gives the memory of an image back and asks for it anew with the next one, page by page: of tests with images
# that is a third. So much it keeps: M_TRIM_THRESHOLD, M_TOP_PAD, and from here on blocks of their own, M_MMAP_THRESHOLD.
if _mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
    for _parameter, _bytes in ((-1, 2**29), (-2, 2**26), (-3, 2**25)):
        _mallopt(_parameter, _bytes)


def pytest_collectstart() -> None:
    """Collect no garbage while tests are loaded: what their modules bring, half a million objects, stays, and to look through
    it takes a fifth of a second, again and again while they come and with every server that starts."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Take what is loaded out of garbage collection, where services that freeze and unfreeze must not bring it back."""
    gc.freeze()
    gc.freeze = gc.unfreeze = lambda: None
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the test of the whole loop, which takes longest: at the end one core would do it while the other waits."""
    items.sort(key=lambda item: item.path.name != "test_loop.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait for processes and for time to pass."""
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class QueueServer:
    """A server process that tests may kill and start again on the same port and, with `persist`, on the same data."""

    def __init__(self, folder: Path, persist: bool = False) -> None:
        self.folder, self.persist = folder, persist
        folder.mkdir(parents=True, exist_ok=True)
        self.port = ReservedPort()
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port.number}/0"

    def start(self) -> None:
        command = [server_binary(), "--bind", "127.0.0.1", "--port", str(self.port.number), "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes" if self.persist else "no"]
        command += ["--maxmemory-policy", "noeviction"]
        # As in services/queue.conf: with "everysec" a busy disk delays writing by up to two seconds, and a kill then loses
        # what was acknowledged.
        command += ["--appendfsync", "always"]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
            process = self.process
        wait_until(lambda: answers(self.url) or process.poll() is not None, (self.folder / "server.log").read_text)
        assert process.poll() is None, (self.folder / "server.log").read_text()

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


def _emptied(server: QueueServer) -> str:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    return server.url


@pytest.fixture
def redis_url(queue_server: QueueServer) -> str:
    """URL of a real, empty queue."""
    return _emptied(queue_server)


@pytest.fixture(scope="module")
def module_redis_url(queue_server: QueueServer) -> str:
    """The same for all tests of a file: empty when the first begins."""
    return _emptied(queue_server)


@pytest.fixture
def own_queue_server(tmp_path: Path) -> Iterator[QueueServer]:
    """A persistent server of the test's own, to be killed and started again."""
    server = QueueServer(tmp_path / "queue", persist=True)
    server.start()
    yield server
    server.kill()
