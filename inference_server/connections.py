"""Connections: how many there may be, how large a head, and how long each may wait for its client.

uvicorn's settings cannot give this. None limits the time of a head, of a body that nobody reads, or of a reply that the client
does not take; its keep-alive timer is not armed again by what follows an early reply, and lets unsent bytes stay;
`h11_max_incomplete_event_size` is for h11, which is written in Python; and `limit_concurrency` refuses in plain text, and those
that are connected along with the newcomer.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter, defaultdict
from enum import Enum
from http import HTTPStatus
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inference_server.errors import ServerError, error_body

CANCEL = "grasploop.cancel"
"""Key of a request's scope: a function to call when the client leaves before the reply; None once it has left."""
HEAD_BYTES = 64 * 1024
CONNECTIONS = 4096
"""Most connections at once."""
UNSENT_BYTES = 64 * 2**20
"""Most of replies that one address has asked for and does not take."""


class Wait(Enum):
    """What a connection waits for from its client."""

    HEAD = "the headers, from their first byte or from connecting"
    BODY = "a body that is being read"
    REST = "the rest of a body whose reply was sent early"
    NEXT = "another request"
    TAKING = "the client to take a reply"


SECONDS = {Wait.HEAD: 10.0, Wait.BODY: 35.0, Wait.REST: 5.0, Wait.NEXT: 30.0, Wait.TAKING: 30.0}
"""Longest that each may take, in all and not since the last byte. Of a body more than `BodyReader` allows, who can say 408."""


class OpenConnections:
    """The connections of one server. Where there are too many, the one that waited longest for its client gives way.

    An address of IPv6 is its first 64 bits: whoever has one has all of them.
    """

    def __init__(self, most_of_one: int):
        self._most_of_one = most_of_one
        self._counts: Counter[str] = Counter()
        self._waiting: defaultdict[str, dict[GuardedHttp, None]] = defaultdict(dict)

    def add(self, connection: GuardedHttp) -> bool:
        """Whether there is room for a connection, or room could be made."""
        address = connection.address
        room = self._counts[address] < self._most_of_one or self._make_room(address)
        if room and self._counts.total() >= CONNECTIONS:
            room = any(self._make_room(most) for most, _ in self._counts.most_common(3))
        self._counts[address] += 1
        return room

    def remove(self, connection: GuardedHttp) -> None:
        address = connection.address
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
        self.note(connection, None)

    def note(self, connection: GuardedHttp, wait: Wait | None) -> None:
        """What a connection waits for now. One whose body is being read does not give way: its reader is limited elsewhere."""
        waiting = self._waiting[connection.address]
        waiting.pop(connection, None)
        if wait not in (None, Wait.BODY):
            waiting[connection] = None
        elif not waiting:
            del self._waiting[connection.address]

    def free_replies(self, connection: GuardedHttp) -> None:
        """Drop the oldest replies that an address does not take while they are too many beside this one's."""
        unsent = [each for each in self._waiting[connection.address] if each.wait is Wait.TAKING]
        total = sum(each.unsent for each in unsent)
        for each in unsent:
            if total <= UNSENT_BYTES or each is connection:
                return
            total -= each.unsent
            each.transport.abort()

    def _make_room(self, address: str) -> bool:
        oldest = next(iter(self._waiting.get(address, ())), None)
        if oldest is None:
            return False
        oldest.give_up()
        return True


class GuardedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which waits for its client only so long."""

    address = ""
    wait: Wait | None = None
    _stage = Wait.HEAD
    """What of a request comes next."""
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None
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
        self.address = _network(self.client[0] if self.client else "")
        if not self._among.add(self):
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

    def _refuse(self, error: ServerError) -> None:
        self.transport.write(_answer(error))
        self.transport.close()

    def _look(self) -> None:
        """Start the timer of what is waited for now, if that has changed."""
        wait = self._waits_for()
        if wait is self.wait or self._given_up:
            return
        self.wait = wait
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(SECONDS[wait], self.give_up) if wait else None
        self._among.note(self, wait)

    def _waits_for(self) -> Wait | None:
        if self.transport.is_closing() or self.flow.write_paused:
            return Wait.TAKING
        replied = self.cycle is None or self.cycle.response_complete
        if self._stage is Wait.BODY:
            return Wait.REST if replied else None if self.pipeline else Wait.BODY
        return self._stage if replied else None

    def _leave(self) -> None:
        if self._given_up:
            return
        self._given_up = True
        if self._timer is not None:
            self._timer.cancel()
        self._among.remove(self)


def network_of(scope: Scope) -> str:
    """The address that a request comes from, as connections are counted."""
    client = scope.get("client")
    return _network(client[0]) if client else ""


def _network(host: str) -> str:
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host)
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def _answer(error: ServerError) -> bytes:
    """The error as every other is told; the connection is closed after it."""
    body = error_body(error).model_dump_json().encode()
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", "connection: close"]
    if error.retry_after is not None:
        lines.append(f"retry-after: {error.retry_after}")
    return "\r\n".join([*lines, "", ""]).encode() + body
