"""Bodies, heads and slow clients: enforced while they arrive, over a real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from serving import DEPTH, Running, raw_headers, serving, settings
from waiting import PATIENCE, wait_until

from inference_server import connections
from inference_server.connections import Wait


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that takes bodies up to half a MiB, and looks at its connections at every moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "SWEEP_SECONDS", 0.02)
        yield from _tight(tmp_path_factory)


def _tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(settings(tmp_path_factory.mktemp("models"), max_body_mb=0.5, max_pixels=100_000)) as running:
        running.bodies.seconds = PATIENCE
        yield running


def connect(server: Running) -> socket.socket:
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=PATIENCE)
    return connection


def answer(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


def test_an_announced_size_is_refused_before_it_is_sent(tight: Running) -> None:
    with connect(tight) as connection:
        connection.sendall(
            b"POST /predict_grasp HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 99999999\r\n\r\n"
        )
        reply = answer(connection)
    assert reply.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in reply


def test_a_chunked_body_is_cut_off_at_the_limit(tight: Running) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 65536
            yield b"\0" * 65536

    try:
        response = httpx.post(
            f"{tight.url}/predict_grasp", content=endless(), headers={"content-type": "image/png"}, timeout=PATIENCE
        )
        assert response.status_code == 413
    except (httpx.WriteError, httpx.ReadError):  # closed while it was still sending
        pass
    assert sent < 65536 * 1000
    wait_until(lambda: tight.bodies.in_memory.total() == 0)


def test_a_body_that_stops_halfway_is_given_up(tight: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tight.bodies, "seconds", 0.1)
    with connect(tight) as connection:
        connection.sendall(
            b"POST /predict_grasp HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc"
        )
        reply = answer(connection)
    assert reply.startswith(b"HTTP/1.1 408")
    assert b"body_timeout" in reply


def test_a_body_that_trickles_is_given_up(tight: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tight.bodies, "seconds", 0.1)
    with connect(tight) as connection:
        connection.sendall(b"POST /predict_grasp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        try:
            for _ in range(1000):
                connection.sendall(b"a")
                connection.settimeout(0.005)
                try:
                    reply = connection.recv(65536)
                    break
                except TimeoutError:
                    continue
        except OSError:
            pass
    assert reply.startswith(b"HTTP/1.1 408")


def test_pixels_are_limited_by_the_header(tight: Running) -> None:
    response = tight.raw(DEPTH, **{"x-shape": "1000,1000"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_many_pixels")


def test_a_client_that_goes_away_leaves_no_place_taken(tight: Running) -> None:
    with connect(tight) as connection:
        connection.sendall(
            b"POST /predict_grasp HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc"
        )
        wait_until(lambda: tight.bodies.in_memory.total() == 3)
    wait_until(lambda: tight.bodies.in_memory.total() == 0)
    assert tight.client.get("/live").status_code == 200
    assert len(tight.service.batcher.queue) == 0


def test_endless_headers_are_refused(tight: Running) -> None:
    with connect(tight) as connection:
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n")
        line = b"X-Filler: " + b"a" * 8000 + b"\r\n"
        try:
            for _ in range(100):
                connection.sendall(line)
        except OSError:
            pass
        reply = answer(connection)
    assert reply == b"" or reply.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("sent", [b"GET /live?request=" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"\x16\x03\x01 what?\r\n\r\n"])
def test_what_is_no_http_is_told_so_like_every_error(tight: Running, sent: bytes) -> None:
    with connect(tight) as connection:
        connection.sendall(sent)
        head, _, body = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json")
    error = json.loads(body)["error"]
    assert error["code"] == "unreadable_request"
    assert "65536 bytes" in error["message"]


def test_a_head_that_never_ends_is_closed(tight: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.SECONDS, Wait.HEAD, 0.1)
    with connect(tight) as silent, connect(tight) as halting:
        halting.sendall(b"GET /live HTTP/1.1\r\nHost:")
        assert answer(silent) == b""
        assert answer(halting) == b""


def test_a_second_request_on_a_connection_has_its_own_time(tight: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(tight) as connection:
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        monkeypatch.setitem(connections.SECONDS, Wait.HEAD, 0.1)
        connection.sendall(b"GET /live HTTP/1.1\r\nHo")
        assert answer(connection) == b""


def test_a_deadline_in_the_past_is_504(tight: Running) -> None:
    response = tight.raw(DEPTH, **{**raw_headers(), "x-deadline-ms": "0.001"})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline")


def test_what_is_being_received_is_limited_together(tight: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_server.admission.BODIES_AT_ONCE", 0)
    response = tight.raw(DEPTH)
    assert (response.status_code, response.json()["error"]["code"]) == (429, "too_many_bodies")
    assert response.headers["retry-after"]


def test_how_many_bodies_arrive_at_once_is_limited(tight: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_server.admission.READERS_OF_ONE", 1)
    with connect(tight) as slow:
        slow.sendall(b"POST /predict_grasp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
        wait_until(lambda: tight.bodies.in_memory.total() == 3)
        refused = tight.raw(DEPTH)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_bodies")
    wait_until(lambda: tight.bodies.in_memory.total() == 0)  # its sender has gone away
    assert tight.raw(DEPTH).status_code == 200


def test_a_full_queue_refuses_before_the_body_is_read(tight: Running) -> None:
    queue = tight.service.batcher.queue
    for _ in range(queue.size):
        queue.reserve("others")
    try:
        with connect(tight) as connection:
            connection.sendall(b"POST /predict_grasp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 429")
    finally:
        for _ in range(queue.size):
            queue.release("others")


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="queue_size"):
        settings(tmp_path, queue_size=0)
