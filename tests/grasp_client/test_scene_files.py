"""Files with clouds and segments on the command line: what is read of them, and what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from grasp_client.cli import predict
from grasp_client.cli.scene_files import Source, read_cloud, read_scene, segments_in
from grasp_client.cloud_picture import CloudPicture
from grasp_client.contract import Grasp, GraspPlan, PlanRequest
from grasp_client.imaging import decode_rgb
from grasp_client.observation import Observation

POINTS = (np.random.default_rng(0).uniform(-0.1, 0.1, (300, 3)) + np.array([0.02, 0.01, 0.6])).astype(np.float32)
POSE = [[0.0, 1.0, 0.0, 0.05], [-1.0, 0.0, 0.0, 0.02], [0.0, 0.0, 1.0, 0.6], [0.0, 0.0, 0.0, 1.0]]
GRASP = Grasp(kind="parallel_jaw", quality=0.9, center_px=[0, 0], angle=0, width=0.05, pose_camera=POSE)
PLY = b"ply\nformat binary_little_endian 1.0\nelement vertex 9\n" + b"".join(b"property float %c\n" % axis for axis in b"xyz")
PCD = "# .PCD v.7\nVERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 300\nHEIGHT 1\nPOINTS 300\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Observation, PlanRequest]]:
    """What the client is asked; the working folder is empty."""
    got: list[tuple[Observation, PlanRequest]] = []

    def plan(_: object, observation: Observation, request: PlanRequest) -> GraspPlan:
        got.append((observation, request))
        return GraspPlan(planner="dense", grasps=[GRASP])

    monkeypatch.setattr("grasp_client.client.GraspClient.plan", plan)
    monkeypatch.chdir(tmp_path)
    return got


def test_clouds_of_every_kind_of_file_are_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", POINTS)
    mesh: Any = trimesh.PointCloud(POINTS)
    (tmp_path / "b.ply").write_bytes(trimesh.exchange.ply.export_ply(mesh))
    (tmp_path / "a.ply").write_bytes(trimesh.exchange.ply.export_ply(mesh, encoding="ascii"))
    rows = "\n".join(f"{x:.8f} {y:.8f} {z:.8f} 0" for x, y, z in POINTS)
    (tmp_path / "a.pcd").write_text(PCD + "DATA ascii\n" + rows + "\n")
    table = np.hstack([POINTS, np.zeros((300, 1), np.float32)])
    (tmp_path / "b.pcd").write_bytes((PCD + "DATA binary\n").encode() + table.astype("<f4").tobytes())
    for name in ("c.npy", "b.ply", "a.ply", "a.pcd", "b.pcd"):
        found = read_cloud(tmp_path / name)
        assert found is not None
        np.testing.assert_allclose(found, POINTS, atol=1e-6, err_msg=name)
    np.save(tmp_path / "depth.npy", np.ones((48, 64), np.float32))
    assert read_cloud(tmp_path / "depth.npy") is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nend_header\n1\n2\n"),
        ("a.ply", b"no ply"),
        ("a.ply", PLY + b"end_header\n1"),
        ("a.pcd", (PCD + "DATA binary_compressed\n").encode()),
        ("a.pcd", (PCD + "DATA ascii\n1 2\n").encode()),
        ("a.pcd", b""),
    ],
)  # fmt: skip
def test_broken_clouds_say_what_is_expected(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match="expected"):
        read_cloud(tmp_path / name)


def test_a_cloud_is_sent_with_its_scene_and_drawn_from_above(asked: list[Any], tmp_path: Path) -> None:
    np.save("thing.npy", POINTS[:200])
    np.save("scene.npy", POINTS)
    arguments = ["thing.npy", "--scene-points", "scene.npy", "--viewpoint", "0,0,0", "--ply", "out.ply"]
    assert predict.main(arguments) == 0
    [(observation, request)] = asked
    np.testing.assert_array_equal(observation.points, POINTS[:200])
    np.testing.assert_array_equal(observation.scene_points, POINTS)
    assert request.viewpoint == [0.0, 0.0, 0.0]
    assert decode_rgb((tmp_path / "thing_grasps.png").read_bytes()).shape[1] > 500
    drawn: Any = trimesh.load(tmp_path / "out.ply", process=False)
    assert len(drawn.vertices) == 500 + 5 * 8


def test_in_the_picture_a_grasp_lies_over_its_place() -> None:
    picture = CloudPicture(POINTS)
    [seen] = picture.seen(
        [
            GRASP,
        ]
    )
    depth = 1.5 + 0.6 - np.median(POINTS[:, 2])
    middle = np.median(POINTS[:, :2], axis=0)
    k = picture.camera
    expected = [k.fx * (0.05 - middle[0]) / depth + k.cx, k.fy * (0.02 - middle[1]) / depth + k.cy]
    assert seen.center_px == pytest.approx(expected, abs=0.5)
    assert abs(seen.angle) == pytest.approx(np.pi / 2, abs=0.02)
    assert seen.width_px == pytest.approx(k.fx * 0.05 / depth, rel=0.01)
    rows, columns = np.nonzero(picture.depth)
    assert min(rows.min(), columns.min()) >= 0
    assert len(rows) >= 150


def test_an_npz_with_depth_and_segments_is_a_row_for_each(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    depth = np.full((48, 64), 0.7, np.float32)
    segmap = np.zeros((48, 64), np.uint8)
    segmap[10:20, 10:20], segmap[30:40, 30:40] = 3, 7
    K = np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])
    np.savez("scene.npz", depth=depth, K=K, segmap=segmap, rgb=np.zeros((48, 64, 3), np.uint8), name=np.array("x"))
    assert predict.main(["scene.npz", "--json"]) == 0
    assert [request.camera.fx for _, request in asked] == [60.0, 60.0]
    assert [int(observation.segmask.sum()) for observation, _ in asked] == [100, 100]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["segment"] for line in lines] == [3, 7]
    assert predict.main(["scene.npz"]) == 0
    assert "scene.npz#7" in capsys.readouterr().out


def test_an_npz_with_a_cloud_is_seen_from_its_own_camera(asked: list[Any]) -> None:
    np.savez("cloud.npz", xyz=POINTS, segmap=np.repeat([0, 1, 2], 100))
    assert [source.segment for source in segments_in(Path("cloud.npz"))] == [1, 2]
    arrays, told = read_scene(Source(Path("cloud.npz"), 2)) or ({}, {})
    np.testing.assert_array_equal(arrays["points"], POINTS[200:])
    assert told == {"viewpoint": [0.0, 0.0, 0.0]}
    assert predict.main(["cloud.npz", "--overlay", "none"]) == 0
    assert len(asked) == 2
    np.savez("odd.npz", xyz=POINTS, segmap=np.arange(7))
    assert predict.main(["odd.npz", "--overlay", "none"]) == 2
