"""Planners and models over HTTP: look, promote, roll back, reload; also where the registry is read-only."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from serving import CAMERA, Running, publish_dense, serving, settings
from waiting import PATIENCE, wait_until

from inference_server.routes.models import COMMANDS
from shared.registry import AbTestState, Registry
from shared.store import Store, push_registry


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    publish_dense(tmp_path, 1)
    with serving(settings(tmp_path, reload_seconds=60)) as running:
        yield running


def version_that_answers(server: Running) -> int:
    reply = server.raw(options={"camera": CAMERA, "planner": "dense"})
    assert reply.status_code == 200, reply.text
    return reply.json()["model"]["version"]


def test_planners_say_what_they_need(server: Running) -> None:
    planners = {entry["name"]: entry for entry in server.client.get("/planners").json()["planners"]}
    assert planners["antipodal"]["inputs"] == ["depth"]
    assert planners["antipodal"]["model"] is None
    assert planners["dense"]["model"] == "dense"
    assert planners["dense"]["version"] == 1
    assert planners["dense"]["ready"]


def test_hands_are_listed_and_named_in_requests(server: Running) -> None:
    hands = server.client.get("/grippers").json()["grippers"]
    assert hands["robotiq_2f_140"]["max_width"] == 0.14
    assert server.raw(options={"camera": CAMERA, "planner": "antipodal", "gripper": "robotiq_2f_140"}).status_code == 200
    refused = server.raw(options={"camera": CAMERA, "gripper": "robotiq"})
    assert refused.status_code == 422
    assert all(name in refused.text for name in hands)


def test_models_are_listed_with_their_cards(server: Running) -> None:
    [listed] = server.client.get("/models").json()["models"]
    assert (listed["name"], listed["versions"], listed["champion"], listed["serving"]) == ("dense", [1], 1, 1)
    entry = server.client.get("/models/dense").json()
    assert entry["cards"][0]["architecture"] == "dense"
    assert len(entry["cards"][0]["sha256"]) == 64


def test_a_running_test_is_told_beside_its_candidate(own: Running, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert own.client.get("/models/dense").json()["ab_test"] is None
    registry.set_candidate("dense", publish_dense(tmp_path, 2, champion=False))
    text = "A/B test on served grasps, version 2 against 1: 31 of at most 400 pairs"
    registry.set_ab_test("dense", AbTestState(champion=1, candidate=2, how="served", share=0.5, text=text))
    assert own.client.get("/models/dense").json()["ab_test"] == text
    assert own.client.get("/models").json()["models"][0]["ab_test"] == text


def test_cards_are_limited_and_an_unreadable_one_does_not_hide_the_rest(own: Running, tmp_path: Path) -> None:
    for seed in (2, 3, 4):
        publish_dense(tmp_path, seed, champion=False)
    (tmp_path / "dense" / "3" / "card.json").write_text("{")
    entry = own.client.get("/models/dense").json()
    assert ([card["version"] for card in entry["cards"]], entry["broken"]) == ([4, 2, 1], [3])
    few = own.client.get("/models/dense", params={"limit": 1}).json()
    assert ([card["version"] for card in few["cards"]], few["versions"]) == ([4], [1, 2, 3, 4])
    assert own.client.get("/models/dense", params={"limit": 0}).status_code == 422


@pytest.mark.parametrize("name", ["nothing", "%2e%2e%2fetc", "...", "a b", "DENSE"])
def test_unknown_and_impossible_names_are_404(server: Running, name: str) -> None:
    for response in (server.client.get(f"/models/{name}"), server.client.post(f"/models/{name}/reload")):
        assert response.status_code == 404
        assert response.json()["error"]["code"] in ("unknown_model", "not_found")


def test_promote_and_roll_back_change_what_answers(own: Running, tmp_path: Path) -> None:
    publish_dense(tmp_path, 2, champion=False)
    assert version_that_answers(own) == 1
    promoted = own.client.post("/models/dense/promote", params={"version": 2})
    assert promoted.status_code == 200
    assert (promoted.json()["champion"], promoted.json()["serving"], promoted.json()["previous"]) == (2, 2, 1)
    assert version_that_answers(own) == 2
    back = own.client.post("/models/dense/rollback")
    assert (back.json()["champion"], back.json()["serving"]) == (1, 1)
    assert version_that_answers(own) == 1
    again = own.client.post("/models/dense/rollback")
    assert again.status_code == 404
    assert "earlier champion" in again.json()["error"]["message"]
    decisions = [entry["action"] for entry in Registry(tmp_path).card("dense", 2).decisions]
    assert decisions == ["promoted"]


def test_reload_takes_a_champion_that_was_moved_elsewhere(own: Running, tmp_path: Path) -> None:
    publish_dense(tmp_path, 2)
    assert version_that_answers(own) == 1
    assert own.client.post("/models/dense/reload").json()["serving"] == 2
    assert version_that_answers(own) == 2


def test_a_broken_version_is_reported_and_does_not_serve(own: Running, tmp_path: Path) -> None:
    broken = publish_dense(tmp_path, 2, champion=False)
    Registry(tmp_path).weights_path("dense", broken).write_bytes(b"nonsense")
    response = own.client.post("/models/dense/promote", params={"version": broken})
    assert response.status_code == 404
    assert "sha256" in response.json()["error"]["message"]
    assert Registry(tmp_path).champion("dense") == 1
    (tmp_path / "dense" / "champion").write_text(f"{broken}")
    assert own.client.post("/models/dense/reload").status_code == 404
    assert version_that_answers(own) == 1
    listed = own.client.get("/models").json()["models"][0]
    assert (listed["champion"], listed["serving"]) == (2, 1)
    assert "sha256" in listed["failure"]
    ready = own.client.get("/ready")
    assert ready.status_code == 200
    assert "dense" in ready.json()["failures"]
    series = own.client.get("/metrics").text
    assert 'grasp_reloads_total{model="dense",result="failed"} 1.0' in series
    assert 'grasp_model_version{model="dense"} 1.0' in series


def test_a_pinned_version_answers_beside_the_champion(own: Running, tmp_path: Path) -> None:
    publish_dense(tmp_path, 2, champion=False)
    pinned = own.raw(options={"camera": CAMERA, "planner": "dense", "model_version": 2})
    assert pinned.json()["model"]["version"] == 2
    assert version_that_answers(own) == 1


def test_versions_swap_under_load_without_a_failed_request(tmp_path: Path) -> None:
    for seed in range(3):
        publish_dense(tmp_path, seed)
    registry, seen, failed = Registry(tmp_path), set(), []
    with serving(settings(tmp_path, reload_seconds=0.02)) as running:
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                response = running.raw(options={"camera": CAMERA, "planner": "dense"})
                if response.status_code == 200:
                    seen.add(response.json()["model"]["version"])
                else:
                    failed.append(response.text)

        clients = [threading.Thread(target=load) for _ in range(3)]
        for client in clients:
            client.start()
        for version in (1, 2, 3, 1, 2):
            registry.promote("dense", version)
            wait_until(lambda version=version: running.service.weights.versions()["dense"] == version)
        stop.set()
        for client in clients:
            client.join()
    assert failed == []
    assert seen


def test_without_a_champion_dense_is_503_and_auto_plans_from_geometry(tmp_path: Path) -> None:
    with serving(settings(tmp_path)) as running:
        assert running.client.get("/ready").status_code == 200
        refused = running.raw(options={"camera": CAMERA, "planner": "dense"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert running.raw(options={"camera": CAMERA}).json()["planner"] == "antipodal"
        publish_dense(tmp_path, 1)
        wait_until(lambda: running.service.weights.versions() == {"dense": 1})
        assert running.raw(options={"camera": CAMERA}).json()["planner"] == "dense"


def test_a_read_only_registry_is_moved_through_the_queue(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_dense(tmp_path, 1)
    publish_dense(tmp_path, 2, champion=False)
    # Tests may run as root, who may write anywhere: say what a read-only mount would say.
    monkeypatch.setattr(Registry, "writable", lambda self: False)
    monkeypatch.setattr("inference_server.routes.models.POINTER_SECONDS", PATIENCE)
    with serving(settings(tmp_path, redis_url=redis_url)) as running, redis.Redis.from_url(redis_url) as queue:

        def apply() -> None:
            _, command = queue.blpop(COMMANDS, timeout=PATIENCE)  # type: ignore[misc]
            assert json.loads(command) == {"action": "promote", "name": "dense", "version": 2}
            Registry(tmp_path).promote("dense", 2)

        owner = threading.Thread(target=apply)
        owner.start()
        response = running.client.post("/models/dense/promote", params={"version": 2})
        owner.join()
        assert (response.status_code, response.json()["serving"]) == (200, 2)


def test_a_read_only_registry_without_its_owner_is_503(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_dense(tmp_path, 1)
    publish_dense(tmp_path, 2, champion=False)
    monkeypatch.setattr(Registry, "writable", lambda self: False)
    monkeypatch.setattr("inference_server.routes.models.POINTER_SECONDS", 0.1)
    with serving(settings(tmp_path, redis_url=redis_url)) as running:
        response = running.client.post("/models/dense/promote", params={"version": 2})
        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert "trainer" in response.json()["error"]["message"]
    with serving(settings(tmp_path)) as running:
        response = running.client.post("/models/dense/promote", params={"version": 2})
        assert response.status_code == 503
        assert "REDIS_URL" in response.json()["error"]["message"]


def test_a_server_follows_a_store_and_asks_the_trainer_to_promote(tmp_path: Path, redis_url: str) -> None:
    trainers, url = tmp_path / "trainer", f"file://{tmp_path}/store"
    publish_dense(trainers, 1)
    push_registry(trainers, Store(url))
    copy = settings(tmp_path / "copy", redis_url=redis_url, store_url=url)
    with serving(copy) as running, redis.Redis.from_url(redis_url) as queue:
        assert version_that_answers(running) == 1
        publish_dense(trainers, 2, champion=False)
        push_registry(trainers, Store(url))
        wait_until(lambda: running.client.get("/models/dense").json()["versions"] == [1, 2])

        def apply() -> None:
            queue.blpop(COMMANDS, timeout=PATIENCE)  # type: ignore[misc]
            Registry(trainers).promote("dense", 2)
            push_registry(trainers, Store(url))

        owner = threading.Thread(target=apply)
        owner.start()
        response = running.client.post("/models/dense/promote", params={"version": 2})
        owner.join()
        assert (response.status_code, response.json()["serving"]) == (200, 2), response.text
