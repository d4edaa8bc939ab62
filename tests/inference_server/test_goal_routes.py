"""One wanted thing by every transport: a mask or a pixel of it, and what is refused."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.torch import save
from serving import CAMERA, DEPTH, NPY, PNG, Running, publish_dense, serving, settings

from grasp_client import AsyncGraspClient, GraspClient, InvalidRequest
from grasp_client.contract import ActionPlan
from grasp_client.imaging import encode_npy
from planning.push.values import MODEL
from shared.networks import build_network
from shared.registry import ModelCard, Registry

TWO = DEPTH.copy()
TWO[20:50, 40:60] = 0.66
"""The block in the middle and another one."""
GOAL = np.zeros(TWO.shape, bool)
GOAL[20:50, 40:60] = True
OPTIONS: dict[str, Any] = {"camera": CAMERA, "planner": "antipodal", "checks": "off"}


def v2(server: Running) -> list[list[float]]:
    inputs = [
        {"name": "depth", "shape": TWO.shape, "datatype": "FP32", "data": TWO.ravel().tolist()},
        {"name": "goal", "shape": GOAL.shape, "datatype": "BOOL", "data": GOAL.ravel().tolist()},
    ]
    body = {"inputs": inputs, "parameters": {"request": json.dumps({"camera": CAMERA})}}
    reply = server.client.post("/v2/models/antipodal/infer", json=body)
    assert reply.status_code == 200, reply.text
    [tensor] = [each for each in reply.json()["outputs"] if each["name"] == "center_px"]
    return np.array(tensor["data"]).reshape(-1, 2).tolist()


def centres(reply: httpx.Response) -> list[list[float]]:
    assert reply.status_code == 200, reply.text
    return [grasp["center_px"] for grasp in reply.json()["grasps"]]


def test_a_goal_comes_by_every_transport(server: Running) -> None:
    mask = encode_npy(GOAL)
    form = server.form(OPTIONS, depth=encode_npy(TWO), goal=mask)
    assert form.json()["rejections"]["not_goal"] > 0
    batch = server.form(OPTIONS, "/predict_grasp/batch", depth_0=encode_npy(TWO), goal_0=mask, depth_1=NPY)
    pointed = server.raw(TWO, {**OPTIONS, "point": [50, 35]})
    with GraspClient(server.url) as client:
        by_client = client.predict_grasp(TWO, goal=GOAL, camera=CAMERA, planner="antipodal")
    ways = {
        "form": centres(form),
        "batch": [grasp["center_px"] for grasp in batch.json()["replies"][0]["grasps"]],
        "point": centres(pointed),
        "v2": v2(server),
        "client": [grasp.center_px for grasp in by_client.grasps],
    }
    for way, found in ways.items():
        assert found, way
        for u, v in found:
            assert 40 <= u <= 60, way
            assert 20 <= v <= 50, way
    assert batch.json()["replies"][1]["grasps"][0]["center_px"][0] > 100


def test_a_dense_map_shows_the_goal_alone(server: Running) -> None:
    reply = server.form(OPTIONS, "/heatmap", depth=encode_npy(TWO), goal=encode_npy(GOAL))
    assert reply.status_code == 200
    maps = np.load(io.BytesIO(reply.content))
    assert maps[:, GOAL].max() > 0.3
    assert maps[:, :, 100:].max() == 0


@pytest.mark.parametrize(
    ("options", "images", "code"),
    [
        ({}, {"goal": encode_npy(GOAL[:100])}, "size_mismatch"),
        ({}, {"goal": encode_npy(np.zeros_like(GOAL))}, "empty_goal"),
        ({}, {"goal": encode_npy(~GOAL)}, "goal_too_large"),
        ({"point": [320, 10]}, {}, "point_outside"),
        ({"point": [-3, 10]}, {}, "point_outside"),
        ({"point": [10, 10]}, {}, "point_on_table"),
        ({"point": [50, 35]}, {"goal": encode_npy(GOAL)}, "goal_twice"),
        ({"point": [50]}, {}, "invalid_field"),
    ],
)
def test_a_wrong_goal_is_refused(server: Running, options: dict, images: dict[str, bytes], code: str) -> None:
    reply = server.form({**OPTIONS, **options}, depth=PNG if "point" in options and not images else encode_npy(TWO), **images)
    assert reply.status_code == 422
    assert reply.json()["error"]["code"] == code


ENCLOSED = DEPTH.copy()
ENCLOSED[88:152, 128:192] = 0.65
BLOCK = np.zeros(DEPTH.shape, bool)
BLOCK[100:140, 140:180] = True
"""A block in the middle of a slab of the same height that nobody can hold: nothing but its mask tells it apart."""


def act(
    server: Running, depth: np.ndarray, goal: np.ndarray | None, options: dict | None = None, **headers: str
) -> httpx.Response:
    files = {"depth": ("d.npy", encode_npy(depth))} | ({} if goal is None else {"goal": ("g.npy", encode_npy(goal))})
    told = json.dumps({**OPTIONS, "seed": 1, **(options or {})})
    return server.client.post("/predict_action", files=files, data={"request": told}, headers=headers)


def test_an_action_is_a_grasp_or_a_push(server: Running) -> None:
    grasp = ActionPlan.model_validate(act(server, TWO, GOAL, **{"x-request-id": "r-7"}).json())
    assert (grasp.action, grasp.request_id, grasp.grasp_planner, grasp.grasp_model) == ("grasp", "r-7", "antipodal", None)
    assert {"decode", "queue", "plan", "total"} <= grasp.timings_ms.keys()
    push = ActionPlan.model_validate(act(server, ENCLOSED, BLOCK).json())
    assert (push.action, push.planner, push.grasps) == ("push", "rule", [])
    assert push.rejections["not_goal"] > 0
    assert push.pushes[0].start_base is None
    assert push.pushes[0].start_camera is not None
    assert "push" in push.timings_ms
    metrics = server.client.get("/metrics").text
    assert 'grasp_actions_total{action="push",planner="rule"}' in metrics


def test_an_outcome_of_its_grasp_can_be_reported_by_its_id(server: Running) -> None:
    act(server, TWO, GOAL, **{"x-request-id": "r-9"})
    kept = server.service.planning.recent.find("127.0.0.1", "r-9")
    assert kept is not None
    assert kept.plan.grasps
    act(server, ENCLOSED, BLOCK, **{"x-request-id": "r-10"})
    assert server.service.planning.recent.find("127.0.0.1", "r-10") is None


def test_the_network_of_pushes_is_followed_and_named(tmp_path: Path) -> None:
    publish_dense(tmp_path, 0)
    network = build_network(MODEL, {"hidden": 8})
    registry = Registry(tmp_path)
    registry.publish(MODEL, save(network.state_dict()), ModelCard(name=MODEL, architecture=MODEL, parameters={"hidden": 8}))
    registry.promote(MODEL, 1)
    with serving(settings(tmp_path)) as running:
        plan = ActionPlan.model_validate(act(running, ENCLOSED, BLOCK).json())
        assert (plan.action, plan.planner, plan.model and plan.model.version) == ("push", MODEL, 1)
        assert plan.pushes[0].predicted_quality is not None


def test_both_clients_and_raw_depth_ask_for_actions(server: Running) -> None:
    with GraspClient(server.url) as client:
        plan = client.predict_action(TWO, point=[50, 35], camera=CAMERA, planner="antipodal", push={"threshold": 0.4})
        assert plan.action == "grasp"
        with pytest.raises(InvalidRequest, match="what is wanted"):
            client.predict_action(TWO, camera=CAMERA)

    async def ask() -> ActionPlan:
        async with AsyncGraspClient(server.url) as client:
            return await client.predict_action(TWO, goal=GOAL, camera=CAMERA, planner="antipodal")

    assert asyncio.run(ask()).action == "grasp"


@pytest.mark.parametrize(
    ("goal", "options", "code"),
    [
        (None, {}, "no_goal"),
        (GOAL, {"camera": None}, "no_camera"),
        (GOAL, {"push": {"max_length": 9}}, "invalid_field"),
        (GOAL, {"push": {"workspace": [0, 0, 1, 1]}}, "no_camera_pose"),
        (GOAL, {"return_heatmap": True}, "invalid_field"),
        (GOAL[:50], {}, "size_mismatch"),
        (~GOAL, {}, "goal_too_large"),
    ],
)
def test_a_wrong_question_is_refused(server: Running, goal: np.ndarray | None, options: dict, code: str) -> None:
    reply = act(server, TWO, goal, options)
    assert reply.status_code == 422, reply.text
    assert reply.json()["error"]["code"] == code


def test_a_hidden_goal_is_answered(server: Running) -> None:
    goal = np.zeros_like(GOAL)
    goal[200:220, 10:30] = True
    reply = act(server, TWO, goal)
    assert reply.status_code == 200
    assert reply.json()["action"] == "none"
    assert "hidden" in reply.json()["reason"]
