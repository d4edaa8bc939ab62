"""Routes that read the request themselves: keys and other dependencies are asked before the body comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import Depends
from serving import OPTIONS, Running, serving, settings
from waiting import PATIENCE

from inference_server.app import create_app
from inference_server.routes import batch, gqcnn, heatmap, outcomes, predict, process
from inference_server.security.auth import require_admin


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(settings(tmp_path_factory.mktemp("models"), api_keys="alpha")) as running:
        yield running


def test_a_key_is_asked_for_before_the_body(locked: Running) -> None:
    address = urlsplit(locked.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /predict_grasp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n")
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


@pytest.mark.parametrize("path", ["/predict_grasp", "/predict_grasp/batch", "/heatmap", "/gqcnn", "/process", "/outcomes"])
def test_a_dependency_added_to_a_route_is_asked(tmp_path: Path, path: str) -> None:
    """Who puts `Depends(require_admin)` on any of these must not find it open."""
    app = create_app(settings(tmp_path, admin_key="root"))
    for module in (predict, batch, heatmap, gqcnn, process, outcomes):
        app.include_router(module.router, prefix="/locked", dependencies=[Depends(require_admin)])

    async def refusals() -> list[int]:
        transport = httpx.ASGITransport(app)  # without its lifespan: what is refused needs no planner
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = [await client.post(f"/locked{path}", headers=headers) for headers in ({}, {"x-api-key": "alpha"})]
        return [answer.status_code for answer in answers]

    assert asyncio.run(refusals()) == [401, 403]
