"""Routes that FastAPI documents and no more: the key is checked before the body comes, and other methods are told so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from serving import OPTIONS, Running, serving, settings


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(settings(tmp_path_factory.mktemp("models"), api_keys="alpha")) as running:
        yield running


def test_a_key_is_asked_for_before_the_body(locked: Running) -> None:
    address = urlsplit(locked.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"POST /predict_grasp HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")
    assert locked.raw(options=OPTIONS, **{"x-api-key": "alpha"}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_told_which_is_allowed(server: Running, method: str) -> None:
    refused = server.client.request(method, "/predict_grasp")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert refused.json()["error"]["message"]


def test_it_is_documented_like_any_other(server: Running) -> None:
    operation = server.client.get("/openapi.json").json()["paths"]["/predict_grasp"]["post"]
    assert operation["security"]
    assert "200" in operation["responses"]


def test_nothing_is_parsed_on_the_way(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The framework's own way would fail here: it builds its dependencies for each request."""

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("the request went the long way")

    monkeypatch.setattr("fastapi.routing.solve_dependencies", refuse)
    assert server.raw(options=OPTIONS).status_code == 200
    assert server.client.get("/models").status_code == 500, "what is not direct does go there"


def test_what_goes_wrong_inside_has_the_shape_of_every_error(server: Running) -> None:
    refused = server.raw(options={"planner": "nothing"})
    assert refused.status_code == 404
    assert set(refused.json()["error"]) == {"code", "message", "detail"}
