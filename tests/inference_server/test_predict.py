"""`POST /predict_grasp`: the same observation by every transport, and what comes back."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from published import published
from serving import CAMERA, DEPTH, NPY, OPTIONS, PNG, RGB_PNG, Running, raw_headers
from waiting import PATIENCE

from grasp_client.contract import GraspPlan
from planning.batched_inference import plan_batched

MILLIMETRES = np.rint(DEPTH * 1000).astype(np.uint16)


def grasps(response: httpx.Response) -> list[dict]:
    assert response.status_code == 200, response.text
    return response.json()["grasps"]


def centres(plan: list[dict]) -> np.ndarray:
    return np.array([grasp["center_px"] for grasp in plan])


def ways(server: Running) -> dict[str, httpx.Response]:
    query = {"request": json.dumps(OPTIONS)}
    post = server.client.post
    return {
        "form png": server.form(depth=PNG),
        "form npy with colour": server.form(depth=NPY, rgb=RGB_PNG),
        "bare png": post("/predict_grasp", params=query, content=PNG, headers={"content-type": "image/png"}),
        "bare npy": post("/predict_grasp", params=query, content=NPY, headers={"content-type": "application/x-npy"}),
        "raw float32": server.raw(),
        "raw uint16": server.raw(MILLIMETRES),
    }


def test_every_transport_gives_the_same_grasps(server: Running) -> None:
    plans = {way: grasps(response) for way, response in ways(server).items()}
    expected = plans.pop("raw uint16")
    assert expected
    for way, plan in plans.items():
        np.testing.assert_allclose(centres(plan), centres(expected), atol=0.5, err_msg=way)


def test_the_best_grasp_holds_the_block(server: Running) -> None:
    best = grasps(server.raw())[0]
    u, v = best["center_px"]
    assert DEPTH[round(v), round(u)] == DEPTH.min()
    assert abs(best["angle"]) < 0.3, "the block is narrow along u"
    assert 0.03 <= best["width"] <= 0.08
    assert best["pose_camera"]
    assert best["pose_base"] is None


def test_a_reply_says_who_planned_how_long_and_under_which_id(server: Running) -> None:
    response = server.raw(options={"camera": CAMERA, "planner": "dense"}, **{"x-request-id": "robot-7:42"})
    plan = GraspPlan.model_validate_json(response.content)
    assert response.headers["x-request-id"] == plan.request_id == "robot-7:42"
    assert plan.planner == "dense"
    assert plan.model is not None
    assert (plan.model.name, plan.model.version) == ("dense", 1)
    assert {"decode", "queue", "plan", "total"} <= plan.timings_ms.keys()
    assert plan.timings_ms["total"] >= plan.timings_ms["plan"]


def test_an_unusable_request_id_is_replaced(server: Running) -> None:
    response = server.raw(**{"x-request-id": "a" * 300})
    assert len(response.headers["x-request-id"]) == 32


def test_auto_takes_the_network_when_there_is_one(server: Running) -> None:
    assert server.raw(options={"camera": CAMERA}).json()["planner"] == "dense"


def test_options_are_followed(server: Running) -> None:
    few = grasps(server.raw(options={**OPTIONS, "n_grasps": 2}))
    assert len(few) == 2
    region = [150.0, 100.0, 170.0, 118.0]
    for grasp in grasps(server.raw(options={**OPTIONS, "region": region})):
        u, v = grasp["center_px"]
        assert region[0] <= u <= region[2]
        assert region[1] <= v <= region[3]


def test_no_grasp_is_an_answer_with_reasons(server: Running) -> None:
    flat = np.full((120, 160), 0.7, np.float32)
    response = server.raw(flat)
    assert response.status_code == 200
    assert response.json()["grasps"] == []
    assert sum(response.json()["rejections"].values()) > 0


def test_without_a_camera_the_reply_has_pixels_only(server: Running) -> None:
    response = server.raw(options={"planner": "antipodal"})
    assert response.status_code == 200
    assert all(grasp["pose_camera"] is None for grasp in response.json()["grasps"])


@pytest.mark.parametrize("planners", [["dense"] * 6, ["dense", "ensemble"] * 3])
def test_requests_for_one_network_at_the_same_time_share_a_batch(
    server: Running, monkeypatch: pytest.MonkeyPatch, planners: list[str]
) -> None:
    monkeypatch.setattr(server.service.batcher.estimator, "batch_limits", OrderedDict())
    batches: list[list[str]] = []

    def planned(asked: Sequence[Any]) -> list[GraspPlan]:
        batches.append([planner.name for planner, _, _ in asked])
        return plan_batched(asked)

    monkeypatch.setattr("inference_server.planner_service.plan_batched", planned)

    async def together(held: threading.Event, release: threading.Event) -> list[httpx.Response]:
        batcher = server.service.batcher
        batcher.between_batches(lambda: held.set() or release.wait(PATIENCE))
        assert await asyncio.to_thread(held.wait, PATIENCE), "a thread that has yet to wake up would take the first jobs along"
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
            headers = [raw_headers(options={"camera": CAMERA, "planner": planner}) for planner in planners]
            sent = [
                asyncio.create_task(client.post("/predict_grasp", content=DEPTH.tobytes(), headers=each)) for each in headers
            ]
            while sum(map(len, batcher.queue.lines.values())) < len(
                sent
            ):  # not its length: that counts what is still being decoded
                await asyncio.sleep(0.01)
            release.set()
            return await asyncio.gather(*sent)

    answers = asyncio.run(asyncio.wait_for(together(threading.Event(), threading.Event()), PATIENCE))
    assert [response.json()["planner"] for response in answers] == planners
    for planner in set(planners):
        plans = {json.dumps(grasps(each)) for each, asked in zip(answers, planners, strict=True) if asked == planner}
        assert len(plans) == 1, "the batch must not change an answer"
    assert [sorted(batch) for batch in batches] == [sorted(planners)]


@pytest.mark.parametrize("planner", ["antipodal", "dense"])
def test_a_real_scene_is_planned_from_depth_alone(server: Running, planner: str) -> None:
    folder = published("real_depth/primesense")
    depth = np.load(folder / "single_depth_0.npy").astype(np.float32).squeeze()
    intrinsics = json.loads((folder / "primesense.intr").read_text())
    camera = {name: intrinsics[f"_{name}"] for name in ("fx", "fy", "cx", "cy")}
    assert grasps(server.raw(np.ascontiguousarray(depth), {"camera": camera, "planner": planner}))
