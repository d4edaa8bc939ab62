"""`POST /outcomes` into a real queue, from a full report down to a request id and one word."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from serving import CAMERA, DEPTH, PNG, RGB_PNG, Running, serving, settings

from grasp_client.contract import GraspPlan, Outcome, PlanRequest
from grasp_client.observation import Observation
from inference_server.outcomes import RecentPlans
from shared.streams import OutcomeStream, connect

GRASP = {"kind": "parallel_jaw", "quality": 0.5, "center_px": [159.5, 119.5], "angle": 0.0, "depth": 0.66, "width": 0.06}
FULL = {"id": "arm-1:3:0", "grasp": GRASP, "planner": "antipodal", "camera": CAMERA, "success": True, "source": "arm-1"}


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory, queue_server: Any) -> Iterator[Running]:
    with serving(settings(tmp_path_factory.mktemp("models"), redis_url=queue_server.url)) as running:
        yield running


@pytest.fixture
def stream(redis_url: str) -> OutcomeStream:
    return OutcomeStream(connect(redis_url))


def published(stream: OutcomeStream) -> list[Outcome]:
    entries = stream.read("test", count=100, block_ms=10)
    outcomes = [entry.outcome for entry in entries if entry.outcome]
    assert len(outcomes) == len(entries)
    return outcomes


def test_a_full_report_without_images(queued: Running, stream: OutcomeStream) -> None:
    response = queued.client.post("/outcomes", json=FULL)
    assert (response.status_code, response.json()) == (202, {"id": "arm-1:3:0"})
    [outcome] = published(stream)
    assert outcome.id == "arm-1:3:0"
    assert outcome.meta.success
    assert outcome.meta.source == "arm-1"
    assert outcome.images == {}


def test_a_form_carries_the_images(queued: Running, stream: OutcomeStream) -> None:
    report = {**FULL, "success": False, "failure": "slipped"}
    response = queued.form(path="/outcomes", depth=PNG, rgb=RGB_PNG)
    assert response.status_code == 422, "the part is named outcome"
    files = {"depth": ("d.png", PNG), "rgb": ("c.png", RGB_PNG)}
    response = queued.client.post("/outcomes", files=files, data={"outcome": json.dumps(report)})
    assert response.status_code == 202, response.text
    [outcome] = published(stream)
    assert outcome.meta.failure == "slipped"
    np.testing.assert_allclose(outcome.images["depth"] * outcome.meta.images["depth"].scale, DEPTH, atol=1e-3)
    assert outcome.images["rgb"].shape == (240, 320, 3)


def test_after_a_plan_its_request_id_is_enough(queued: Running, stream: OutcomeStream) -> None:
    plan = GraspPlan.model_validate_json(queued.raw(options={"camera": CAMERA, "gripper": {"max_width": 0.09}}).content)
    report = {"request_id": plan.request_id, "rank": 1, "success": False, "failure": "missed", "source": "arm-2"}
    response = queued.client.post("/outcomes", json=report)
    assert response.status_code == 202, response.text
    assert response.json()["id"] == f"arm-2:{plan.request_id}:1"
    [outcome] = published(stream)
    assert outcome.meta.grasp == plan.grasps[1]
    assert outcome.meta.quality == plan.grasps[1].quality
    assert (outcome.meta.planner, outcome.meta.rank, outcome.meta.request_id) == (plan.planner, 1, plan.request_id)
    assert outcome.meta.camera is not None
    assert outcome.meta.camera.fx == CAMERA["fx"]
    assert outcome.meta.gripper.max_width == 0.09
    np.testing.assert_allclose(outcome.images["depth"] * outcome.meta.images["depth"].scale, DEPTH, atol=1e-4)
    assert 'grasp_outcomes_total{planner="antipodal",success="false",version=""} ' in queued.client.get("/metrics").text


def test_a_retry_has_the_same_id(queued: Running, stream: OutcomeStream) -> None:
    plan = queued.raw(options={"camera": CAMERA}).json()
    report = {"request_id": plan["request_id"], "success": True}
    assert len({queued.client.post("/outcomes", json=report).json()["id"] for _ in range(2)}) == 1
    assert len({outcome.id for outcome in published(stream)}) == 1


@pytest.mark.parametrize(
    ("report", "status", "hint"),
    [
        ({"request_id": "long-ago", "success": True}, 404, "`grasp` and `planner`"),
        ({"success": True}, 422, "request_id"),
        ({**FULL, "id": None}, 422, "outcome.id"),
        ({**FULL, "success": False}, 422, "names its failure"),
        ({**FULL, "failure": "missed"}, 422, "carries no failure"),
        ({**FULL, "colour": "red"}, 422, "outcome.colour"),
        ({**FULL, "id": "x" * 300}, 422, "outcome.id"),
        ({**FULL, "grasp": {**GRASP, "quality": 2}}, 422, "outcome.grasp.quality"),
    ],
)
def test_a_bad_report_is_refused_with_help(queued: Running, report: dict, status: int, hint: str) -> None:
    response = queued.client.post("/outcomes", json=report)
    assert response.status_code == status, response.text
    assert hint in response.json()["error"]["message"]


def test_bodies_that_are_no_report(queued: Running) -> None:
    post = queued.client.post
    assert post("/outcomes", content=b"{", headers={"content-type": "application/json"}).status_code == 422
    assert post("/outcomes", content=PNG, headers={"content-type": "image/png"}).status_code == 415
    bad = post("/outcomes", files={"depth": ("d.png", PNG[:50])}, data={"outcome": json.dumps(FULL)})
    assert bad.status_code == 400


def test_a_rank_that_the_plan_did_not_have(queued: Running) -> None:
    plan = queued.raw(options={"camera": CAMERA, "n_grasps": 1}).json()
    response = queued.client.post("/outcomes", json={"request_id": plan["request_id"], "rank": 5, "success": True})
    assert response.status_code == 422
    assert "rank 5" in response.json()["error"]["message"]


def test_without_a_queue_it_is_503(server: Running) -> None:
    response = server.client.post("/outcomes", json=FULL)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_queue")
    assert response.headers["retry-after"]


def test_while_the_queue_is_away_it_is_503_and_then_it_is_taken(tmp_path: Path, own_queue_server: Any) -> None:
    with serving(settings(tmp_path / "models", redis_url=own_queue_server.url)) as running:
        assert running.client.post("/outcomes", json=FULL).status_code == 202
        own_queue_server.kill()
        away = running.client.post("/outcomes", json={**FULL, "id": "arm-1:3:1"})
        assert (away.status_code, away.json()["error"]["code"]) == (503, "queue_unavailable")
        assert away.headers["retry-after"]
        assert running.raw(options={"camera": CAMERA}).status_code == 200, "planning does not need the queue"
        own_queue_server.start()
        assert running.client.post("/outcomes", json={**FULL, "id": "arm-1:3:1"}).status_code == 202
    with redis.Redis.from_url(own_queue_server.url) as client:
        stream = OutcomeStream(client)
        assert {outcome.id for outcome in published(stream)} >= {"arm-1:3:1"}


def test_recent_plans_stay_within_their_memory() -> None:
    recent = RecentPlans(most_bytes=20_000)
    observation = Observation(depth=np.zeros((25, 40), np.float32))
    for number in range(5):
        recent.remember(GraspPlan(request_id=str(number), planner="antipodal"), observation, PlanRequest())
    assert [recent.find(str(number)) is not None for number in range(5)] == [False, False, False, True, True]
    recent.remember(GraspPlan(request_id="4", planner="antipodal"), observation, PlanRequest())
    assert recent.find("3") is not None, "the same plan again takes no more memory"


def test_recent_plans_of_tiny_images_stay_within_it_too() -> None:
    most, image = 2**20, np.zeros((9, 7), np.float32)
    recent = RecentPlans(most)
    pose = np.eye(4).tolist()
    request = json.dumps({"camera": CAMERA, "camera_pose": pose})
    grasp = {**GRASP, "pose_camera": pose, "pose_base": pose}
    plan = json.dumps({"planner": "antipodal", "grasps": [grasp] * 3})
    tracemalloc.start()
    try:
        for number in range(400):
            made = GraspPlan.model_validate_json(plan).model_copy(update={"request_id": str(number)})
            recent.remember(made, Observation(depth=image.copy()), PlanRequest.model_validate_json(request))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recent.find("0") is None
    assert recent.find("399") is not None
    assert taken < 1.1 * most
