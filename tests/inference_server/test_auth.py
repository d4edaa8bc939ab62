"""Keys, the admin key, and who counts as a client on this machine."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request
from serving import CAMERA, Running, publish_dense, serving, settings

from inference_server.security.auth import ASKER, Asker, check_exposure, is_loopback, require_key
from inference_server.security.keys import Keys

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


FROM_A_PROXY = [
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-original-forwarded-for", "x-real-ip", "via",
    "cf-connecting-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip", "fly-client-ip", "x-envoy-external-address",
    "fastly-client-ip", "x-azure-clientip", "x-appengine-user-ip", "x-original-url", "proxy-connection", "x-some-new-proxy",
]  # fmt: skip


def test_without_an_admin_key_only_direct_clients_on_this_machine_are_admins(server: Running) -> None:
    path = "/models/dense/reload"
    assert server.client.post(path).status_code == 200
    ordinary = {"traceparent": "00-0-0-00", "x-request-id": "a", "authorization": "x", "sec-fetch-site": "none"}
    assert server.client.post(path, headers=ordinary).status_code == 200
    for name in FROM_A_PROXY:
        refused = server.client.post(path, headers={name: "10.0.0.8"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_only"), name
    own_page = server.client.post(path, headers={"origin": server.url})
    assert own_page.json()["error"]["code"] == "admin_only", "nor from the dashboard"


def test_pages_of_other_origins_are_told_nothing(server: Running) -> None:
    preflight = server.client.options(
        "/predict_grasp", headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
    )
    assert "access-control-allow-origin" not in preflight.headers


def line_of(server: Running, key: str) -> str:
    headers = [(b"x-api-key", key.encode())]
    request = Request({"type": "http", "headers": headers, "client": ("10.0.0.8", 1), "app": server.app})
    asyncio.run(require_key(request))
    asker: Asker = request.scope[ASKER]
    return asker.client


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
    assert keys.find("beta")
    assert not any(keys.find(sent) for sent in ("alpha\nbeta", "", None, "alph", "alphaa"))


def test_a_key_has_a_name_and_roles(tmp_path: Path) -> None:
    text = "plain, cell-1:report:s3c, sim:worker:w:x, vision:predict+report:v, ops:admin:o"
    keys = Keys(settings(tmp_path, api_keys=text, admin_key="root"))
    found = {sent: keys.find(sent) for sent in ("plain", "s3c", "w:x", "v", "o", "root")}
    named = {sent: (caller.name, set(caller.roles)) for sent, caller in found.items() if caller}
    both = {"predict", "report"}
    assert named == {
        "plain": (f"key-{hashlib.sha256(b'plain').hexdigest()[:6]}", both), "s3c": ("cell-1", {"report"}),
        "w:x": ("sim", both | {"worker"}), "v": ("vision", both), "o": ("ops", both | {"admin"}),
        "root": ("admin", both | {"admin"}),
    }  # fmt: skip
    assert not keys.find("cell-1:report:s3c"), "only the key is sent"
    both_at_once = Keys(settings(tmp_path, api_keys="same, same, other", admin_key="same")).find("same")
    assert both_at_once
    assert both_at_once.name == "admin"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:b", "name:role"), ("cell:reporter:secret", "name:role"), ("cell:report+:secret", "name:role"),
        ("cell:report:", "name:role"), ("local:report:secret", "'local'"), ("admin:admin:secret", "'admin'"),
        ("secret,cell:report:secret", "two names"),
    ],
)  # fmt: skip
def test_keys_that_cannot_be_meant_are_refused_without_being_shown(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        Keys(settings(tmp_path, api_keys=text))
    assert "secret" not in str(refused.value)


ROLES = "see:predict:p, tell:report:r, sim:worker:w, ops:admin:a"
MAY = [  # method and path, and the keys that may
    ("POST", "/predict_grasp", "pwa"),
    ("POST", "/predict_grasp/batch", "pwa"),
    ("POST", "/heatmap", "pwa"),
    ("POST", "/gqcnn", "pwa"),
    ("POST", "/process", "pwa"),
    ("POST", "/v2/models/antipodal/infer", "pwa"),
    ("POST", "/outcomes", "rwa"),
    ("POST", "/models/dense/promote", "a"),
    ("POST", "/models/dense/rollback", "a"),
    ("POST", "/models/dense/reload", "a"),
    ("GET", "/planners", "prwa"),
    ("GET", "/grippers", "prwa"),
    ("GET", "/models", "prwa"),
    ("GET", "/models/dense", "prwa"),
]


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = tmp_path_factory.mktemp("models")
    publish_dense(models, 1)
    with serving(settings(models, api_keys=ROLES)) as running:
        yield running


@pytest.mark.parametrize(("method", "path", "allowed"), MAY)
def test_a_key_may_what_its_roles_say(roles: Running, method: str, path: str, allowed: str) -> None:
    for key in "prwa":
        answer = roles.client.request(method, path, headers={"x-api-key": key})
        refused = answer.status_code == 403 and answer.json()["error"]["code"] == "role_missing"
        assert refused == (key not in allowed), f"{key}: {answer.status_code} {answer.text[:200]}"
        assert answer.status_code != 401
    assert roles.client.request(method, path).status_code == 401
