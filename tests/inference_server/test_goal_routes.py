"""One wanted thing by every transport: a mask or a pixel of it, and what is refused."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from serving import CAMERA, DEPTH, NPY, PNG, Running

from grasp_client import GraspClient
from grasp_client.imaging import encode_npy

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
