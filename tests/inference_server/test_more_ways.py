"""The other ways to plan: batches, dense maps, the DexRL payload, the Open Inference Protocol."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import CAMERA, DEPTH, NPY, OPTIONS, PNG, RGB_PNG, Running, publish, serving, settings

from grasp_client.contract import GraspPlan
from inference_server.planner_service import draws_maps
from inference_server.routes.process import CAMERA_SIZE


def grasps(reply: dict) -> list[dict]:
    return reply["grasps"]


def batch(server: Running, files: dict[str, bytes], **data: Any) -> httpx.Response:
    parts = {name: (name, content) for name, content in files.items()}
    options = {name: json.dumps(value) for name, value in data.items()}
    return server.client.post("/predict_grasp/batch", files=parts, data=options)


def test_a_batch_is_answered_in_order_and_a_bad_one_fails_alone(server: Running) -> None:
    response = batch(
        server,
        {"depth_0": PNG, "depth_1": b"\x89PNG nonsense", "depth_2": NPY, "rgb_2": RGB_PNG},
        request=OPTIONS,
        request_2={**OPTIONS, "planner": "dense", "n_grasps": 1},
    )
    assert response.status_code == 200, response.text
    first, bad, last = response.json()["replies"]
    alone = server.form(depth=PNG).json()
    assert [grasp["center_px"] for grasp in grasps(first)] == [grasp["center_px"] for grasp in grasps(alone)]
    assert bad["error"]["code"] == "undecodable_image"
    assert (last["planner"], len(grasps(last))) == ("dense", 1)
    identity = response.headers["x-request-id"]
    assert [first["request_id"], last["request_id"]] == [f"{identity}.0", f"{identity}.2"]


def test_failed_grasps_are_heard_by_every_way_to_send_them(server: Running) -> None:
    best = grasps(server.raw().json())[0]
    failed = [{name: best[name] for name in ("center_px", "angle", "depth")}] * 64
    options = {**OPTIONS, "failed": failed}
    query, png = {"request": json.dumps(options)}, {"content-type": "image/png"}
    tensor = {"name": "depth", "datatype": "FP32", "shape": list(DEPTH.shape), "data": DEPTH.ravel().tolist()}
    replies = [
        server.raw(options=options).json(),
        server.form(options, depth=PNG).json(),
        server.client.post("/predict_grasp", params=query, content=PNG, headers=png).json(),
        batch(server, {"depth_0": PNG}, request=options).json()["replies"][0],
        batch(server, {"depth_0": PNG}, request=OPTIONS, request_0=options).json()["replies"][0],
    ]
    for reply in replies:
        assert grasps(reply)[0]["quality"] < best["quality"] / 2, reply
    body = {"inputs": [tensor], "parameters": {"request": json.dumps(options)}}
    answer = server.client.post("/v2/models/antipodal/infer", json=body).json()
    quality = next(each["data"] for each in answer["outputs"] if each["name"] == "quality")
    assert quality[0] == pytest.approx(grasps(replies[0])[0]["quality"], abs=0.01)


@pytest.mark.parametrize(
    ("failed", "hint"),
    [
        ([{"center_px": [1, 2]}] * 65, "64"),
        ([{"center_px": [1]}], "failed.0.center_px"),
        ([{"center_px": [1, 2], "width": 0.05}], "failed.0.width"),
        ({"center_px": [1, 2]}, "failed"),
    ],
)
def test_bad_failed_grasps_are_refused_by_name(server: Running, failed: Any, hint: str) -> None:
    response = server.raw(options={**OPTIONS, "failed": failed})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_field")
    assert hint in response.text


@pytest.mark.parametrize(
    ("files", "data", "status", "hint"),
    [
        ({"depth_1": PNG}, {}, 422, "depth_0"),
        ({"depth": PNG}, {}, 422, "depth_N"),
        ({f"depth_{number}": b"x" for number in range(100)}, {}, 413, "at most 64"),
    ],
)
def test_a_bad_batch_is_refused_with_help(server: Running, files: dict, data: dict, status: int, hint: str) -> None:
    response = batch(server, files, **data)
    assert response.status_code == status, response.text
    assert hint in response.json()["error"]["message"]


def test_a_batch_of_no_form_is_415(server: Running) -> None:
    assert server.client.post("/predict_grasp/batch", content=PNG, headers={"content-type": "image/png"}).status_code == 415


def test_a_planner_without_a_dense_map_says_so(server: Running) -> None:
    service = server.service
    without = [
        name for name, planner in service.planners.items() if not draws_maps(planner) and name in service.planning.available()
    ]
    for name in without:
        hand = {"kind": min(service.planners[name].grippers)}
        refused = server.form({"camera": CAMERA, "planner": name, "gripper": hand}, path="/heatmap", depth=PNG)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_heatmap")
        plan = server.raw(options={"camera": CAMERA, "planner": name, "gripper": hand, "return_heatmap": True}).json()
        assert plan["heatmap_png"] is None
        assert "dense map" in plan["warnings"][-1]


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a colour network, whose dense map costs little."""
    models = tmp_path_factory.mktemp("models")
    publish(models, "heatmap", 0, architecture="mobileunet")
    with serving(settings(models)) as running:
        yield running


