"""Connections: each waits for its client only so long, and those that wait give way to newcomers."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import DEPTH, Running, raw_headers, serving, settings
from waiting import PATIENCE, FakeClock, wait_until

from inference_server import connections
from inference_server.connections import Wait
from inference_server.http_server import RequestMiddleware
from inference_server.metrics import Metrics
from inference_server.security.origins import Origins
from inference_server.security.refusal_limit import RefusalLimit

MOST = 4


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server that allows an address a few connections, none of which gives up by itself."""
    for wait in Wait:
        monkeypatch.setitem(connections.SECONDS, wait, PATIENCE)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.02)
    with serving(settings(tmp_path, connections_per_address=MOST)) as running:
        yield running


def connect(server: Running, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port), PATIENCE, source_address=(source, 0))
    connection.sendall(sent)
    return connection


def reply(connection: socket.socket) -> bytes:
    """The head of a reply and all of its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def closed(connection: socket.socket) -> bool:
    """Whether the server closes the connection, after what it may still send."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def get(path: str = "/live") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: bytes = b"", length: int | None = None, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body


def silent(server: Running) -> socket.socket:
    return connect(server)


def half_a_head(server: Running) -> socket.socket:
    return connect(server, get()[:10])


def half_a_body(server: Running) -> socket.socket:
    return connect(server, post("/predict_grasp", b"a", 1000))


def answered_early(server: Running) -> socket.socket:
    connection = connect(server, post("/nothing", length=1000))
    assert reply(connection).startswith(b"HTTP/1.1 404")
    connection.sendall(b"a")
    return connection


def idle(server: Running) -> socket.socket:
    connection = connect(server, get())
    assert reply(connection).startswith(b"HTTP/1.1 200")
    return connection


def idle_after_an_early_reply(server: Running) -> socket.socket:
    connection = answered_early(server)
    connection.sendall(b"a" * 999)
    return connection


def blank_lines(server: Running) -> socket.socket:
    connection = idle(server)
    connection.sendall(b"\r\n")
    return connection


def untaken(server: Running) -> socket.socket:
    connection = connect(server)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(post("/heatmap", DEPTH.tobytes(), **raw_headers()))
    return connection


@pytest.mark.parametrize(
    ("state", "wait"),
    [
        (silent, Wait.HEAD),
        (half_a_head, Wait.HEAD),
        (half_a_body, Wait.BODY),
        (answered_early, Wait.REST),
        (idle, Wait.NEXT),
        (idle_after_an_early_reply, Wait.NEXT),
        (blank_lines, Wait.HEAD),
        (untaken, Wait.TAKING),
    ],
)
def test_no_connection_waits_for_ever(
    server: Running, monkeypatch: pytest.MonkeyPatch, state: Callable[[Running], socket.socket], wait: Wait
) -> None:
    monkeypatch.setitem(connections.SECONDS, wait, 0.1)
    with state(server) as connection:
        if wait is Wait.TAKING:  # it does not read, so it learns of the end only by writing
            wait_until(lambda: broken(connection))
        else:
            closed(connection)
    # The other states have all of a test's patience: it was this one's time that ran out.


def broken(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"\r\n")
    except OSError:
        return True
    return False


def test_a_client_that_takes_its_time_within_the_limits_is_served(server: Running) -> None:
    with idle(server) as connection:
        for piece in (get()[:9], get()[9:]):
            connection.sendall(piece)
        assert reply(connection).startswith(b"HTTP/1.1 200")
        request = post("/predict_grasp", DEPTH.tobytes(), **raw_headers())
        for piece in (request[:700], request[700:9000], request[9000:]):
            connection.sendall(piece)
        assert reply(connection).startswith(b"HTTP/1.1 200")


def test_those_that_wait_give_way_to_newcomers(server: Running) -> None:
    with ExitStack() as open_connections:
        old = [open_connections.enter_context(answered_early(server)) for _ in range(MOST)]
        for _ in range(3):
            open_connections.enter_context(idle(server))
        for gone in old[:3]:
            assert closed(gone)
        old[3].sendall(b"a" * 999 + get())
        assert reply(old[3]).startswith(b"HTTP/1.1 200"), "the one that waited least is still there"


