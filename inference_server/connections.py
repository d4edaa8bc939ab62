"""Connections: how many there may be, and how long each may wait for its client.

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
from typing import Protocol

from starlette.types import Scope

CANCEL = "grasploop.cancel"
"""Key of a request's scope: a function to call when the client leaves before the reply; None once it has left."""
ENDING = "grasploop.ending"
"""Key of a request's scope: a function to call when its reply begins, or when there will be none."""
PIECE = "grasploop.piece"
"""Key of a request's scope: bytes of its body that may wait for their reader."""
CONNECTIONS = 4096
"""Most connections at once."""
UNSENT_BYTES = 64 * 2**20
"""Most of replies that one address has asked for and does not take."""
SWEEP_SECONDS = 0.5
"""One timer looks at all connections so often: to arm one with every state of each would cost every request."""


class Wait(Enum):
    """What a connection waits for from its client."""

    HEAD = "the headers, from their first byte or from connecting"
    BODY = "a body that is being read"
    REST = "the rest of a body whose reply was sent early"
    NEXT = "another request"
    TAKING = "the client to take a reply"


SECONDS = {Wait.HEAD: 10.0, Wait.BODY: 35.0, Wait.REST: 5.0, Wait.NEXT: 30.0, Wait.TAKING: 30.0}
"""Longest that each may take, in all and not since the last byte. Of a body more than `BodyReader` allows, who can say 408."""


class Connection(Protocol):
    """address: as connections are counted. wait, since: what it waits for from its client, and from which time of its loop."""

    address: str
    wait: Wait | None
    since: float
    loop: asyncio.AbstractEventLoop

    @property
    def unsent(self) -> int:
        """Bytes of replies that wait to be taken."""

    def give_up(self) -> None:
        """Close without waiting for anything more."""

    def wake_reader(self) -> None:
        """Have whoever reads the body look at the clock."""


class OpenConnections:
    """The connections of one server. Where there are too many, the one that waited longest for its client gives way.

    An address of IPv6 is its first 64 bits: whoever has one has all of them.
    """

    def __init__(self, most_of_one: int):
        self._most_of_one = most_of_one
        self._counts: Counter[str] = Counter()
        self._open: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._sweeps: asyncio.TimerHandle | None = None

    def add(self, connection: Connection, host: str) -> bool:
        """Whether there is room for a connection from an address, or room could be made."""
        address = connection.address = network(host)
        room = self._counts[address] < self._most_of_one or self._make_room(address)
        if room and self._counts.total() >= CONNECTIONS:
            room = any(self._make_room(most) for most, _ in self._counts.most_common(3))
        self._counts[address] += 1
        self._open[address][connection] = None
        if self._sweeps is None:
            self._sweep(connection.loop)
        return room

    def remove(self, connection: Connection) -> None:
        address = connection.address
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
        self._open[address].pop(connection)
        if not self._open[address]:
            del self._open[address]
        if not self._open and self._sweeps is not None:
            self._sweeps.cancel()
            self._sweeps = None

    def free_replies(self, connection: Connection) -> None:
        """Drop the oldest replies that an address does not take while they are too many beside this one's."""
        unsent = [each for each in self._open[connection.address] if each.wait is Wait.TAKING]
        total = sum(each.unsent for each in unsent)
        for each in sorted(unsent, key=lambda other: other.since):
            if total <= UNSENT_BYTES or each is connection:
                return
            total -= each.unsent
            each.give_up()

    def _make_room(self, address: str) -> bool:
        # One whose body is being read does not give way: its reader is limited elsewhere.
        waiting = (each for each in self._open.get(address, ()) if each.wait not in (None, Wait.BODY))
        oldest = min(waiting, key=lambda each: each.since, default=None)
        if oldest is None:
            return False
        oldest.give_up()
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up connections whose time has run out, and have bodies that arrive slowly looked at."""
        self._sweeps = loop.call_later(SWEEP_SECONDS, self._sweep, loop)
        now = loop.time()
        for connection in [each for connections in self._open.values() for each in connections]:
            if connection.wait is None:
                continue
            if now - connection.since > SECONDS[connection.wait]:
                connection.give_up()
            elif connection.wait is Wait.BODY:
                connection.wake_reader()


def network_of(scope: Scope) -> str:
    """The address that a request comes from, as connections are counted."""
    client = scope.get("client")
    return network(client[0]) if client else ""


def network(host: str) -> str:
    """The part of an address that tells one sender from another."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host)
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
