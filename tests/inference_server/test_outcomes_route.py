"""`POST /outcomes` into a real queue, from a full report down to a request id and one word."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from serving import CAMERA, DEPTH, PNG, RGB_PNG, Running, serving, settings

from grasp_client.contract import GraspPlan, Outcome, OutcomeReport, PlanRequest
from grasp_client.imaging import encode_png_depth
from grasp_client.observation import Observation
from inference_server.errors import ServerError
from inference_server.outcomes.accepted_reports import AcceptedReports
from inference_server.outcomes.recent_plans import RecentPlans
from shared.streams import OutcomeStream, connect

POSE = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.66], [0.0, 0.0, 0.0, 1.0]]
GRASP = {
    "kind": "parallel_jaw", "quality": 0.5, "center_px": [159.5, 119.5], "angle": 0.0, "depth": 0.66, "width": 0.06,
    "pose_camera": POSE,
}  # fmt: skip
FULL: dict[str, Any] = {
    "id": "arm-1:3:0", "grasp": GRASP, "planner": "antipodal", "camera": CAMERA, "success": True, "source": "arm-1",
}  # fmt: skip


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory, module_redis_url: str) -> Iterator[Running]:
    with serving(settings(tmp_path_factory.mktemp("models"), redis_url=module_redis_url)) as running:
        yield running


@pytest.fixture
def stream(redis_url: str) -> OutcomeStream:
    return OutcomeStream(connect(redis_url))


def published(stream: OutcomeStream) -> list[Outcome]:
    entries = stream.read("test", count=100, block_ms=10)
    outcomes = [each.outcome for entry in entries for each in entry.outcomes if each.outcome]
    assert len(outcomes) == len(entries)
    return outcomes


def send(running: Running, report: dict[str, Any], key: str | None = None, **images: bytes) -> httpx.Response:
    """As a form, with the depth image unless others are given."""
    files = {name: (f"{name}.png", data) for name, data in (images or {"depth": PNG}).items()}
    headers = {} if key is None else {"x-api-key": key}
    return running.client.post("/outcomes", files=files, data={"outcome": json.dumps(report)}, headers=headers)


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_a_full_report(queued: Running, stream: OutcomeStream) -> None:
    response = send(queued, {**FULL, "group": "bin 7"})
    assert (response.status_code, response.json()) == (202, {"id": "arm-1:3:0", "learnable": True})
    [outcome] = published(stream)
    assert outcome.id == "arm-1:3:0"
    meta = outcome.meta
    assert (meta.success, meta.source, meta.robot, meta.group, meta.served) == (True, "local", "arm-1", "bin 7", False)


def test_a_form_carries_the_images(queued: Running, stream: OutcomeStream) -> None:
    report = {**FULL, "id": "arm-1:4:0", "success": False, "failure": "slipped"}
    response = queued.form(path="/outcomes", depth=PNG, rgb=RGB_PNG)
    assert response.status_code == 422, "the part is named outcome"
    response = send(queued, report, depth=PNG, rgb=RGB_PNG)
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
    assert (outcome.meta.served, outcome.meta.source, outcome.meta.robot) == (True, "local", "arm-2")
    np.testing.assert_allclose(outcome.images["depth"] * outcome.meta.images["depth"].scale, DEPTH, atol=1e-4)
    series = 'grasp_outcomes_total{planner="antipodal",reporter="robot",success="false",version=""} '
    assert series in queued.client.get("/metrics").text


def test_a_retry_has_the_same_id(queued: Running, stream: OutcomeStream) -> None:
    plan = queued.raw(options={"camera": CAMERA}).json()
    report = {"request_id": plan["request_id"], "success": True}
    assert len({queued.client.post("/outcomes", json=report).json()["id"] for _ in range(2)}) == 1
    assert len(published(stream)) == 1


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
        ({**FULL, "served": True}, 422, "outcome.served"),
        ({**FULL, "details": {str(number): "x" * 900 for number in range(100)}}, 413, "65536"),
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
    response = send(server, FULL)
    assert error_of(response) == (503, "no_queue")
    assert response.headers["retry-after"]


def test_while_the_queue_is_away_it_is_503_and_then_it_is_taken(tmp_path: Path, own_queue_server: Any) -> None:
    with serving(settings(tmp_path / "models", redis_url=own_queue_server.url)) as running:
        assert send(running, FULL).status_code == 202
        own_queue_server.kill()
        away = send(running, {**FULL, "id": "arm-1:3:1"})
        assert error_of(away) == (503, "queue_unavailable")
        assert away.headers["retry-after"]
        assert running.raw(options={"camera": CAMERA}).status_code == 200, "planning does not need the queue"
        own_queue_server.start()
        assert send(running, {**FULL, "id": "arm-1:3:1"}).status_code == 202, "what was not taken is no contradiction"
    with redis.Redis.from_url(own_queue_server.url) as client:
        stream = OutcomeStream(client)
        assert {outcome.id for outcome in published(stream)} >= {"arm-1:3:1"}


SCENE = {"seed": 3, "ticket": "judge-dense-3-1-candidate", "nonce": "ab"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, module_redis_url: str) -> Iterator[Running]:
    keys = "cell-1:predict+report:one, cell-2:predict+report:two, sim:worker:w, plain"
    with serving(settings(tmp_path_factory.mktemp("models"), redis_url=module_redis_url, api_keys=keys)) as running:
        yield running


def test_the_server_says_who_reported(keyed: Running, stream: OutcomeStream) -> None:
    for key in ("one", "plain"):
        assert send(keyed, {**FULL, "source": "local", "robot": "arm-9"}, key).status_code == 202
    first, second = (outcome.meta for outcome in published(stream))
    assert (first.source, first.robot) == ("cell-1", "arm-9")
    assert second.source.startswith("key-")


def test_a_key_cannot_take_the_id_of_another(keyed: Running, stream: OutcomeStream) -> None:
    for key in ("one", "two"):
        assert send(keyed, {**FULL, "id": "next:0"}, key).status_code == 202
    assert send(keyed, {**FULL, "id": "x" * 200}, "two").status_code == 202
    assert [outcome.id for outcome in published(stream)] == ["cell-1:next:0", "cell-2:next:0", f"cell-2:{'x' * 200}"]


@pytest.mark.parametrize("key", ["one", "plain"])
@pytest.mark.parametrize("scene", [SCENE, {"seed": 3}])
def test_a_scene_is_refused_and_not_stripped(keyed: Running, stream: OutcomeStream, key: str, scene: dict) -> None:
    assert error_of(send(keyed, {**FULL, "scene": scene}, key)) == (422, "scene_not_allowed")
    assert published(stream) == []


def test_nobody_sends_a_scene_to_a_server_without_keys(queued: Running, stream: OutcomeStream) -> None:
    assert error_of(send(queued, {**FULL, "scene": SCENE})) == (422, "scene_not_allowed")
    assert published(stream) == []


def test_a_worker_sends_its_scene_with_the_nonce(keyed: Running, stream: OutcomeStream) -> None:
    assert error_of(send(keyed, {**FULL, "scene": {"seed": 3}}, "w")) == (422, "scene_not_allowed")
    assert send(keyed, {**FULL, "scene": SCENE}, "w").status_code == 202
    [outcome] = published(stream)
    assert outcome.meta.scene is not None
    assert (outcome.meta.source, outcome.meta.scene.nonce) == ("sim", "ab")
    series = keyed.client.get("/metrics", headers={"x-api-key": "w"}).text
    assert 'grasp_outcomes_total{planner="antipodal",reporter="simulation",success="true",version=""} 1.0' in series


def plan_as(running: Running, key: str, request_id: str, **options: Any) -> GraspPlan:
    asked = {"planner": "antipodal", "camera": CAMERA, **options}
    return GraspPlan.model_validate_json(running.raw(options=asked, **{"x-api-key": key, "x-request-id": request_id}).content)


def test_a_plan_belongs_to_the_key_that_asked_for_it(keyed: Running, stream: OutcomeStream) -> None:
    plan = plan_as(keyed, "one", "shared-id")
    report = {"request_id": "shared-id", "success": True}
    other = keyed.client.post("/outcomes", json=report, headers={"x-api-key": "two"})
    assert error_of(other) == (404, "plan_expired"), "a guessed id"
    plan_as(keyed, "two", "shared-id", n_grasps=1)
    own = keyed.client.post("/outcomes", json={**report, "rank": 1}, headers={"x-api-key": "one"})
    assert own.status_code == 202, "a plan in the place of another's"
    [outcome] = published(stream)
    assert (outcome.meta.grasp, outcome.meta.served) == (plan.grasps[1], True)


CONTRADICTIONS: list[dict[str, Any]] = [
    {"planner": "dense"},
    {"model": {"name": "dense", "version": 7}},
    {"quality": 1.0},
    {"grasp": GRASP},
    {"gripper": {"max_width": 0.07}},
    {"camera": {**CAMERA, "fx": 310.0}},
]


@pytest.mark.parametrize("wrong", CONTRADICTIONS, ids=lambda wrong: next(iter(wrong)))
def test_what_contradicts_the_servers_record_is_refused(queued: Running, stream: OutcomeStream, wrong: dict) -> None:
    plan = GraspPlan.model_validate_json(queued.raw(options={"planner": "antipodal", "camera": CAMERA, "n_grasps": 2}).content)
    report = {"request_id": plan.request_id, "rank": 1, "success": True, **wrong}
    response = queued.client.post("/outcomes", json=report)
    assert error_of(response) == (422, "contradicts_plan")
    assert next(iter(wrong)) in response.json()["error"]["message"]
    assert published(stream) == []


def test_what_repeats_the_servers_record_is_taken(queued: Running, stream: OutcomeStream) -> None:
    plan = GraspPlan.model_validate_json(queued.raw(options={"planner": "antipodal", "camera": CAMERA}).content)
    grasp = plan.grasps[0].model_dump()
    report = {
        "request_id": plan.request_id, "success": True, "grasp": {**grasp, "depth": round(grasp["depth"], 4)},
        "planner": plan.planner, "camera": CAMERA, "quality": plan.grasps[0].quality,
    }  # fmt: skip
    assert send(queued, report, depth=RGB_PNG).status_code in (400, 422)
    other = encode_png_depth(DEPTH + 0.1)
    assert error_of(send(queued, report, depth=other)) == (422, "contradicts_plan"), "another image"
    assert error_of(send(queued, report, depth=PNG, rgb=RGB_PNG)) == (422, "contradicts_plan"), (
        "an image that was not planned on"
    )
    assert send(queued, report, depth=PNG).status_code == 202
    [outcome] = published(stream)
    assert outcome.meta.grasp == plan.grasps[0]
    assert outcome.meta.served


LENS = {**CAMERA, "distortion": [0.1, -0.05, 0.001, 0.0, 0.0]}
HALVED = {name: 2 * value for name, value in CAMERA.items()} | {"cx": 319.5, "cy": 239.5, "width": 640, "height": 480}


@pytest.mark.parametrize("camera", [LENS, HALVED], ids=["distorted", "of another size"])
def test_reports_name_the_camera_as_requests_do(queued: Running, stream: OutcomeStream, camera: dict) -> None:
    plan = GraspPlan.model_validate_json(queued.raw(options={"planner": "antipodal", "camera": camera}).content)
    grasp = plan.grasps[0].model_dump()
    whole = {"grasp": grasp, "camera": camera, "planner": "antipodal", "success": True}
    assert send(queued, {**whole, "request_id": plan.request_id}).status_code == 202
    assert send(queued, {**whole, "id": str(camera)}).status_code == 202
    served, own = published(stream)
    assert served.meta.camera is not None
    assert served.meta.camera.is_plain
    assert own.meta.camera == served.meta.camera
    assert own.meta.grasp.center_px == pytest.approx(served.meta.grasp.center_px, abs=0.05)
    np.testing.assert_array_equal(own.images["depth"], served.images["depth"])


def test_one_grasp_of_a_plan_is_reported_once(queued: Running, stream: OutcomeStream) -> None:
    plan = queued.raw(options={"planner": "antipodal", "camera": CAMERA}).json()
    report = {"request_id": plan["request_id"], "success": True}
    answers = [queued.client.post("/outcomes", json={**report, "id": name}) for name in ("a:1", "a:1", "a:2")]
    assert [answer.status_code for answer in answers] == [202, 202, 409]
    assert queued.client.post("/outcomes", json={**report, "id": "a:2", "rank": 1}).status_code == 202
    assert [outcome.id for outcome in published(stream)] == ["a:1", "a:2"]


def test_a_second_report_that_says_something_else_is_a_conflict(queued: Running, stream: OutcomeStream) -> None:
    report = {**FULL, "id": "arm-1:9:0"}
    assert send(queued, report).status_code == 202
    again = send(queued, {**report, "time": 5.0, "duration": 3.0})
    assert (again.status_code, again.json()) == (202, {"id": "arm-1:9:0", "learnable": True})
    moved = [[*row[:3], row[3] + 0.01] for row in POSE[:3]] + POSE[3:]
    for change in ({"success": False, "failure": "missed"}, {"grasp": {**GRASP, "pose_camera": moved}}, {"rank": 3}):
        assert error_of(send(queued, {**report, **change})) == (409, "outcome_conflict")
    [outcome] = published(stream)
    assert outcome.meta.success


def test_the_memory_of_what_was_accepted_is_bounded() -> None:
    accepted = AcceptedReports(most=10)
    report = OutcomeReport(success=True)
    for number in range(1000):
        accepted.remember(str(number), report, f"plan {number}")
    assert accepted.repeats("999", report)
    assert not accepted.repeats("0", report)
    with pytest.raises(ServerError, match="another result"):
        accepted.repeats("999", OutcomeReport(success=False, failure="missed"))


TILTED = [[1.0, 0.0, 0.0, 0.0], [0.0, -0.1736482, 0.9848078, 0.0], [0.0, -0.9848078, -0.1736482, 0.66], [0.0, 0.0, 0.0, 1.0]]
UNLEARNABLE: list[tuple[dict[str, Any], str]] = [
    ({"camera": None}, "camera"),
    ({"grasp": {**GRASP, "pose_camera": None}}, "pose_camera"),
    ({"grasp": {**GRASP, "width": None}}, "width"),
    ({"grasp": {**GRASP, "pose_camera": TILTED}}, "100 degrees"),
    ({"success": False, "failure": "unreachable"}, "unreachable"),
    ({"contact_rule": "allowed"}, "strict"),
]


@pytest.mark.parametrize(("change", "why"), UNLEARNABLE)
def test_what_teaches_nothing_is_refused_with_why(queued: Running, stream: OutcomeStream, change: dict, why: str) -> None:
    response = send(queued, {**FULL, "id": why, **change})
    assert error_of(response) == (422, "not_learnable")
    detail = response.json()["error"]["detail"]
    assert detail["learnable"] is False
    assert why in detail["why"]
    assert published(stream) == []


def test_without_an_image_nothing_can_be_learned(queued: Running, stream: OutcomeStream) -> None:
    response = queued.client.post("/outcomes", json={**FULL, "id": "blind:0"})
    assert error_of(response) == (422, "not_learnable")
    assert "no image" in response.json()["error"]["detail"]["why"]
    without_camera = queued.raw(options={"planner": "antipodal"}).json()
    report = {"request_id": without_camera["request_id"], "success": True}
    assert error_of(queued.client.post("/outcomes", json=report)) == (422, "not_learnable")
    assert published(stream) == []


def test_labels_of_metrics_are_what_the_server_knows(queued: Running, stream: OutcomeStream) -> None:
    for number in range(30):
        model = {"name": f"m{number}", "version": number}
        assert send(queued, {**FULL, "id": f"x:{number}", "planner": f"p{number}", "model": model}).status_code == 202
    series = [line for line in queued.client.get("/metrics").text.splitlines() if line.startswith("grasp_outcomes_total{")]
    assert any('planner="other"' in line and 'version=""' in line for line in series)
    assert len(series) <= 6


def test_recent_plans_hold_no_more_than_their_images() -> None:
    body = bytes(40 * 25 * 4 + 2**20)
    image = np.frombuffer(body, np.float32, 1000).reshape(25, 40)
    recent = RecentPlans()
    recent.remember("a", GraspPlan(request_id="1", planner="antipodal"), Observation(depth=image), PlanRequest())
    found = recent.find("a", "1")
    assert found is not None
    assert found.observation.depth is not None
    assert found.observation.depth.base is None
    np.testing.assert_array_equal(found.observation.depth, image)


def test_recent_plans_stay_within_their_memory() -> None:
    recent = RecentPlans(most_bytes=20_000)
    observation = Observation(depth=np.zeros((25, 40), np.float32))
    for number in range(5):
        recent.remember("a", GraspPlan(request_id=str(number), planner="antipodal"), observation, PlanRequest())
    assert [recent.find("a", str(number)) is not None for number in range(5)] == [False, False, False, True, True]
    recent.remember("a", GraspPlan(request_id="4", planner="antipodal"), observation, PlanRequest())
    assert recent.find("a", "3") is not None, "the same plan again takes no more memory"


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
            recent.remember("a", made, Observation(depth=image.copy()), PlanRequest.model_validate_json(request))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recent.find("a", "0") is None
    assert recent.find("a", "399") is not None
    assert taken < 1.1 * most
