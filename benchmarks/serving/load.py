"""Load from many clients in one process: HTTP/1.1 over plain sockets, so that the generator is not what is measured."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import uvloop

LOOPBACK = "127.0.0.1"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Reply:
    """When a request was sent (time.perf_counter()), seconds until its answer, and what it was."""

    sent: float
    seconds: float
    status: int
    client: int = 0


@dataclass
class Load:
    """What came back of a load that took `seconds`; broken: connections that ended without an answer."""

    seconds: float
    replies: list[Reply] = field(default_factory=list)
    broken: int = 0

    def summary(self, status: int = 200) -> dict[str, float]:
        """Throughput and latency percentiles, ms, of the requests with one status."""
        values = np.array([reply.seconds for reply in self.replies if reply.status == status]) * 1e3
        if not len(values):
            return {"n": 0, "per_second": 0.0}
        p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
        most = float(values.max())
        return {"n": len(values), "per_second": len(values) / self.seconds, "p50": p50, "p95": p95, "p99": p99, "most": most}

    def everything(self) -> dict[str, Any]:
        """The summary of what succeeded, and how much did not."""
        return {**self.summary(), "statuses": dict(sorted(self.statuses().items())), "broken": self.broken}

    def statuses(self) -> Counter[str]:
        return Counter(str(reply.status) for reply in self.replies)


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    return uvloop.run(coroutine)


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of one request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {LOOPBACK}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One kept-alive connection, opened again when the server closes it. source: address that it comes from."""

    def __init__(self, port: int, source: str = LOOPBACK):
        self._port, self._source = port, source
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            source = (self._source, 0)
            self._streams = await asyncio.open_connection(LOOPBACK, self._port, limit=2**20, local_addr=source)
        return self._streams

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the reply. Raises OSError or asyncio.IncompleteReadError when the connection breaks."""
        reader, writer = await self.open()
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = await reader.readexactly(int(lines.get("content-length", 0)))
        except BaseException:
            self.close()
            raise
        if lines.get("connection") == "close":
            self.close()
        return int(head.split(" ", 2)[1]), body

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


async def closed_loop(port: int, request: bytes, clients: int, seconds: float, more: Callable[[], bool] = bool) -> Load:
    """Every client sends its next request when it has the answer to the last: for `seconds`, and on while `more()`.

    What is measured begins when each has opened its connection and had a first answer.
    """
    load, connections = Load(seconds), [Connection(port) for _ in range(clients)]
    await asyncio.gather(*(timed(connection, request, Load(0)) for connection in connections))
    started = time.perf_counter()

    async def client(number: int) -> None:
        while time.perf_counter() < started + seconds or more():
            await timed(connections[number], request, load, number)
        connections[number].close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - started
    return load


async def open_loop(port: int, request: bytes, rate: float, seconds: float, source: str = LOOPBACK, seed: int = 0) -> Load:
    """Requests arrive as a Poisson process with `rate` per second, whether or not the earlier ones are answered."""
    load = Load(seconds)
    rng = random.Random(seed)
    idle: list[Connection] = []

    async def one() -> None:
        connection = idle.pop() if idle else Connection(port, source)
        await timed(connection, request, load)
        idle.append(connection)

    tasks, start, at = [], time.perf_counter(), 0.0
    while at < seconds:
        await asyncio.sleep(max(0.0, start + at - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
        at += rng.expovariate(rate)
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - start  # until the last was answered
    for connection in idle:
        connection.close()
    return load


async def fleet(port: int, request: bytes, clients: int, seconds: float) -> Load:
    """Clients with an address each that ask once per second, each at its own moment of it; one that waits skips its turn."""
    load = Load(seconds)
    robots = [
        Connection(port, f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}") for number in range(clients)
    ]
    for robot in robots:
        await robot.open()
    start = time.perf_counter() + 0.1

    async def ask(number: int) -> None:
        turn = number / clients
        while turn < seconds:
            await asyncio.sleep(max(0.0, start + turn - time.perf_counter()))
            await timed(robots[number], request, load, number)
            turn += max(1, 1 + int(time.perf_counter() - start - turn))

    await asyncio.gather(*(ask(number) for number in range(clients)))
    for robot in robots:
        robot.close()
    return load


async def one_by_one(port: int, request: bytes, seconds: float) -> list[tuple[float, dict[str, Any]]]:
    """Milliseconds by the client's clock and the parsed reply of each request of a single client."""
    connection, answers = Connection(port), []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        status, body = await connection.send(request)
        took = time.perf_counter() - started
        assert status == 200, body
        answers.append((took * 1e3, json.loads(body)))
    connection.close()
    return answers


async def timed(connection: Connection, request: bytes, load: Load, client: int = 0) -> None:
    started = time.perf_counter()
    try:
        status, _ = await connection.send(request)
    except (OSError, asyncio.IncompleteReadError):
        load.broken += 1
        return
    load.replies.append(Reply(started, time.perf_counter() - started, status, client))
