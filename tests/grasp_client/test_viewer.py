"""A scene in three dimensions: what is in it, and what other programs read of it."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from grasp_client.cli.predict import main
from grasp_client.contract import CameraIntrinsics, Grasp, GraspPlan, Gripper, RefusedGrasp
from grasp_client.drawing import REFUSED
from grasp_client.observation import Observation
from grasp_client.viewer import Scene3D, glb_bytes, ply_bytes, scene_of, view_page
from grasp_client.viewer.page import FOLDER, MODULES
from grasp_client.viewer.scene_geometry import hand_boxes

CAMERA = CameraIntrinsics(fx=100.0, fy=100.0, cx=9.5, cy=7.5)
POSE = [[1.0, 0.0, 0.0, 0.01], [0.0, 1.0, 0.0, 0.02], [0.0, 0.0, 1.0, 0.6], [0.0, 0.0, 0.0, 1.0]]


def grasp(kind: str = "parallel_jaw", **changes: object) -> Grasp:
    values = {"quality": 0.9, "center_px": [4.0, 5.0], "angle": 0.0, "depth": 0.6, "width": 0.04, "pose_camera": POSE}
    return Grasp.model_validate({"kind": kind, **values, **changes})


@pytest.fixture
def scene() -> Scene3D:
    depth = np.full((16, 20), 0.7, np.float32)
    depth[0, 0] = 0
    return scene_of(Observation(depth=depth), CAMERA, [grasp(), grasp(pose_camera=None)], Gripper())


def test_points_are_those_of_the_pinhole_camera(scene: Scene3D) -> None:
    assert len(scene.points) == len(scene.colours) == 16 * 20 - 1
    assert np.allclose(scene.points[0], [(1 - 9.5) * 0.7 / 100, -7.5 * 0.7 / 100, 0.7])
    assert len(scene.grasps) == 1  # the other one has no metric pose


def test_a_jaw_is_open_between_its_fingers_and_ends_at_its_tips() -> None:
    gripper = Gripper()
    boxes = [(centre - size / 2, centre + size / 2) for _, size, centre in hand_boxes(gripper, grasp())]
    assert len(boxes) == 5
    fingers = boxes[1:]
    assert min(abs(low[0]) for low, high in fingers if high[0] > 0) == pytest.approx(0.02)
    assert max(high[2] for _, high in fingers) == pytest.approx(0)
    assert boxes[0][1][2] == pytest.approx(-gripper.finger_depth)
    [(_, size, centre)] = hand_boxes(gripper, grasp("suction"))
    assert (size[0], centre[2] + size[2] / 2) == pytest.approx((2 * gripper.cup_radius, 0))


def test_of_a_refused_hand_the_part_that_meets_something_is_red() -> None:
    refused = RefusedGrasp(**dict(grasp(quality=0.0)), reason="collision", part="finger_left", obstacle_camera=[0, 0, 0.6])
    scene = scene_of(Observation(depth=np.full((16, 20), 0.7, np.float32)), CAMERA, [], Gripper(), [refused])
    assert {tuple(tint) for tint in scene.tints} == {REFUSED}
    assert scene.vertices[:, 0].max() < POSE[0][3]  # the closing axis is the camera's x, and the left finger is before it
    whole = scene_of(
        Observation(depth=np.full((16, 20), 0.7, np.float32)),
        CAMERA,
        [],
        Gripper(),
        [refused.model_copy(update={"part": None, "reason": "region"})],
    )
    assert len(whole.vertices) == 8 * 5
    assert '"reason": "collision"' in view_page(scene, "why")


@pytest.mark.parametrize(("kind", "make"), [("ply", ply_bytes), ("glb", glb_bytes)])
def test_other_programs_read_the_files(scene: Scene3D, kind: str, make: Callable[[Scene3D], bytes]) -> None:
    loaded: Any = trimesh.load(io.BytesIO(make(scene)), file_type=kind, process=False)
    corners = np.array(loaded.bounds if kind == "glb" else [loaded.vertices.min(0), loaded.vertices.max(0)])
    if kind == "glb":
        corners = np.sort(corners * [1, -1, -1], axis=0)
        hands = next(each for each in loaded.geometry.values() if isinstance(each, trimesh.Trimesh))
        assert len(hands.faces) == 5 * 12
        assert hands.volume > 0  # faces look outwards
    expected = np.concatenate([scene.points, scene.vertices])
    assert np.allclose(corners, [expected.min(0), expected.max(0)], atol=1e-5)


def test_a_scene_without_grasps_is_a_file_too() -> None:
    empty = scene_of(Observation(depth=np.full((4, 4), 0.5, np.float32)), CAMERA, [], Gripper())
    loaded: Any = trimesh.load(io.BytesIO(glb_bytes(empty)), file_type="glb")
    assert len(loaded.geometry) == 1
    assert b"element face 0" in ply_bytes(empty)


def test_the_page_needs_nothing_else(scene: Scene3D) -> None:
    page = view_page(scene, "</script><b>")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["title"] == "</script><b>"
    imports = json.loads(re.search(r'importmap">(.*?)</script>', page, re.DOTALL)[1])["imports"]
    asked = set(
        re.findall(r'from ["\']([^"\']+)["\']', "".join((FOLDER / path).read_text() for path in MODULES.values()) + page)
    )
    assert asked <= set(imports)
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    for values, dtype, told in ((scene.points, "<u2", "positions"), (scene.colours, "u1", "colours")):
        differences = np.frombuffer(zlib.decompress(base64.b64decode(data[told])), dtype).reshape(3, -1)
        back = np.cumsum(differences, axis=1, dtype=dtype).T
        if told == "positions":
            assert np.abs(np.array(data["lowest"]) + np.array(data["step"]) * back - values).max() < 1e-4
        else:
            assert (back == values).all()


def test_the_command_line_writes_all_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    depth, opened = tmp_path / "depth.npy", []
    np.save(depth, np.full((16, 20), 0.7, np.float32))
    plan = GraspPlan(request_id="r", planner="antipodal", grasps=[grasp()], rejections={}, timings_ms={})
    monkeypatch.setattr("grasp_client.client.GraspClient.plan", lambda client, observation, request: plan)
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    files = [f"--{kind}={tmp_path / kind}" for kind in ("ply", "glb")]
    common = [str(depth), "--overlay=none", "--view"]
    assert main([*common, *files, "--intrinsics=100,100,9.5,7.5"]) == 0
    assert (tmp_path / "ply").read_bytes().startswith(b"ply")
    assert (tmp_path / "glb").read_bytes().startswith(b"glTF")
    assert opened[0].endswith("grasps.html")
    assert main(common) == 2
    assert "need a depth image and --intrinsics" in capsys.readouterr().err
