"""Clouds over HTTP: by form, by client, in a batch, and refused where they cannot be used."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from serving import CAMERA, CLOUD, DEPTH, PNG, THING, Running

from grasp_client.client import GraspClient
from grasp_client.imaging import encode_npy

SEEN = {"planner": "antipodal", "viewpoint": [0, 0, 0]}


def test_a_form_with_points_gives_the_grasp_of_the_image(server: Running) -> None:
    reply = server.form(SEEN, points=encode_npy(THING), scene_points=encode_npy(CLOUD)).json()
    assert reply["grasps"], reply
    from_image = server.form({**SEEN, "camera": CAMERA, "viewpoint": None}, depth=PNG).json()
    best, same = (np.array(each["grasps"][0]["pose_camera"])[:3, 3] for each in (reply, from_image))
    assert np.linalg.norm(best - same) < 0.02


def test_the_client_sends_clouds(server: Running) -> None:
    with GraspClient(server.url) as client:
        plan = client.predict_grasp(points=THING, scene_points=CLOUD, planner="antipodal", viewpoint=[0.0, 0.0, 0.0])
        assert plan.grasps
        with pytest.raises(ValueError, match="transpose"):
            client.predict_grasp(points=THING.T)


def test_a_batch_takes_clouds_and_images(server: Running) -> None:
    files = {"points_0": ("p", encode_npy(THING)), "depth_1": ("d", PNG)}
    data = {"request": json.dumps({"planner": "antipodal"})}
    replies = server.client.post("/predict_grasp/batch", files=files, data=data).json()["replies"]
    assert all(reply["grasps"] for reply in replies), replies


@pytest.mark.parametrize(
    ("parts", "options", "path", "status", "code"),
    [
        ({"points": encode_npy(THING), "depth": PNG}, SEEN, "/predict_grasp", 422, "cloud_and_image"),
        ({"scene_points": encode_npy(THING)}, SEEN, "/predict_grasp", 422, "no_points"),
        ({"points": encode_npy(1e3 * THING)}, SEEN, "/predict_grasp", 422, "wrong_unit"),
        ({"points": encode_npy(-THING)}, {**SEEN, "camera": CAMERA}, "/predict_grasp", 422, "cloud_behind_camera"),
        ({"points": encode_npy(THING)}, {**SEEN, "viewpoint": [0, 0]}, "/predict_grasp", 422, "invalid_field"),
        ({"points": encode_npy(THING)}, {**SEEN, "region": [0, 0, 9, 9]}, "/predict_grasp", 422, "pixels_without_camera"),
        ({"points": encode_npy(THING)}, SEEN, "/heatmap", 422, "no_heatmap"),
        ({"points": b"ply"}, SEEN, "/predict_grasp", 400, "undecodable_image"),
        (
            {"points": encode_npy(THING)},
            {"planner": "gqcnn", "viewpoint": [9, 9, 9], "table_depth": 1},
            "/predict_grasp",
            422,
            None,
        ),
    ],
)
def test_clouds_that_cannot_be_used_are_refused(
    server: Running, parts: dict[str, bytes], options: Any, path: str, status: int, code: str | None
) -> None:
    response = server.form(options, path, **parts)
    assert response.status_code == status, response.text
    assert code is None or response.json()["error"]["code"] == code


LEFT = [[1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, -1.0, 0.7], [0, 0, 0, 1]]
VIEWS = [{"camera": CAMERA, "camera_pose": LEFT}] * 2


def test_several_views_come_as_numbered_parts(server: Running) -> None:
    reply = server.form({"planner": "antipodal", "views": VIEWS}, depth_0=PNG, depth_1=PNG).json()
    alone = server.form({**VIEWS[0], "planner": "antipodal"}, depth=PNG).json()
    assert reply["grasps"], reply
    assert reply["grasps"][0]["center_px"] == pytest.approx(alone["grasps"][0]["center_px"], abs=1.0)
    with GraspClient(server.url) as client:
        assert client.predict_grasp([DEPTH, DEPTH], views=VIEWS, planner="antipodal").grasps


@pytest.mark.parametrize(
    ("parts", "options", "code"),
    [
        ({"depth_0": PNG}, {"views": VIEWS}, "views_mismatch"),
        ({"depth_0": PNG, "depth_1": PNG}, {}, "views_mismatch"),
        ({"depth": PNG}, {"views": VIEWS}, "views_mismatch"),
        ({"depth": PNG, "depth_0": PNG, "depth_1": PNG}, {"views": VIEWS}, "views_mismatch"),
        ({"depth_0": PNG, "depth_1": PNG}, {"views": VIEWS, "camera": {**CAMERA, "fx": 9}}, "invalid_field"),
        ({"depth_0": PNG, "depth_1": PNG}, {"views": VIEWS, "planner": "gqcnn"}, "views_unsupported"),
        ({"depth_0": PNG, "depth_1": b"no"}, {"views": VIEWS}, "undecodable_image"),
    ],
)
def test_views_that_cannot_be_used_are_refused(server: Running, parts: dict[str, bytes], options: Any, code: str) -> None:
    response = server.form({"planner": "antipodal", **options}, **parts)
    assert response.json()["error"]["code"] == code, response.text


def test_views_need_their_images_however_they_are_told(server: Running) -> None:
    assert server.raw(options={"planner": "antipodal", "views": VIEWS}).json()["error"]["code"] == "views_mismatch"
