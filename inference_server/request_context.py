"""One request on its way to a planner, and the dependencies by which routes get it.

Every route that plans has the same prelude: the deadline, a look whether there is room, the body, a place in the queue.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers, QueryParams

from inference_server.batching.batcher import QueueSlot
from inference_server.security.auth import Client
from inference_server.security.limits import deadline_of

if TYPE_CHECKING:
    from inference_server.service import Service


@dataclass(frozen=True)
class ReceivedRequest:
    """A request whose body is here. Times are time.monotonic(); `client` names the line of the queue that it waits in."""

    service: Service
    client: str
    id: str
    started: float
    deadline: float
    headers: Headers
    query: QueryParams
    body: bytes

    @contextmanager
    def admit(self, part: int | None = None) -> Iterator[AdmittedRequest]:
        """Take a place in the queue; it is free again after the block unless it has been used.

        part: number of one of several observations in the request, which then has an id of its own. Raises ServerError 429
        or 503 without a place.
        """
        slot = self.service.batcher.reserve(self.client, self.deadline)
        try:
            yield AdmittedRequest(self, self.id if part is None else f"{self.id}.{part}", slot)
        finally:
            if not slot.used:
                slot.release()


@dataclass(frozen=True)
class AdmittedRequest:
    """A request, or a part of one, that has a place in the queue. stages: name to start, time.monotonic(), and seconds."""

    received: ReceivedRequest
    id: str
    slot: QueueSlot
    stages: dict[str, tuple[float, float]] = field(default_factory=dict)

    def timings(self, more: Mapping[str, float]) -> dict[str, float]:
        """Milliseconds per stage; `total` counts from the moment that the request came."""
        stages = {name: seconds * 1e3 for name, (_, seconds) in self.stages.items()}
        total = (time.monotonic() - self.received.started) * 1e3
        return {name: round(value, 3) for name, value in {**stages, **more, "total": total}.items()}


async def receive(request: Request, client: Client) -> ReceivedRequest:
    """Read the body of a request that is going to the queue; refused before it is read when there is no room for it.

    Raises ServerError 422 for a bad X-Deadline-Ms, 429 or 503 without room, and what `BodyReader.read` raises.
    """
    service: Service = request.app.state.service
    deadline = deadline_of(request, service.settings.deadline_ms)
    service.batcher.check_room(client, deadline)
    body = await service.bodies.read(request, client)
    scope = request.scope
    return ReceivedRequest(
        service, client, scope["request_id"], scope["started"], deadline, request.headers, request.query_params, body
    )


async def admit(request: Request, client: Client) -> AsyncIterator[AdmittedRequest]:
    """Read the body, then hold a place in the queue until the endpoint returns. Raises as `receive` and `admit` do."""
    with (await receive(request, client)).admit() as admitted:
        yield admitted


Received = Annotated[ReceivedRequest, Depends(receive)]
Admitted = Annotated[AdmittedRequest, Depends(admit, scope="function")]


def service_of(request: Request) -> Service:
    """The server's parts, for endpoints that do not plan."""
    return request.app.state.service
