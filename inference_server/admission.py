"""The prelude of every route that plans, as dependencies: read the body, hold a place in the queue while the endpoint runs."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from opentelemetry import trace
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect

from inference_server import tracing
from inference_server.connections import CANCEL, ENDING, PIECE
from inference_server.decoding.json_limits import JSON_BYTES, json_too_large
from inference_server.errors import ServerError
from inference_server.request_context import RequestContext
from inference_server.security.auth import ASKER, Asker
from inference_server.service import Service
from shared.freed_memory import give_back_freed_memory

MAX_DEADLINE_MS = 600_000
"""A client that would wait longer than this waits no longer."""
ACT_LANE = " acts"
"""Behind a client's name: the line of the queue for its steps of policies."""
BODY_SECONDS = 30.0
"""Longest that a client may take to send a body."""
BODIES_AT_ONCE = 16
"""Bodies of the largest size that may be in memory, from their first byte to their reply."""
BODIES_OF_ONE = 8
"""Of these for one client."""
READERS = 256
"""Bodies of any size that may be arriving at once: beyond it, answering 429 is cheaper than receiving what will be late."""
READERS_OF_ONE = 192
"""Of these for one client, so that one that sends slowly does not keep all others out."""
PIECE_BYTES = 2**20
"""So much of a body that is being read may arrive before its reader is woken: to wake it takes a twentieth of a millisecond;
images of 640 x 480 are half of this."""
LARGE_BYTES = 4 * 2**20
TRIM_SECONDS = 1.0
"""How long after a large body the memory is looked at, once for all that came meanwhile."""


