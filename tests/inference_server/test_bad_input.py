"""Whatever is sent, the contract's status and a message that says what would be right."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import CAMERA, DEPTH, NPY, PNG, RGB_PNG, Running, raw_headers

from grasp_client.imaging import encode_npy

Send = Callable[[Running], httpx.Response]


def body(data: bytes, media_type: str) -> Send:
    return lambda server: server.client.post("/predict_grasp", content=data, headers={"content-type": media_type})


def form(options: Any = None, **images: bytes) -> Send:
    return lambda server: server.form(options, **images)


def with_options(**options: Any) -> Send:
    return lambda server: server.raw(options={"camera": CAMERA, **options})


def post(path: str, data: bytes, headers: dict[str, str]) -> Send:
    return lambda server: server.client.post(path, content=data, headers=headers)


def raw(data: bytes = DEPTH.tobytes(), **headers: str) -> Send:
    return lambda server: server.client.post("/predict_grasp", content=data, headers={**raw_headers(), **headers})


def grey_png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((60, 80), 100, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def huge_png() -> bytes:
    """A PNG whose header announces 100 megapixels, 16-bit grey."""
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 16, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def not_rigid() -> list[list[float]]:
    pose = np.eye(4)
    pose[0, 0] = 2.0
    return pose.tolist()


def transposed() -> list[list[float]]:
    pose = np.eye(4)
    pose[3, 0] = 0.1
    return pose.tolist()


CUT = b'--x\r\nContent-Disposition: form-data; name="depth"\r\n\r\nab'

CASES: dict[str, tuple[Send, int, str]] = {
    "empty body": (body(b"", "image/png"), 400, "empty"),
    "empty raw body": (raw(b""), 400, "empty"),
    "text": (body(b"hello grasp", "image/png"), 400, "png"),
    "text in a form": (form(depth=b"hello grasp"), 400, "starts with"),
    "truncated PNG": (form(depth=PNG[: len(PNG) // 2]), 400, "cut off"),
    "truncated npy": (form(depth=NPY[:-100]), 400, "cut off"),
    "8-bit depth": (form(depth=grey_png()), 422, "8-bit"),
    "colour as depth": (form(depth=RGB_PNG), 422, "colour"),
    "depth as colour": (form(rgb=PNG), 422, "16-bit"),
    "NaN-only depth": (form(depth=encode_npy(np.full((60, 80), np.nan, np.float32))), 422, "no reading"),
    "zero depth": (form(depth=encode_npy(np.zeros((60, 80), np.float32))), 422, "no reading"),
    "float millimetres": (form(depth=encode_npy(DEPTH * 1000)), 422, "millimetres"),
    "integer depth": (form(depth=encode_npy(np.ones((60, 80), np.int8))), 422, "16 bits"),
    "pickle": (form(depth=encode_npy(np.zeros((4, 4), "U1"))), 422, "numbers"),
    "wrong X-Shape": (raw(**{"x-shape": "100,100"}), 422, "bytes"),
    "nonsense X-Shape": (raw(**{"x-shape": "-1,1e9"}), 422, "480,640"),
    "absurd X-Shape": (raw(**{"x-shape": "999999,999999"}), 413, "pixels"),
    "wrong X-Dtype": (raw(**{"x-dtype": "float16"}), 422, "uint16"),
    "no X-Shape": (body(b"abcd", "application/octet-stream"), 422, "X-Shape"),
    "PNG as octet-stream": (body(PNG, "application/octet-stream"), 415, "image/png"),
    "100 megapixels": (form(depth=huge_png()), 413, "pixels"),
    "unknown field": (with_options(colour="red"), 422, "request.colour: unknown field 'colour'; allowed: views, camera, "),
    "misspelt field": (with_options(planer="dense"), 422, "unknown field 'planer'; did you mean 'planner'? allowed: views, "),
    "misspelt field of a field": (
        with_options(gripper={"max_widht": 0.05}), 422, "max_widht: unknown field 'max_widht'; did you mean 'max_width'?",
    ),
    "zero focal length": (with_options(camera={**CAMERA, "fx": 0}), 422, "request.camera.fx"),
    "infinite focal length": (raw(**{"x-request": '{"camera": {"fx": 1e999, "fy": 1, "cx": 0, "cy": 0}}'}), 422, "camera.fx"),
    "not JSON": (raw(**{"x-request": "{planner: dense}"}), 422, "JSON"),
    "deep JSON": (raw(**{"x-request": "[" * 5000}), 422, "request"),
    "non-rigid camera_pose": (with_options(camera_pose=not_rigid()), 422, "rigid"),
    "transposed camera_pose": (with_options(camera_pose=transposed()), 422, "transposed"),
    "ragged camera_pose": (with_options(camera_pose=[[1, 0], [0, 1]]), 422, "camera_pose"),
    "unknown planner": (with_options(planner="magic"), 404, "antipodal"),
    "gripper wider than possible": (with_options(gripper={"max_width": 3.0}), 422, "max_width"),
    "gripper that cannot close": (with_options(gripper={"min_width": 0.09}), 422, "min_width"),
    "wrong gripper for the planner": (with_options(planner="antipodal", gripper={"kind": "suction"}), 422, "suction"),
    "region outside": (with_options(region=[5000, 5000, 5100, 5100]), 422, "320 x 240"),
    "region upside down": (with_options(region=[100, 100, 50, 50]), 422, "u0 < u1"),
    "too many grasps": (with_options(n_grasps=10**9), 422, "n_grasps"),
    "unknown version": (with_options(planner="dense", model_version=99), 404, "99"),
    "version of a planner without a model": (with_options(planner="antipodal", model_version=1), 422, "model_version"),
    "colour alone for a depth planner": (form({"planner": "antipodal"}, rgb=RGB_PNG), 422, "depth"),
    "no image": (form(segmask=grey_png()), 422, "depth"),
    "images of two sizes": (form(depth=PNG, rgb=encode_npy(np.zeros((10, 10, 3), np.uint8))), 422, "320 x 240"),
    "unknown part": (form(depth=PNG, image=PNG), 422, "'image'"),
    "urlencoded": (body(PNG, "application/x-www-form-urlencoded"), 415, "curl"),
    "no media type": (post("/predict_grasp", b"x" * 10, {}), 400, "PNG"),
    "OpenEXR": (form(depth=b"v/1\x01\x02\x00\x00\x00"), 415, "numpy.save('depth.npy'"),
    "OpenEXR by its media type": (body(b"v/1\x01\x02\x00\x00\x00", "image/x-exr"), 415, "numpy.save('depth.npy'"),
    "video": (body(b"....", "video/mp4"), 415, "image/png"),
    "multipart without boundary": (body(b"....", "multipart/form-data"), 400, "boundary"),
    "broken multipart": (body(b"--x\r\nnonsense", "multipart/form-data; boundary=x"), 400, "multipart"),
    "cut multipart": (body(CUT, "multipart/form-data; boundary=x"), 400, "cut off"),
    "options in the wrong place": (post("/predict_grasp?request={}", b"abcd", raw_headers()), 422, "X-Request"),
    "unknown query": (post("/predict_grasp?planner=dense", PNG, {"content-type": "image/png"}), 422, "planner"),
    "bad deadline": (raw(**{"x-deadline-ms": "soon"}), 422, "X-Deadline-Ms"),
    "negative deadline": (raw(**{"x-deadline-ms": "-5"}), 422, "X-Deadline-Ms"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_with_help(server: Running, case: str) -> None:
    send, status, hint = CASES[case]
    response = send(server)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"].isascii()
    assert hint in error["message"], error
    assert "Traceback" not in response.text
    assert response.headers["x-request-id"]


def test_a_plain_path_instead_of_a_file_is_explained(server: Running) -> None:
    response = server.client.post("/predict_grasp", files={"depth": (None, "depth.png")})
    assert response.status_code == 400
    assert "@FILE" in response.json()["error"]["message"]


def test_wrong_address_and_method_come_in_the_same_shape(server: Running) -> None:
    lost = server.client.get("/predict")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "not_found")
    wrong = server.client.get("/predict_grasp")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


def test_each_wrong_field_is_named(server: Running) -> None:
    response = server.raw(options={"n_grasps": 0, "min_quality": 2, "depth_scale": -1})
    fields = {problem["field"] for problem in response.json()["error"]["detail"]}
    assert fields == {"request.n_grasps", "request.min_quality", "request.depth_scale"}
    assert json.loads(response.content)["error"]["code"] == "invalid_field"


def test_a_refusal_by_our_own_check_is_told_without_the_name_of_an_exception(server: Running) -> None:
    error = server.raw(options={"region": [5, 0, 4, 9]}).json()["error"]
    assert "Value error" not in error["message"]
    assert "Value error" not in error["detail"][0]["message"]
    assert error["message"].startswith("request.region: ")


def test_a_fault_of_a_planner_is_a_500_without_details_and_the_connection_lives_on(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(items: Any, network: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(server.service.planners["antipodal"], "plan_batch", fails)
    response = server.raw()
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in response.text
    assert response.headers["x-request-id"]
    assert server.client.get("/live").status_code == 200


def test_a_focal_length_of_another_unit_is_explained(server: Running) -> None:
    response = server.raw(options={"camera": {"fx": 1e6, "fy": 1e6, "cx": 0, "cy": 0}})
    assert response.status_code == 422
    assert "pixels" in response.json()["error"]["message"]