def test_who_is_busy_does_not_give_way(server: Running) -> None:
    with ExitStack() as open_connections:
        busy = [open_connections.enter_context(half_a_body(server)) for _ in range(MOST)]
        wait_until(lambda: server.bodies.in_memory.total() == MOST)
        with connect(server) as refused:
            answer = reply(refused)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_many_connections"
        with connect(server, get(), source="127.0.0.9") as other:
            assert reply(other).startswith(b"HTTP/1.1 200"), "another address is not concerned"
        busy.pop().close()
        wait_until(lambda: server.bodies.in_memory.total() == MOST - 1)
        with idle(server):
            pass


def test_the_address_with_most_connections_gives_way_to_others(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    with idle(server) as first, idle(server), idle(server):
        with connect(server, get(), source="127.0.0.9") as other:
            assert reply(other).startswith(b"HTTP/1.1 200")
        assert closed(first)


def test_replies_that_nobody_takes_are_few(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNSENT_BYTES", 1000)
    with untaken(server) as first, untaken(server), untaken(server), untaken(server):
        wait_until(lambda: broken(first))


@pytest.mark.parametrize("size", [70_000, 1_000_000])
def test_a_long_head_is_refused(server: Running, size: int) -> None:
    with connect(server, f"GET /live HTTP/1.1\r\nHost: localhost\r\nX-Filler: {'a' * size}\r\n\r\n".encode()) as connection:
        answer = reply(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    with connect(server, f"GET /live HTTP/1.1\r\nHost: localhost\r\nX-Filler: {'a' * 60_000}\r\n\r\n".encode()) as connection:
        assert reply(connection).startswith(b"HTTP/1.1 200")


def test_too_much_json_is_refused_before_it_is_sent(server: Running) -> None:
    for headers in ({"Content-Type": "application/json"}, {"Inference-Header-Content-Length": "39000000"}):
        with connect(server, post("/v2/models/antipodal/infer", length=40_000_000, **headers)) as connection:
            assert reply(connection).startswith(b"HTTP/1.1 413")


def test_an_address_of_ipv6_is_its_network() -> None:
    network = connections.network
    assert network("2001:db8:1:2:3::4") == network("2001:db8:1:2::") != network("2001:db8:1:3::")
    assert network("::ffff:10.0.0.1") == network("10.0.0.1") == "10.0.0.1"
    assert network("fe80::1%eth0") == network("fe80::2%eth0")


def test_refusals_are_told_so_many_per_second() -> None:
    clock = FakeClock()
    refusals = RefusalLimit(10.0, clock.monotonic)
    assert [refusals.delay("x") for _ in range(10)] == [0.0] * 10
    assert refusals.delay("x") == pytest.approx(0.1)
    assert refusals.delay("x") == pytest.approx(0.2)
    assert refusals.delay("y") == 0.0
    clock.sleep(0.2)
    assert refusals.delay("x") == pytest.approx(0.1)
    assert max(refusals.delay("x") for _ in range(1000)) == 5.0
    clock.sleep(1000)
    assert refusals.delay("x") == 0.0


@pytest.mark.parametrize(("status", "paused"), [(200, []), (404, [0.5]), (422, [0.5]), (429, [0.05]), (503, [])])
def test_only_errors_of_the_client_are_told_later(tmp_path: Path, status: int, paused: list[float]) -> None:
    pauses, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def send(message: Any) -> None:
        sent.append(message)

    refusals = RefusalLimit(2.0, FakeClock().monotonic)
    for _ in range(2):
        refusals.delay("10.0.0.1")
    middleware = RequestMiddleware(app, Metrics(), refusals, Origins(settings(tmp_path, allowed_hosts="*")), sleep)
    scope = {"type": "http", "headers": [], "method": "GET", "path": "/", "client": ("10.0.0.1", 5)}
    asyncio.run(middleware(scope, None, send))  # type: ignore[arg-type]
    assert pauses == pytest.approx(paused)
    assert len(sent) == 1
