"""`POST /gqcnn`: qualities of crops and of grasps on an image, equal where they see the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from serving import DEPTH, NPY, PNG, Running, publish, publish_dense, serving, settings

from grasp_client.imaging import encode_npy
from inference_server.service import Service
from shared.features.crops import crop

FOCAL, SIZE = 300.0, 96
CAMERA = {"fx": FOCAL, "fy": FOCAL, "cx": 159.5, "cy": 119.5}
VIEW = {"focal_px": FOCAL, "near": 0.4, "far": 1.0}
GRASPS = [
    {"center_px": [160.0, 120.0], "angle": 0.0, "depth": 0.66},
    {"center_px": [170.0, 110.0], "angle": 0.7, "depth": 0.68},
    {"center_px": [40.0, 200.0], "angle": -1.2, "depth": 0.7},
]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = tmp_path_factory.mktemp("models")
    publish(models, "gqcnn-jaw", 0, architecture="gqcnn4", view=VIEW)
    publish(models, "gqcnn-jaw", 1, champion=False, architecture="gqcnn4", view=VIEW)
    publish_dense(models, 0)
    with serving(settings(models)) as running:
        yield running


def crops() -> np.ndarray:
    """(N, S, S) crops of GRASPS, cut as the networks' own code cuts them."""
    centers = torch.tensor([grasp["center_px"] for grasp in GRASPS])
    angles = torch.tensor([grasp["angle"] for grasp in GRASPS])
    return crop(torch.from_numpy(DEPTH), centers, angles, torch.ones(len(GRASPS)), (SIZE, SIZE))[:, 0].numpy()


def form(server: Running, options: dict | None = None, **arrays: np.ndarray) -> httpx.Response:
    files = {name: (name, encode_npy(array)) for name, array in arrays.items()}
    data = {"request": json.dumps(options)} if options is not None else {}
    return server.client.post("/gqcnn", files=files, data=data)


DEPTHS = np.array([grasp["depth"] for grasp in GRASPS], np.float32)


def test_crops_and_image_agree_with_the_network(scorer: Running) -> None:
    service: Service = scorer.service
    network = service.weights.get("gqcnn-jaw")
    assert network is not None
    with torch.inference_mode():
        logits = network.module(torch.from_numpy(crops())[:, None], torch.from_numpy(DEPTHS))
    expected = torch.sigmoid(logits).tolist()
    of_crops = form(scorer, crops=crops(), gripper_depth=DEPTHS)
    assert of_crops.status_code == 200, of_crops.text
    assert of_crops.json()["quality"] == pytest.approx(expected, abs=1e-4)
    assert of_crops.json()["model"] == {"name": "gqcnn-jaw", "version": 1}
    assert {"decode", "queue", "plan", "total"} <= of_crops.json()["timings_ms"].keys()
    on_image = scorer.form({"grasps": GRASPS, "camera": CAMERA}, path="/gqcnn", depth=NPY)
    assert on_image.status_code == 200, on_image.text
    assert on_image.json()["quality"] == pytest.approx(expected, abs=1e-3)


def test_a_last_axis_of_one_and_a_pinned_version(scorer: Running) -> None:
    flat = form(scorer, crops=crops(), gripper_depth=DEPTHS[:, None]).json()["quality"]
    assert form(scorer, crops=crops()[..., None], gripper_depth=DEPTHS).json()["quality"] == flat
    pinned = form(scorer, {"model_version": 2}, crops=crops(), gripper_depth=DEPTHS).json()
    assert pinned["model"]["version"] == 2
    assert pinned["quality"] != flat


@pytest.mark.parametrize(
    ("options", "arrays", "status", "hint"),
    [
        (None, {"crops": crops()}, 422, "gripper_depth"),
        (None, {"crops": crops()[:, :32, :32], "gripper_depth": DEPTHS}, 422, "96 x 96"),
        (None, {"crops": crops()[:, :32], "gripper_depth": DEPTHS}, 422, "(N, S, S)"),
        (None, {"crops": crops(), "gripper_depth": DEPTHS[:1]}, 422, "expected 3 depths"),
        (None, {"crops": crops() * np.nan, "gripper_depth": DEPTHS}, 422, "NaN"),
        (None, {"crops": crops().astype(int), "gripper_depth": DEPTHS}, 422, "float32"),
        (None, {"crops": np.zeros((5000, 2, 2), np.float32)}, 413, "4096"),
        ({"grasps": GRASPS}, {"crops": crops()}, 422, "leave it out"),
        ({"model": "nothing"}, {"crops": crops(), "gripper_depth": DEPTHS}, 404, "nothing"),
        ({"model": "dense"}, {"crops": crops(), "gripper_depth": DEPTHS}, 422, "does not score crops"),
        ({"model_version": 9}, {"crops": crops(), "gripper_depth": DEPTHS}, 404, "version 9"),
        ({}, {"depth": DEPTH}, 422, "request.grasps"),
        ({"grasps": [{**GRASPS[0], "depth": -1}]}, {"depth": DEPTH}, 422, "request.grasps.0.depth"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_help(
    scorer: Running, options: dict | None, arrays: dict[str, Any], status: int, hint: str
) -> None:
    response = form(scorer, options, **arrays)
    assert response.status_code == status, response.text
    assert hint in response.json()["error"]["message"]


def test_bodies_that_are_no_array(scorer: Running) -> None:
    post = scorer.client.post
    npy = {"content-type": "application/x-npy"}
    assert post("/gqcnn", content=b"\x93NUMPY nonsense", headers=npy).status_code == 400
    assert post("/gqcnn", content=encode_npy(crops())[:-9], headers=npy).status_code == 400
    assert post("/gqcnn", content=b"", headers=npy).status_code == 400
    assert post("/gqcnn", content=PNG, headers={"content-type": "image/png"}).status_code == 422
    assert post("/gqcnn", content=encode_npy(crops()), headers=npy).json()["error"]["code"] == "missing_gripper_depth"
