"""Where commands come from: a terminal's keys, or a small websocket that trackers, browsers and gamepads feed."""

from __future__ import annotations

import json
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Sequence
from typing import Protocol

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Origin

from sim_worker.teleop.command import Command, Interpreter, LandmarksMessage, command_of_keys, merged, read_message

LARGEST = 2**16
"""Bytes of a message."""


class CommandSource(Protocol):
    """Commands as somebody gives them; closed when done."""

    def read(self) -> Command:
        """What came since the last call."""
        ...

    def close(self) -> None: ...


class Keyboard:
    """Keys of the terminal on `descriptor`, as they are pressed; the terminal is as before after `close`."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._before = termios.tcgetattr(self._descriptor) if os.isatty(self._descriptor) else None
        if self._before is not None:
            tty.setcbreak(self._descriptor)

    def read(self) -> Command:
        keys = ""
        while select.select([self._descriptor], [], [], 0)[0]:
            data = os.read(self._descriptor, 1024)
            if not data:  # nobody will press anything any more
                return Command(end=True) if not keys else command_of_keys(keys)
            keys += data.decode(errors="ignore")
        return command_of_keys(keys)

    def close(self) -> None:
        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)


class WebsocketStream:
    """Messages that clients send to ws://host:port (see `command`). A web page may connect only from one of `origins`.

    What cannot be read is answered by {"error": ...}. landmarks: the latest body that was sent, for `human_pose`.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", origins: Sequence[str] = ()) -> None:
        allowed: list[Origin | None] = [None, *map(Origin, origins)]
        self._server: Server = serve(self._listen, host, port, origins=allowed, max_size=LARGEST)
        self.port: int = self._server.socket.getsockname()[1]
        self.landmarks: LandmarksMessage | None = None
        self._waiting: list[Command] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, name="teleop", daemon=True)
        self._thread.start()

    def read(self) -> Command:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return merged(waiting)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _listen(self, connection: ServerConnection) -> None:
        interpreter = Interpreter()
        try:
            for data in connection:
                try:
                    message = read_message(data)
                except ValueError as error:
                    connection.send(json.dumps({"error": str(error)}))
                    continue
                with self._lock:
                    self._waiting.append(interpreter.command(message))
                    if isinstance(message, LandmarksMessage):
                        self.landmarks = message
        except ConnectionClosed:
            return
