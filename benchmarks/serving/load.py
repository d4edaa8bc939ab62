"""Load from many clients in one process: HTTP/1.1 over plain sockets, so that the generator is not what is measured."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Load:
    """What came back: seconds of every answered request by status."""

    seconds: float
    latencies: dict[int, list[float]] = field(default_factory=dict)
    broken: int = 0

    @property
    def statuses(self) -> Counter[int]:
        return Counter({status: len(values) for status, values in self.latencies.items()})

    def summary(self, status: int = 200) -> dict[str, float]:
        """Throughput and latency percentiles, ms, of the requests with one status."""
        values = np.array(self.latencies.get(status, [])) * 1e3
        if not len(values):
            return {"n": 0, "per_second": 0.0}
        p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
        return {"n": len(values), "per_second": len(values) / self.seconds, "p50": p50, "p95": p95, "p99": p99}


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of one request."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One kept-alive connection, opened again when the server closes it."""

    def __init__(self, host: str, port: int):
        self.host, self.port = host, port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the reply."""
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port, limit=2**20)
        reader, writer = self.streams
        try:
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = int(head.split(" ", 2)[1])
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        except BaseException:
            self.close()
            raise
        if headers.get("connection") == "close":
            self.close()
        return status, body

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None


async def closed_loop(port: int, requests: list[bytes], clients: int, seconds: float) -> Load:
    """Every client sends its next request when it has the answer to the last."""
    load = Load(seconds)
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        connection = Connection("127.0.0.1", port)
        while time.perf_counter() < until:
            await _timed(connection, requests[number % len(requests)], load)
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return load


async def open_loop(port: int, requests: list[bytes], rate: float, seconds: float, seed: int = 0) -> Load:
    """Requests arrive as a Poisson process with `rate` per second, whether or not the earlier ones are answered."""
    load = Load(seconds)
    rng = random.Random(seed)
    idle: list[Connection] = []

    async def one(number: int) -> None:
        connection = idle.pop() if idle else Connection("127.0.0.1", port)
        await _timed(connection, requests[number % len(requests)], load)
        idle.append(connection)

    tasks, start, at, number = [], time.perf_counter(), 0.0, 0
    while at < seconds:
        await asyncio.sleep(max(0.0, start + at - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number)))
        at += rng.expovariate(rate)
        number += 1
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return load


async def _timed(connection: Connection, request: bytes, load: Load) -> None:
    started = time.perf_counter()
    try:
        status, _ = await connection.send(request)
    except (OSError, asyncio.IncompleteReadError):
        load.broken += 1
        return
    load.latencies.setdefault(status, []).append(time.perf_counter() - started)
