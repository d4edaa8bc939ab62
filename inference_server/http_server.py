"""How HTTP is served: uvicorn's settings, and what surrounds every request.

Connections and heads are limited in `connections`, bodies where they are read, in `request_context`.
"""

import asyncio
import logging
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference_server.connections import CANCEL, GuardedHttp, OpenConnections, network_of
from inference_server.errors import CLIENT_CLOSED_REQUEST, as_server_error, error_response
from inference_server.metrics import Metrics
from shared.logs import request_id
from shared.settings import ServerSettings

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
LONGEST_DELAY = 5.0
"""Seconds."""
BUSY_WEIGHT = 0.1
"""Of a 429: it is no error of the client, unless it comes back at once."""
ADDRESSES = 4096
"""Of whom refusals are remembered."""
_SAFE_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class RefusalLimit:
    """Lets an address have so many of its requests refused per second, and one second's worth at once; more are told later.

    To refuse costs little, but somebody who asks again at once costs everybody the time of the event loop.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic):
        self._per_second, self._clock = per_second, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def delay(self, address: str, weight: float = 1.0) -> float:
        """Count one more refusal; seconds until it may be told."""
        now = self._clock()
        level, then = self._levels.pop(address, (0.0, now))
        level = max(0.0, level - (now - then) * self._per_second) + weight
        self._levels[address] = level, now
        if len(self._levels) > ADDRESSES:
            self._levels.popitem(last=False)
        return min(LONGEST_DELAY, max(0.0, level / self._per_second - 1))


class RequestMiddleware:
    """Takes a client's X-Request-ID (or makes one), returns it, and puts it into the logs.

    Sets scope["request_id"], and scope["started"] (time.monotonic()) from which deadlines and the total time count. Tells an
    address of the errors that it makes as fast as `refusals` allows.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        refusals: RefusalLimit,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self.app, self.metrics, self._refusals, self._sleep = app, metrics, refusals, sleep

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
                if 400 <= status < 500:
                    weight = BUSY_WEIGHT if status == HTTPStatus.TOO_MANY_REQUESTS else 1.0
                    delay = self._refusals.delay(network_of(scope), weight)
                    if delay > 0:
                        await self._sleep(delay)
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except asyncio.CancelledError:
            if scope.get(CANCEL, self) is not None:
                raise
            # The client has left: there is nobody to answer.
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
    protocol = partial(GuardedHttp, among=OpenConnections(settings.connections_per_address))
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, http=protocol,  # type: ignore[arg-type]
        ws="none", log_config=None, access_log=False, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=int(settings.drain_seconds) + 1,
    )  # fmt: skip


def run(app: FastAPI, settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    uvicorn.Server(config_of(app, settings)).run()
