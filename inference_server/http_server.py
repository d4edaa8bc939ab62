"""How HTTP is served: uvicorn's settings, limits on connections and heads, and what surrounds every request.

Bodies are limited where they are read, in `request_context`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inference_server.errors import CLIENT_CLOSED_REQUEST, ServerError, as_server_error, error_body, error_response
from inference_server.metrics import Metrics
from shared.logs import request_id
from shared.settings import ServerSettings

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
_SAFE_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
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
    """uvicorn's HTTP protocol with a limit on the size of a request's head and on the time to send it.

    uvicorn's settings cannot give this: none limits the time of a head, `h11_max_incomplete_event_size` is for h11, which is
    written in Python, and `limit_concurrency` refuses in plain text, and those that are connected along with the newcomer.
    """

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


class RequestMiddleware:
    """Takes a client's X-Request-ID (or makes one), returns it, and puts it into the logs.

    Sets scope["request_id"], and scope["started"] (time.monotonic()) from which deadlines and the total time count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = scope["started"] = time.monotonic()
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        identity = scope["request_id"] = sent if _SAFE_ID.fullmatch(sent) else uuid.uuid4().hex
        token = request_id.set(identity)
        status = CLIENT_CLOSED_REQUEST  # stays when the client goes away

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = identity
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception as error:  # what no handler knows: answered here, so that the connection lives on
            if status != CLIENT_CLOSED_REQUEST:
                raise  # the reply has begun
            await error_response(as_server_error(error))(scope, receive, answer)
        finally:
            self._note(scope, status, time.monotonic() - started)
            request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        endpoint = getattr(scope.get("route"), "path", "unknown")
        self.metrics.requests.labels(endpoint, status).inc()
        self.metrics.request_seconds.labels(endpoint).observe(seconds)
        level = logging.DEBUG if status < 400 else logging.INFO
        if logger.isEnabledFor(level):
            extra = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1e3, 1)}
            logger.log(level, "%s %s %d", scope["method"], scope["path"], status, extra=extra)


def config_of(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    """uvicorn's settings: our limits, no access log beside our own line, no header that tells what serves."""
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, http=GuardedHttp, ws="none", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.drain_seconds) + 1,
    )  # fmt: skip


def run(app: FastAPI, settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    uvicorn.Server(config_of(app, settings)).run()
