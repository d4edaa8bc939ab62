"""How HTTP is served: uvicorn's settings, its protocol within limits, and what surrounds every request.

Bodies are limited where they are read, in `admission`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inference_server.connections import CANCEL, ENDING, PIECE, OpenConnections, Wait, network_of
from inference_server.errors import CLIENT_CLOSED_REQUEST, ServerError, as_server_error, error_bytes, error_response
from inference_server.metrics import Metrics
from inference_server.security.origins import Origins
from inference_server.security.refusal_limit import RefusalLimit
from shared.logs import request_id
from shared.settings import ServerSettings

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = b"x-request-id"
BUSY_WEIGHT = 0.1
"""Of a 429: it is no error of the client, unless it comes back at once."""
HEAD_BYTES = 64 * 1024
_SAFE_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class RequestMiddleware:
    """Takes a client's X-Request-ID (or makes one), returns it, and puts it into the logs.

    Sets scope["request_id"], scope["started"] (time.monotonic()) from which deadlines and the total time count; calls
    scope[ENDING]. Refuses what `origins` does, and tells an address of the errors that it makes as fast as `refusals` allows.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        refusals: RefusalLimit,
        origins: Origins,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self.app, self.metrics, self._refusals, self._origins, self._sleep = app, metrics, refusals, origins, sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = scope["started"] = time.monotonic()
        sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == REQUEST_ID_HEADER), "")
        identity = scope["request_id"] = sent if _SAFE_ID.fullmatch(sent) else uuid.uuid4().hex
        token = request_id.set(identity)
        status = CLIENT_CLOSED_REQUEST  # stays when the client goes away

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                self._end(scope)
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID_HEADER, identity.encode())]
                if 400 <= status < 500:
                    weight = BUSY_WEIGHT if status == HTTPStatus.TOO_MANY_REQUESTS else 1.0
                    delay = self._refusals.delay(network_of(scope), weight)
                    if delay > 0:
                        await self._sleep(delay)
            await send(message)

        try:
            refused = self._origins.refusal(scope)
            if refused is None:
                await self.app(scope, receive, answer)
            else:
                self.metrics.rejected.labels(refused.code).inc()
                await error_response(refused)(scope, receive, answer)
        except asyncio.CancelledError:
            if scope.get(CANCEL, self) is not None:
                raise
            # The client has left: there is nobody to answer.
        except Exception as error:  # what no handler knows: answered here, so that the connection lives on
            if status != CLIENT_CLOSED_REQUEST:
                raise  # the reply has begun
            await error_response(as_server_error(error))(scope, receive, answer)
        finally:
            self._end(scope)
            self._note(scope, status, time.monotonic() - started)
            request_id.reset(token)

    def _end(self, scope: Scope) -> None:
        end = scope.pop(ENDING, None)
        if end is not None:
            end()

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        endpoint = getattr(scope.get("route"), "path", "unknown")
        self.metrics.requests.labels(endpoint, status).inc()
        self.metrics.request_seconds.labels(endpoint).observe(seconds)
        level = logging.DEBUG if status < 400 else logging.INFO
        if logger.isEnabledFor(level):
            extra = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1e3, 1)}
            logger.log(level, "%s %s %d", scope["method"], scope["path"], status, extra=extra)


class GuardedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which waits for its client only so long."""

    address = ""
    wait: Wait | None = None
    since = 0.0
    _stage = Wait.HEAD
    """What of a request comes next."""
    _head_bytes = 0
    _given_up = False

    def __init__(self, *arguments: Any, among: OpenConnections, **named: Any):
        super().__init__(*arguments, **named)
        self._among = among

    @property
    def unsent(self) -> int:
        """Bytes of replies that wait to be taken."""
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self._among.add(self, self.client[0] if self.client else ""):
            advice = "too many connections are open, and all are busy: come back later, and keep fewer open"
            self._refuse(ServerError(503, "too_many_connections", advice, retry_after=1))
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        if self.cycle is not None and not self.cycle.response_complete:
            scope: dict[str, Any] = self.cycle.scope  # type: ignore[assignment]
            cancel, scope[CANCEL] = scope.get(CANCEL), None
            if cancel is not None:
                cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._stage is Wait.NEXT:
            self._stage = Wait.HEAD
        if self._stage is Wait.HEAD:
            self._head_bytes += len(data)
        super().data_received(data)
        # Still no end of the headers after this much: nobody needs so many.
        if self._stage is Wait.HEAD and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("no end of the headers")
        if self._stage is Wait.NEXT and not self.pipeline:
            self.flow.resume_reading()  # a large body has paused it, and the client's leaving would not be noticed
        self._look()

    def on_message_begin(self) -> None:
        self._stage = Wait.HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stage, self._head_bytes = Wait.BODY, 0
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD_BYTES:
            raise ValueError("the head is too long")  # the parser stops, and `send_400_response` is called
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As uvicorn does it, but a reader is woken for more at a time."""
        scope: dict[str, Any] = self.cycle.scope  # type: ignore[assignment]
        piece = scope.get(PIECE)
        if piece is None or self.cycle.response_complete or len(self.cycle.body) + len(body) > piece:
            super().on_body(body)
        else:
            self.cycle.body += body

    def on_message_complete(self) -> None:
        self._stage = Wait.NEXT
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # ours knows of unread bodies and of replies that nobody takes
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look()
        self._among.free_replies(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look()

    def send_400_response(self, msg: str) -> None:
        advice = f"address and headers may have {HEAD_BYTES} bytes, long options go into a part of a form"
        self._refuse(ServerError(400, "unreadable_request", f"{msg.rstrip('.')}; {advice}"))

    def give_up(self) -> None:
        """Close without waiting for anything more."""
        self._leave()
        if self.unsent:
            self.transport.abort()
        else:
            self.transport.close()

    def wake_reader(self) -> None:
        """Have whoever reads the body look at the clock: it gets an empty piece."""
        if self.cycle is not None:
            self.cycle.message_event.set()

    def _refuse(self, error: ServerError) -> None:
        self.transport.write(error_bytes(error))
        self.transport.close()

    def _look(self) -> None:
        """Note what is waited for now, if that has changed."""
        wait = self._waits_for()
        if wait is not self.wait:
            self.wait, self.since = wait, self.loop.time()

    def _waits_for(self) -> Wait | None:
        if self.transport.is_closing() or self.flow.write_paused:
            return Wait.TAKING
        replied = self.cycle is None or self.cycle.response_complete
        if self._stage is Wait.BODY:
            return Wait.REST if replied else None if self.pipeline else Wait.BODY
        return self._stage if replied else None

    def _leave(self) -> None:
        if not self._given_up:
            self._given_up = True
            self._among.remove(self)


def config_of(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    """uvicorn's settings: our limits, no access log beside our own line, no header that tells what serves."""
    protocol = partial(GuardedHttp, among=OpenConnections(settings.connections_per_address))
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, http=protocol,  # type: ignore[arg-type]
        ws="none", log_config=None, access_log=False, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=int(settings.drain_seconds) + 1,
    )  # fmt: skip


def run(app: FastAPI, settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    uvicorn.Server(config_of(app, settings)).run()
