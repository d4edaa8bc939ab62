"""Requests name this server, and what changes anything comes from no page of another origin."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from places import ROOT
from serving import Running, raw_headers, serving, settings

from inference_server.security.origins import SERVICE_NAMES

PATHS = [
    "/",
    "/docs",
    "/openapi.json",
    "/metrics",
    "/planners",
    "/models",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/nothing",
]
POSTS = [
    "/predict_grasp", "/predict_grasp/batch", "/heatmap", "/gqcnn", "/process", "/outcomes", "/models/dense/promote",
    "/models/dense/rollback", "/models/dense/reload", "/v2/models/antipodal/infer", "/nothing",
]  # fmt: skip


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"]) if answer.status_code == 403 else ""


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "192.0.2.7", "evil@localhost",
     "localhost:8000:9", "[::1", "http://localhost"],
)  # fmt: skip
def test_another_host_is_refused_on_every_route(server: Running, host: str) -> None:
    for path in PATHS:
        assert code_of(server.client.get(path, headers={"host": host})) == "host_not_allowed", path
    for path in POSTS:
        assert code_of(server.client.post(path, headers={"host": host})) == "host_not_allowed", path


@pytest.mark.parametrize("path", ["/live", "/ready"])
def test_probes_may_name_any_host(server: Running, path: str) -> None:
    assert server.client.get(path, headers={"host": "10.2.3.4:8000"}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:1", "127.8.7.6", "[::1]:8000",
                                  "inference_server:8000"])  # fmt: skip
def test_the_servers_own_names_are_known(server: Running, host: str) -> None:
    assert server.client.get("/planners", headers={"host": host}).status_code == 200


def test_two_hosts_are_none(server: Running) -> None:
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 80)) as connection:
        connection.sendall(b"GET /planners HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert connection.recv(64).split()[1] in (b"400", b"403")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(settings(tmp_path_factory.mktemp("models"), allowed_hosts="robots.example, 10.0.0.5")) as running:
        yield running


def test_the_operator_adds_names(named: Running) -> None:
    for host, status in {"robots.example": 200, "10.0.0.5:8000": 200, "localhost": 200, "other.example": 403}.items():
        assert named.client.get("/planners", headers={"host": host}).status_code == status, host


def test_any_host_where_the_operator_says_so(tmp_path: Path) -> None:
    with serving(settings(tmp_path, allowed_hosts="*")) as running:
        assert running.client.get("/planners", headers={"host": "whatever.example"}).status_code == 200
        foreign = {"host": "whatever.example", "origin": "http://evil.example"}
        assert code_of(running.client.post("/outcomes", headers=foreign)) == "origin_not_allowed"


FOREIGN: list[dict[str, str]] = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
    {"origin": "file://"},
    {"origin": "http://127.0.0.1.evil.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "some-day"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_others_may_not_post(server: Running, headers: dict[str, str]) -> None:
    before = server.service.batcher.queue.taken
    for path in POSTS:
        assert code_of(server.client.post(path, headers=headers)) == "origin_not_allowed", path
    assert server.raw(**headers).status_code == 403
    assert server.service.batcher.queue.taken == before
    assert server.client.get("/planners", headers=headers).status_code == 200, "reading is what the browser itself forbids"


def test_pages_of_this_server_may_post(server: Running) -> None:
    page = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert server.raw(**page).status_code == 200
    port = server.url.rsplit(":", 1)[1]
    assert server.raw(**{"origin": f"http://localhost:{port}"}).status_code == 403, "another name is another origin"
    proxied = {"host": "localhost", "origin": "https://localhost"}
    assert server.raw(**proxied).status_code == 200, "the port of the scheme goes without saying"


def test_refusals_have_the_shape_of_all_errors_and_are_counted(server: Running) -> None:
    answer = server.client.post("/predict_grasp", headers={**raw_headers(), "host": "evil.example"}, content=b"")
    assert set(answer.json()["error"]) == {"code", "message", "detail"}
    assert "ALLOWED_HOSTS" in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"]
    assert 'grasp_rejected_total{reason="host_not_allowed"}' in server.client.get("/metrics").text


def test_the_names_of_the_compose_files_are_known() -> None:
    files = [*ROOT.glob("docker-compose*.yml"), *ROOT.glob("services/docker/*.yml")]
    asked = {name for file in files for name in re.findall(r"http://([\w.-]+):8000", file.read_text())}
    assert asked
    assert asked <= set(SERVICE_NAMES)
