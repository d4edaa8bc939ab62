"""Keys, the admin key, and who counts as a client on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request
from serving import CAMERA, Running, publish_dense, serving, settings

from inference_server.security.auth import Keys, check_exposure, client_of, is_loopback

PROBES = ("/live", "/ready", "/metrics")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = tmp_path_factory.mktemp("models")
    publish_dense(models, 1)
    with serving(settings(models, api_keys="alpha, beta", admin_key="root")) as running:
        yield running


def test_a_key_is_needed_and_must_be_known(locked: Running) -> None:
    without = locked.client.get("/planners")
    assert (without.status_code, without.json()["error"]["code"]) == (401, "missing_api_key")
    wrong = locked.client.get("/planners", headers={"x-api-key": "gamma"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "invalid_api_key")
    assert locked.client.get("/planners", headers={"x-api-key": "béta".encode()}).status_code == 403
    for key in ("alpha", "beta", "root"):
        assert locked.client.get("/planners", headers={"x-api-key": key}).status_code == 200
    assert locked.raw(options={"camera": CAMERA}).status_code == 401
    assert locked.raw(options={"camera": CAMERA}, **{"x-api-key": "alpha"}).status_code == 200


def test_everything_but_the_probes_needs_a_key(locked: Running) -> None:
    open_paths = {*PROBES, "/v2/health/live", "/v2/health/ready"}
    asked = 0
    for path, methods in locked.client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            address = path.replace("{name}", "dense").replace("{version}", "1")
            status = locked.client.request(method, address).status_code
            assert (status == 401) == (path not in open_paths), f"{method} {path}: {status}"
            asked += 1
    assert asked > 15


def test_probes_need_no_key(locked: Running) -> None:
    assert [locked.client.get(path).status_code for path in PROBES] == [200, 200, 200]


def test_only_the_admin_key_moves_models(locked: Running) -> None:
    path = "/models/dense/reload"
    assert locked.client.post(path).status_code == 401
    assert locked.client.post(path, headers={"x-api-key": "alpha"}).status_code == 403
    assert locked.client.post(path, headers={"x-api-key": "root"}).status_code == 200


def test_without_an_admin_key_only_direct_clients_on_this_machine_are_admins(server: Running) -> None:
    path = "/models/dense/reload"
    assert server.client.post(path).status_code == 200
    for name, value in {"x-forwarded-for": "10.0.0.8", "origin": "https://evil.example"}.items():
        refused = server.client.post(path, headers={name: value})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_only")


def test_pages_of_other_origins_are_told_nothing(server: Running) -> None:
    preflight = server.client.options(
        "/predict_grasp", headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
    )
    assert "access-control-allow-origin" not in preflight.headers


def line_of(server: Running, key: str) -> str:
    headers = [(b"x-api-key", key.encode())]
    return client_of(Request({"type": "http", "headers": headers, "client": ("10.0.0.8", 1)}), server.service.keys)


def test_a_made_up_key_gives_no_line_of_its_own(server: Running, locked: Running) -> None:
    assert line_of(server, "a") == line_of(server, "b"), "no keys are used: one address is one client"
    assert line_of(locked, "alpha") != line_of(locked, "beta")
    assert "alpha" not in line_of(locked, "alpha")


def test_loopback() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "robot", ""))


def test_an_open_server_beyond_loopback_is_refused_unless_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="API_KEYS"):
        check_exposure(settings(tmp_path, host="0.0.0.0"))
    check_exposure(settings(tmp_path, host="0.0.0.0", api_keys="alpha"))
    check_exposure(settings(tmp_path, host="0.0.0.0", allow_open=True))
    check_exposure(settings(tmp_path))
    with pytest.raises(ValueError, match="API_KEYS"):
        check_exposure(settings(tmp_path, host="0.0.0.0", api_keys=" , "))


def test_keys_may_stand_in_a_file_one_a_line(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path, api_keys="alpha\nbeta\n"))
    assert keys.known("beta")
    assert not keys.known("alpha\nbeta")
    assert not keys.known("")
    assert not keys.known(None)
