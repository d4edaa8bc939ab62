import json

import numpy as np
import pytest

from grasp_client.cli.input_files import read_camera, read_gripper, read_pose
from grasp_client.contract import CameraIntrinsics

CAMERA = CameraIntrinsics(fx=552.5, fy=553.0, cx=255.5, cy=191.75)
K = [[552.5, 0, 255.5], [0, 553.0, 191.75], [0, 0, 1]]
POSE = [[0.0, -1.0, 0.0, 0.4], [-1.0, 0.0, 0.0, -0.1], [0.0, 0.0, -1.0, 0.8], [0.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "content",
    [
        {"fx": 552.5, "fy": 553.0, "cx": 255.5, "cy": 191.75},
        {"_fx": 552.5, "_fy": 553.0, "_cx": 255.5, "_cy": 191.75, "_width": 516, "_K": 0, "_frame": "phoxi"},
        {"K": K},
        {"k": np.ravel(K).tolist(), "width": 516},
    ],
)
def test_intrinsics_files(tmp_path, content):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(content))
    assert read_camera(str(path)) == CAMERA


def test_intrinsics_as_numbers():
    assert read_camera("552.5,553,255.5,191.75") == CAMERA
    assert read_camera("552.5 553 255.5, 191.75") == CAMERA


@pytest.mark.parametrize(
    "content", ["{}", "[1, 2]", "fx = 3", '{"fx": 1, "fy": 1, "cx": 0}', '{"K": [1, 2]}', '{"fx": "wide"}']
)
def test_other_intrinsics_files_say_what_is_expected(tmp_path, content):
    path = tmp_path / "camera.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="expected fx,fy,cx,cy"):
        read_camera(str(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pose.json", json.dumps(POSE)),
        ("pose.txt", "\n".join(" ".join(map(str, row)) for row in POSE) + "\n\n"),
        ("pose.csv", "\n".join(",".join(map(str, row)) for row in POSE)),
        ("camera.tf", "camera\nworld\n0.4 -0.1 0.8\n0 -1 0\n-1 0 0\n0 0 -1\n"),
    ],
)
def test_pose_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert read_pose(path) == POSE


@pytest.mark.parametrize(("name", "content"), [("pose.txt", "1 2 3"), ("camera.tf", "a\nb\n1 2 3"), ("pose.json", "[[1,")])
def test_other_pose_files_say_what_is_expected(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match="expected 4x4 numbers"):
        read_pose(path)


def test_gripper_from_text_and_file(tmp_path):
    path = tmp_path / "hand.json"
    path.write_text('{"kind": "suction", "cup_radius": 0.02}')
    assert read_gripper(str(path)).cup_radius == 0.02
    assert read_gripper(' {"max_width": 0.05}').max_width == 0.05
