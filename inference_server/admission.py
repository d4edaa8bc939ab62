"""The prelude of every route that plans, as dependencies: read the body, hold a place in the queue while the endpoint runs."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from opentelemetry import trace
from starlette.datastructures import Headers, QueryParams

from inference_server import tracing
from inference_server.connections import CANCEL
from inference_server.errors import ServerError
from inference_server.request_context import RequestContext
from inference_server.security.auth import client_of, owner_of
from inference_server.service import Service

MAX_DEADLINE_MS = 600_000
"""A client that would wait longer than this waits no longer."""
ACT_LANE = " acts"
"""Behind a client's name: the line of the queue for its steps of policies."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request whose body is here. Times are time.monotonic(). client: who sent it; owner: whose the plans are that come of
    it; lane: see `_received`."""

    service: Service
    client: str
    owner: str
    id: str
    started: float
    deadline: float
    headers: Headers
    query: QueryParams
    body: bytes
    lane: str = ""

    @contextmanager
    def admit(self, part: int | None = None) -> Iterator[AdmittedRequest]:
        """Take a place in the queue; it is free again after the block, whatever became of it.

        part: number of one of several observations in the request, which then has an id of its own. Raises ServerError 429
        or 503 without a place.
        """
        slot = self.service.batcher.reserve(self.client + self.lane, self.deadline, overtakes=bool(self.lane))
        name = self.id if part is None else f"{self.id}.{part}"
        admitted = AdmittedRequest(name, slot, self.started, self.deadline, self, owner=self.owner)
        try:
            yield admitted
        finally:
            if slot.open:
                slot.release()
            if trace.get_current_span().is_recording():
                tracing.record(admitted.stages)


@dataclass(frozen=True)
class AdmittedRequest(RequestContext):
    """A request that has a place in the queue, with what came with it."""

    received: ReceivedRequest


@asynccontextmanager
async def _received(request: Request, lane: str = "") -> AsyncIterator[ReceivedRequest]:
    """Read the body of a request that is going to the queue; refused before it is read when there is no room for it.

    lane: for requests so cheap that they overtake others; their client has a line of its own in the queue for them.
    The block is cancelled when its client leaves. Raises ServerError 422 for a bad X-Deadline-Ms, 429 or 503 without room, and
    what `BodyReader.read` raises.
    """
    service: Service = request.app.state.service
    client, deadline = client_of(request), deadline_of(request, service.settings.deadline_ms)
    if service.batcher.closing or service.batcher.queue.taken:
        service.batcher.check_room(client + lane, deadline, overtakes=bool(lane))
    body = await service.bodies.read(request, client)
    scope = request.scope
    task = asyncio.current_task()
    scope[CANCEL] = task.cancel if task else None
    with service.bodies.hold(client, len(body)):
        yield ReceivedRequest(
            service,
            client,
            owner_of(request),
            scope["request_id"],
            scope["started"],
            deadline,
            request.headers,
            request.query_params,
            body,
            lane,
        )


async def receive(request: Request) -> AsyncIterator[ReceivedRequest]:
    """Read the body, and count it until the endpoint returns. Raises as `_received`."""
    async with _received(request) as received:
        yield received


async def admit(request: Request) -> AsyncIterator[AdmittedRequest]:
    """Read the body, then hold a place in the queue until the endpoint returns. Raises as `_received` and its `admit` do."""
    async with _received(request) as received:
        with received.admit() as admitted:
            yield admitted


async def admit_to_act(request: Request) -> AsyncIterator[AdmittedRequest]:
    """The same for one step of a policy: a control loop waits for no plan but the one that is being computed."""
    async with _received(request, ACT_LANE) as received:
        with received.admit() as admitted:
            yield admitted


Received = Annotated[ReceivedRequest, Depends(receive, scope="function")]
Admitted = Annotated[AdmittedRequest, Depends(admit, scope="function")]
AdmittedToAct = Annotated[AdmittedRequest, Depends(admit_to_act, scope="function")]


def service_of(request: Request) -> Service:
    """The server's parts, for endpoints that do not plan."""
    service: Service = request.app.state.service
    return service


def deadline_of(request: Request, default_ms: int) -> float:
    """The time.monotonic() instant by which the client wants an answer: X-Deadline-Ms after the request came. Raises 422."""
    text = request.headers.get("x-deadline-ms")
    milliseconds = float(default_ms) if text is None else _number(text)
    if not (math.isfinite(milliseconds) and milliseconds > 0):
        raise ServerError(
            422,
            "invalid_field",
            f"header X-Deadline-Ms: expected the milliseconds you will wait, such as 500, got {str(text)[:40]!r}",
        )
    started: float = request.scope.get("started", time.monotonic())
    return started + min(milliseconds, MAX_DEADLINE_MS) / 1e3


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
