"""A share of the requests meets the candidate version: off by default, chosen by the request's id, counted by version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import CAMERA, Running, publish_dense, serving, settings
from waiting import wait_until

from shared.registry import AbTestState, Registry, asks_candidate

OPTIONS = {"camera": CAMERA, "planner": "dense"}
HALF = 0.5


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    publish_dense(tmp_path, 1)
    publish_dense(tmp_path, 2, champion=False)
    registry = Registry(tmp_path)
    registry.set_candidate("dense", 2)
    return registry


@pytest.fixture
def shared(registry: Registry) -> Iterator[Running]:
    with serving(settings(registry.root, candidate_share=HALF, reload_seconds=0.02)) as running:
        wait_until(lambda: running.service.weights.candidates)
        yield running


def versions(server: Running, count: int) -> list[int]:
    replies = [server.raw(options=OPTIONS, **{"x-request-id": f"r{number}"}) for number in range(count)]
    return [reply.json()["model"]["version"] for reply in replies]


def test_by_default_the_champion_answers_alone(registry: Registry) -> None:
    with serving(settings(registry.root)) as running:
        assert set(versions(running, 6)) == {1}
        assert running.service.weights.candidates == {}


def test_a_share_of_the_requests_meets_the_candidate_always_the_same(shared: Running) -> None:
    key = shared.service.weights._own_key
    some = {asked: [k for k in range(100) if asks_candidate(f"r{k}", HALF, key) is asked][:3] for asked in (True, False)}
    for number, version in ([(k, 2 if asked else 1) for asked, numbers in some.items() for k in numbers]) * 2:
        assert shared.raw(options=OPTIONS, **{"x-request-id": f"r{number}"}).json()["model"]["version"] == version
    series = shared.client.get("/metrics").text
    for version in (1, 2):
        assert f'grasp_plans_total{{empty="false",planner="dense",version="{version}"}}' in series


def test_a_candidate_answers_the_share_that_the_trainers_test_asks_for(registry: Registry) -> None:
    test = AbTestState(champion=1, candidate=2, how="served", share=HALF, key="secret")
    with serving(settings(registry.root, reload_seconds=0.02)) as running:
        assert set(versions(running, 4)) == {1}
        registry.set_ab_test("dense", test)
        wait_until(lambda: running.service.weights.candidates)
        met = versions(running, 8)
        assert met == [2 if asks_candidate(f"r{number}", HALF, "secret") else 1 for number in range(8)]
        assert set(met) == {1, 2}
        registry.set_ab_test("dense", test.model_copy(update={"how": "simulated", "share": 0.0}))
        wait_until(lambda: running.service.weights.candidates == {})
        assert set(versions(running, 5)) == {1}
        registry.set_ab_test("dense", test.model_copy(update={"candidate": 3}))  # of a candidate before this one
        assert registry.ab_test("dense") is None


def test_what_the_operator_sets_goes_before_what_the_trainer_asks_for(registry: Registry) -> None:
    registry.set_ab_test("dense", AbTestState(champion=1, candidate=2, how="served", share=HALF))
    with serving(settings(registry.root, reload_seconds=0.02, candidate_share=0.0)) as running:
        assert set(versions(running, 5)) == {1}


def test_a_pinned_request_is_not_diverted(shared: Running) -> None:
    replies = [shared.raw(options={**OPTIONS, "model_version": 1}, **{"x-request-id": f"r{k}"}) for k in range(5)]
    assert {reply.json()["model"]["version"] for reply in replies} == {1}


def test_a_candidate_that_is_withdrawn_or_promoted_is_no_candidate(shared: Running, registry: Registry) -> None:
    registry.set_candidate("dense", None)
    wait_until(lambda: shared.service.weights.candidates == {})
    assert set(versions(shared, 5)) == {1}
    registry.set_candidate("dense", 2)
    wait_until(lambda: shared.service.weights.candidates)
    registry.promote("dense", 2)
    wait_until(lambda: shared.service.weights.versions()["dense"] == 2)
    wait_until(lambda: shared.service.weights.candidates == {})
    assert set(versions(shared, 5)) == {2}


def test_a_broken_candidate_is_left_out(registry: Registry) -> None:
    registry.weights_path("dense", 2).write_bytes(b"nonsense")
    with serving(settings(registry.root, candidate_share=1.0)) as running:
        assert set(versions(running, 6)) == {1}
        assert running.client.get("/ready").status_code == 200