class BodyReader:
    """Receives bodies within limits: of one body, and of all that are in memory together.

    FastAPI's `max_body_size` knows one body only, and answers an announced excess with text/plain, also in place of a 401.
    """

    def __init__(self, max_bytes: int, seconds: float = BODY_SECONDS):
        self.max_bytes, self.seconds = max_bytes, seconds
        self.in_memory: Counter[str] = Counter()
        """Bytes of bodies by client."""
        self._readers: Counter[str] = Counter()
        self._trimming = False

    async def read(self, request: Request, client: str) -> bytes:
        """The whole body, which counts until the reply begins.

        Raises ServerError 413 as soon as it is too large, announced or not, 408 when it is slow, and 429 before a byte is read
        when too many are arriving; ClientDisconnect.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdigit():
            size = int(announced)
            if size > self.max_bytes:
                raise self._too_large()
            if size > JSON_BYTES and request.headers.get("content-type", "").startswith("application/json"):
                raise json_too_large(size, JSON_BYTES, "JSON")
        if self._readers.total() >= READERS or self._readers[client] >= READERS_OF_ONE:
            raise busy()
        self._readers[client] += 1
        request.scope[PIECE] = PIECE_BYTES
        chunks: list[bytes] = []
        request.scope[ENDING] = lambda: self._forget(client, sum(map(len, chunks)))
        try:
            await self._receive(request, client, chunks)
        finally:
            self._readers[client] -= 1
            if not self._readers[client]:
                del self._readers[client]
        if len(chunks) > 1:  # joined elsewhere where it takes milliseconds, in which nobody else would be answered
            size = sum(map(len, chunks))
            chunks[:] = [await asyncio.to_thread(b"".join, chunks) if size > LARGE_BYTES else b"".join(chunks)]
        return chunks[0] if chunks else b""

    async def _receive(self, request: Request, client: str, chunks: list[bytes]) -> None:
        size, more, until = 0, True, time.monotonic() + self.seconds
        while more:
            message = await request.receive()  # of a slow body also empty pieces, so that time is looked at
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            if chunk:
                chunks.append(chunk)
                size += len(chunk)
                self.in_memory[client] += len(chunk)
            if size > self.max_bytes:
                raise self._too_large()
            if (
                self.in_memory.total() > self.max_bytes * BODIES_AT_ONCE
                or self.in_memory[client] > self.max_bytes * BODIES_OF_ONE
            ):
                raise busy()
            if more and time.monotonic() > until:
                raise ServerError(408, "body_timeout", f"the body did not arrive within {self.seconds:g} s")

    def _forget(self, client: str, size: int) -> None:
        self.in_memory[client] -= size
        if not self.in_memory[client]:
            del self.in_memory[client]
        if size > LARGE_BYTES and not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        """Have the allocator give memory back, which it else keeps for a next body of the size."""
        self._trimming = False
        asyncio.get_running_loop().run_in_executor(None, give_back_freed_memory)

    def _too_large(self) -> ServerError:
        return ServerError(
            413,
            "body_too_large",
            f"the body is larger than {self.max_bytes / 2**20:g} MiB; crop or resize the image, or send fewer",
        )


def busy() -> ServerError:
    return ServerError(429, "too_many_bodies", "too many bodies are arriving at once; send it again", retry_after=1)


@dataclass(frozen=True)
class ReceivedRequest:
    """A request whose body is here. Times are time.monotonic(). client: who sent it; owner: whose the plans are that come of
    it; lane: see `_received`; forget_body: no longer count it."""

    service: Service
    client: str
    owner: str
    id: str
    started: float
    deadline: float
    headers: Headers
    query: QueryParams
    body: bytes
    forget_body: Callable[[], None]
    lane: str = ""
    admitted: list[AdmittedRequest] = field(default_factory=list, init=False)

    def admit(self, part: int | None = None) -> AdmittedRequest:
        """Take a place in the queue, which is free again when the reply begins, whatever became of it.

        part: number of one of several observations in the request, which then has an id of its own. Raises ServerError 429
        or 503 without a place.
        """
        slot = self.service.batcher.reserve(self.client + self.lane, self.deadline, overtakes=bool(self.lane))
        name = self.id if part is None else f"{self.id}.{part}"
        admitted = AdmittedRequest(name, slot, self.started, self.deadline, self, owner=self.owner)
        self.admitted.append(admitted)
        return admitted

    def end(self) -> None:
        """Give back what is still held, and trace what was done."""
        for admitted in self.admitted:
            if admitted.slot.open:
                admitted.slot.release()
            if trace.get_current_span().is_recording():
                tracing.record(admitted.stages)
        self.admitted.clear()  # each of them names this one, with its body
        self.forget_body()


@dataclass(frozen=True)
class AdmittedRequest(RequestContext):
    """A request that has a place in the queue, with what came with it."""

    received: ReceivedRequest


async def _received(request: Request, lane: str = "") -> ReceivedRequest:
    """Read the body of a request that is going to the queue; refused before it is read when there is no room for it.

    lane: for requests so cheap that they overtake others; their client has a line of its own in the queue for them.
    What follows is cancelled when its client leaves. Raises ServerError 422 for a bad X-Deadline-Ms, 429 or 503 without room,
    and what `BodyReader.read` raises.
    """
    state, scope = request.app.state, request.scope
    service: Service = state.service
    asker: Asker = scope[ASKER]
    deadline = deadline_of(request, service.settings.deadline_ms)
    if service.batcher.closing or service.batcher.queue.taken:
        service.batcher.check_room(asker.client + lane, deadline, overtakes=bool(lane))
    body = await state.bodies.read(request, asker.client)
    task = asyncio.current_task()
    scope[CANCEL] = task.cancel if task else None
    received = ReceivedRequest(
        service, asker.client, asker.owner, scope["request_id"], scope["started"], deadline, request.headers,
        request.query_params, body, scope[ENDING], lane,
    )  # fmt: skip
    scope[ENDING] = received.end
    return received


async def receive(request: Request) -> ReceivedRequest:
    """Read the body, and count it until the reply begins. Raises as `_received`."""
    return await _received(request)


async def admit(request: Request) -> AdmittedRequest:
    """Read the body, then hold a place in the queue until the reply begins. Raises as `_received` and its `admit` do."""
    return (await _received(request)).admit()


async def admit_to_act(request: Request) -> AdmittedRequest:
    """The same for one step of a policy: a control loop waits for no plan but the one that is being computed."""
    return (await _received(request, ACT_LANE)).admit()


Received = Annotated[ReceivedRequest, Depends(receive)]
Admitted = Annotated[AdmittedRequest, Depends(admit)]
AdmittedToAct = Annotated[AdmittedRequest, Depends(admit_to_act)]


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
