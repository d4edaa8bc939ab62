"""Connections that are too many, or send their head too slowly or too long, are closed; bodies are limited in `limits`."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inference_server.errors import ServerError, error_body

HEAD_SECONDS = 10.0
"""Longest from the first byte (or from connecting) to the end of the headers."""
HEAD_BYTES = 64 * 1024
CONNECTIONS = 4096
"""Most connections at once; one more is told so and closed."""


def _too_many() -> bytes:
    error = ServerError(
        503, "too_many_connections", f"{CONNECTIONS} connections are open: come back later, and keep fewer open"
    )
    body = error_body(error).model_dump_json().encode()
    head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"retry-after: 1\r\nconnection: close\r\n\r\n" + body


class GuardedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a limit on the size of a request's head and on the time to send it."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timer()
        if len(self.connections) > CONNECTIONS:
            transport.write(_too_many())
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._timer is None:
                self._start_timer()
        super().data_received(data)
        # Still no end of the headers after this much: nobody needs so many.
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The request's headers are longer than {HEAD_BYTES} bytes.")

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