def test_a_dense_map_comes_as_numbers_or_as_a_picture(colour: Running) -> None:
    options = {"planner": "heatmap", "camera": CAMERA}
    numbers = colour.form(options, path="/heatmap", rgb=RGB_PNG)
    assert numbers.status_code == 200, numbers.text
    assert (numbers.headers["x-planner"], numbers.headers["x-model-version"]) == ("heatmap", "1")
    maps = np.load(io.BytesIO(numbers.content))
    assert maps.dtype == np.float32
    assert maps.shape[1:] == DEPTH.shape
    assert 0 <= maps.min() <= maps.max() <= 1
    files, data = {"rgb": ("c.png", RGB_PNG)}, {"request": json.dumps(options)}
    picture = colour.client.post("/heatmap", files=files, data=data, headers={"accept": "image/png"})
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (320, 240)
    assert colour.client.post("/heatmap", files=files, data=data, headers={"accept": "text/html"}).status_code == 406
    plan = colour.form({**options, "return_heatmap": True}, rgb=RGB_PNG).json()
    assert Image.open(io.BytesIO(base64.b64decode(plan["heatmap_png"]))).size == (320, 240)
    remembered = colour.service.planning.recent.find("127.0.0.1", plan["request_id"])
    assert remembered is not None
    assert remembered.plan.heatmap_png is None


def payload(depth: np.ndarray, **changes: Any) -> dict:
    data = base64.b64encode(np.ascontiguousarray(depth, "<f4").tobytes()).decode()
    return {"shape": [*depth.shape, 1], "dtype": "float32", "data": data, **changes}


def scene_of_their_camera() -> np.ndarray:
    depth = np.full(CAMERA_SIZE, 0.7, np.float32)
    depth[160:230, 240:262] = 0.65
    return depth


def test_the_dexrl_payload_gets_the_dexrl_reply(server: Running) -> None:
    response = server.client.post("/process", json=payload(scene_of_their_camera()))
    assert response.status_code == 200, response.text
    reply = response.json()
    assert set(reply) == {"shape", "dtype", "data"}
    table = np.frombuffer(bytes.fromhex(reply["data"]), reply["dtype"]).reshape(reply["shape"])
    assert 1 <= len(table) <= 10
    assert table.shape[1] == 5
    assert (np.diff(table[:, 4]) <= 0).all(), "sorted by quality, best first"
    x, y, z, angle, _ = table[0]
    assert abs(x - (250.5 - 255.5) * 0.65 / 552.5) < 0.01
    assert abs(y - (194.5 - 191.75) * 0.65 / 552.5) < 0.04
    assert 0.64 < z < 0.70
    assert abs(angle) < 0.3


def test_another_size_needs_its_camera(server: Running) -> None:
    refused = server.client.post("/process", json=payload(DEPTH))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_camera")
    options = {"request": json.dumps({"camera": CAMERA, "n_grasps": 3, "gripper": {"max_width": 0.08}})}
    assert server.client.post("/process", json=payload(DEPTH), params=options).json()["shape"] == [3, 5]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"data": "%%%"}, 400),
        ({"data": "é"}, 400),
        ({"data": ""}, 400),
        ({"shape": [5, 5, 1]}, 422),
        ({"dtype": "float64"}, 422),
        ({"mask": 1}, 422),
    ],
)
def test_bad_dexrl_payloads(server: Running, changes: dict, status: int) -> None:
    response = server.client.post("/process", json=payload(scene_of_their_camera(), **changes))
    assert response.status_code == status, response.text


