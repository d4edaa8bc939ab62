"""Intrinsics as cameras, drivers and calibration programs write them."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from grasp_client.cli.camera_files import read_camera
from grasp_client.contract import CameraIntrinsics

CAMERA = CameraIntrinsics(fx=552.5, fy=553.0, cx=255.5, cy=191.75)
SIZED = CAMERA.model_copy(update={"width": 516, "height": 386})
K: list[list[float]] = [[552.5, 0, 255.5], [0, 553.0, 191.75], [0, 0, 1]]
FLAT = [value for row in K for value in row]
SIZE: dict[str, Any] = {"width": 516, "height": 386}
LENS = [0.1, -0.2, 0.001, 0.002, 0.05]

PINHOLE: dict[str, float] = {"fx": 552.5, "fy": 553.0, "cx": 255.5, "cy": 191.75}
REALSENSE = {"fx": 552.5, "fy": 553.0, "ppx": 255.5, "ppy": 191.75, "model": "brown_conrady", "coeffs": [0] * 5}
ROS = {"header": {"frame_id": "c"}, "K": FLAT, "D": [0.0] * 5, "distortion_model": "plumb_bob", "P": [0] * 12}
ROS_FILE = {"image_width": 516, "image_height": 386, "camera_name": "c", "camera_matrix": {"rows": 3, "cols": 3, "data": FLAT}}
KALIBR = {"camera_model": "pinhole", "intrinsics": [552.5, 553.0, 255.5, 191.75], "resolution": [516, 386]}
INTR = {**{f"_{name}": value for name, value in PINHOLE.items()}, "_K": 0, "_skew": 0.0, "_frame": "phoxi"}
FORMS: dict[str, tuple[dict[str, Any], CameraIntrinsics]] = {
    "own": (PINHOLE, CAMERA),
    "matrix": ({"K": K}, CAMERA),
    "flat matrix": ({"k": FLAT, **SIZE}, SIZED),
    "intr": (INTR, CAMERA),
    "realsense": ({**REALSENSE, **SIZE}, SIZED),
    "open3d": ({"intrinsic_matrix": np.array(K).T.ravel().tolist(), **SIZE}, SIZED),
    "bop": ({"cam_K": FLAT, "depth_scale": 0.1}, CAMERA),
    "ros camera_info": ({**ROS, **SIZE}, SIZED),
    "ros calibration": (ROS_FILE, SIZED),
    "kalibr": (KALIBR, SIZED),
}
INFO_YAML = """
header:
  frame_id: c
K: [552.5, 0.0, 255.5, 0.0, 553.0, 191.75, 0.0, 0.0, 1.0]
D: [0, 0, 0, 0, 0]
"""
OPENCV_YAML = """%YAML:1.0
---
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 552.5, 0., 255.5, 0., 553., 191.75, 0., 0., 1. ]
"""
KALIBR_YAML = """
cam0:
  camera_model: pinhole
  intrinsics: [552.5, 553.0, 255.5, 191.75]
  distortion_model: none
"""


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_intrinsics_are_read(form):
    given, expected = FORMS[form]
    assert CameraIntrinsics.model_validate(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"K": FLAT, "D": LENS, "distortion_model": "plumb_bob"},
        {"K": FLAT, "distortion": LENS},
        {**PINHOLE, "k1": 0.1, "k2": -0.2, "p1": 0.001, "p2": 0.002, "k3": 0.05, "k4": 0.0, "k5": 0.0, "k6": 0.0},
        {"camera_matrix": FLAT, "distortion_coefficients": {"rows": 1, "cols": 5, "data": LENS}},
        {"intrinsics": [552.5, 553.0, 255.5, 191.75], "distortion_coeffs": LENS, "distortion_model": "radtan"},
    ],
)
def test_distortion_is_read(given):
    assert CameraIntrinsics.model_validate(given).distortion[:5] == LENS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"K": [1, 2]}, "nine numbers"),
        ({"K": np.array(K).T.tolist()}, "expected .*fx, 0, cx"),
        ({"K": FLAT, "D": LENS, "distortion_model": "equidistant"}, "equidistant"),
        ({"K": FLAT, "D": [1, 2, 3]}, "4, 5 or 8"),
        ({"K": FLAT, "focus": 3}, "Extra inputs"),
        ({"fx": 500, "fy": 500, "cx": 3}, "Field required"),
        ({"K": "wide"}, "expected numbers"),
        ({"K": [[None] * 3] * 3}, "expected numbers"),
    ],
)
def test_what_is_no_camera_is_refused_with_a_reason(given, said):
    with pytest.raises(ValidationError, match=said):
        CameraIntrinsics.model_validate(given)


def test_intrinsics_of_another_resolution_are_scaled():
    camera = CameraIntrinsics(fx=1000, fy=1000, cx=639.5, cy=359.5, width=1280, height=720).fitted(360, 640)
    assert (camera.fx, camera.cx, camera.cy, camera.width) == (500, 319.5, 179.5, None)


def test_intrinsics_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="1280 x 720"):
        CameraIntrinsics(fx=1000, fy=1000, cx=639.5, cy=359.5, width=1280, height=720).fitted(480, 640)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("camera.json", json.dumps({"K": K})),
        ("camera.json", json.dumps(K)),
        ("camera.intr", json.dumps(INTR)),
        ("scene_camera.json", json.dumps({"0": {"cam_K": FLAT}, "1": {"cam_K": FLAT}})),
        ("nested.json", json.dumps({"serial": "f12", "color": {"intrinsics": PINHOLE}})),
        ("info.yaml", INFO_YAML),
        ("cv.yml", OPENCV_YAML),
        ("kalibr.yaml", KALIBR_YAML),
        ("k.txt", "552.5 0 255.5\n0 553 191.75\n0 0 1\n"),
    ],
)
def test_files_of_intrinsics_are_read(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert read_camera(str(path)) == CAMERA


def test_a_matrix_as_npy_is_read(tmp_path):
    np.save(tmp_path / "K.npy", np.array(K))
    assert read_camera(str(tmp_path / "K.npy")) == CAMERA


def test_intrinsics_as_numbers():
    assert read_camera("552.5,553,255.5,191.75") == CAMERA
    assert read_camera("552.5 553 255.5, 191.75") == CAMERA


@pytest.mark.parametrize(
    "content", ["{}", "[1, 2]", "fx = 3", '{"fx": 1, "fy": 1, "cx": 0}', '{"K": [1, 2]}', '{"fx": "wide"}', "", "\x00\xff"]
)
@pytest.mark.parametrize("name", ["camera.json", "camera.yaml", "camera.npy"])
def test_other_files_say_what_is_expected(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match="expected fx,fy,cx,cy"):
        read_camera(str(path))


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match="no such file"):
        read_camera("nowhere.json")
