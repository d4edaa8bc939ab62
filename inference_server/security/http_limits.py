"""Connections that are too many, or send their head too slowly or too long, are closed; bodies are limited in `limits`."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inference_server.errors import ServerError, error_body

HEAD_SECONDS = 10.0
"""Longest from the first byte (or from connecting) to the end of the headers."""
HEAD_BYTES = 64 * 1024
CONNECTIONS = 4096
"""Most connections at once; one more is told so and closed."""


def _answer(error: ServerError) -> bytes:
    """The error as every other is told; the connection is closed after it."""
    body = error_body(error).model_dump_json().encode()
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", "connection: close"]
    if error.retry_after is not None:
        lines.append(f"retry-after: {error.retry_after}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class GuardedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a limit on the size of a request's head and on the time to send it."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timer()
        if len(self.connections) > CONNECTIONS:
            advice = f"{CONNECTIONS} connections are open: come back later, and keep fewer open"
            transport.write(_answer(ServerError(503, "too_many_connections", advice, retry_after=1)))
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._timer is None:
                self._start_timer()
        super().data_received(data)
        # Still no end of the headers after this much: nobody needs so many.
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"the request's head is longer than {HEAD_BYTES} bytes")

    def send_400_response(self, msg: str) -> None:
        advice = f"{msg.rstrip('.')}; address and headers may have {HEAD_BYTES} bytes, long options go into a part of a form"
        self.transport.write(_answer(ServerError(400, "unreadable_request", advice)))
        self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._in_head and not self.transport.is_closing():
            self.transport.close()