def infer(server: Running, body: dict, *tensors: bytes, path: str = "antipodal") -> httpx.Response:
    head = json.dumps(body).encode()
    headers = {"inference-header-content-length": str(len(head))} if tensors else {}
    return server.client.post(f"/v2/models/{path}/infer", content=head + b"".join(tensors), headers=headers)


DEPTH_INPUT = {"name": "depth", "shape": list(DEPTH.shape), "datatype": "FP32"}
PARAMETERS = {"request": json.dumps({"camera": CAMERA})}


def test_inference_protocol_with_numbers(server: Running) -> None:
    body = {"id": "7", "parameters": PARAMETERS, "inputs": [{**DEPTH_INPUT, "data": DEPTH.ravel().tolist()}]}
    response = infer(server, body)
    assert response.status_code == 200, response.text
    reply = response.json()
    assert (reply["model_name"], reply["id"]) == ("antipodal", "7")
    outputs = {output["name"]: output for output in reply["outputs"]}
    plan = GraspPlan.model_validate(server.raw().json())
    assert outputs["quality"]["data"] == pytest.approx([grasp.quality for grasp in plan.grasps], abs=1e-5)
    assert outputs["pose_camera"]["shape"] == [len(plan.grasps), 4, 4]


def test_inference_protocol_with_bytes(server: Running) -> None:
    tensor = {**DEPTH_INPUT, "parameters": {"binary_data_size": DEPTH.nbytes}}
    body = {"parameters": {**PARAMETERS, "binary_data_output": True}, "inputs": [tensor]}
    response = infer(server, body, DEPTH.tobytes(), path="dense/versions/1")
    assert response.status_code == 200, response.text
    length = int(response.headers["inference-header-content-length"])
    reply = json.loads(response.content[:length])
    assert reply["model_version"] == "1"
    first = reply["outputs"][0]
    quality = np.frombuffer(response.content[length : length + first["parameters"]["binary_data_size"]], "<f4")
    assert len(quality) == first["shape"][0] > 0
    assert (np.diff(quality) <= 0).all()


def test_inference_protocol_describes_itself(server: Running) -> None:
    get = server.client.get
    assert get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert get("/v2/health/live").status_code == get("/v2/health/ready").status_code == 200
    dense = get("/v2/models/dense").json()
    assert dense["versions"] == ["1"]
    assert [each["name"] for each in dense["inputs"]] == ["depth", "segmask", "goal"]
    assert get("/v2/models/dense/versions/1/ready").json()["ready"]
    for path in ("nothing", "dense/versions/9", "nothing/ready", "dense/versions/9/ready"):
        assert get(f"/v2/models/{path}").status_code == 404


@pytest.mark.parametrize(
    ("body", "tensors", "hint"),
    [
        ({"inputs": []}, (), "inputs"),
        ({"inputs": [{**DEPTH_INPUT, "data": [1.0, 2.0]}]}, (), "shape"),
        ({"inputs": [{**DEPTH_INPUT, "data": [["a"]]}]}, (), "shape"),
        ({"inputs": [{**DEPTH_INPUT, "datatype": "UINT8", "data": []}]}, (), "UINT16 or FP32"),
        ({"inputs": [{**DEPTH_INPUT, "parameters": {"binary_data_size": 8}}]}, (b"12345678",), "binary_data_size"),
        ({"inputs": [{**DEPTH_INPUT, "shape": [2, 2], "data": [0.5] * 4}]}, (b"extra",), "follow"),
        ({"inputs": [{**DEPTH_INPUT, "shape": [-2, -2], "data": []}]}, (), "shape"),
        ({"inputs": [{**DEPTH_INPUT, "shape": [2, 2], "data": [0.5] * 4}] * 2}, (), "twice"),
        ({"inputs": [{"name": "segmask", "shape": [2, 2], "datatype": "BOOL", "data": [1] * 4}]}, (), "depth and rgb"),
        ({"parameters": {"request": "{"}, "inputs": [{**DEPTH_INPUT, "data": []}]}, (), "shape"),
    ],
)
def test_bad_inference_requests(server: Running, body: dict, tensors: tuple, hint: str) -> None:
    response = infer(server, body, *tensors)
    assert response.status_code == 422, response.text
    assert hint in response.json()["error"]["message"]
