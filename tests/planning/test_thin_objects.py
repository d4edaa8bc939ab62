"""Slabs thinner than the noise of a reading are sucked; what only looks a little raised is not."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from suction_scenes import CUP, surface_distances
from table_scenes import Box, Cylinder, camera, render
from test_real_scenes import SCENES, load

from grasp_client.contract import CameraIntrinsics, GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.suction.analytic import SuctionPlanner
from shared.maps.heightmap import project

VIEW = camera(480, 640, 560.0, tilt=0.2, turn=0.7)
WALLS = [Box(x, 0, 0, 0.004, 0.26, 0.05) for x in (-0.18, 0.18)] + [Box(0, y, 0, 0.36, 0.004, 0.05) for y in (-0.13, 0.13)]


def smooth(random: np.random.Generator, cell: float) -> np.ndarray:
    """Noise (480, 640) of unit variance that neighbours over about `cell` pixels share."""
    small = random.standard_normal((int(480 / cell) + 3, int(640 / cell) + 3)).astype(np.float32)
    values = cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)
    return values / values.std()


def noise(random: np.random.Generator, level: float) -> np.ndarray:
    """Noise of a stereo camera (480, 640), of standard deviation `level`, m."""
    return level * (0.8 * smooth(random, 4) + 0.6 * random.standard_normal((480, 640)))


def plan(depth: np.ndarray, intrinsics: CameraIntrinsics, pose: np.ndarray | None, **options: object) -> GraspPlan:
    told = None if pose is None else pose.tolist()
    request = PlanRequest(camera=intrinsics, camera_pose=told, gripper=CUP, **options)  # type: ignore[arg-type]
    [answer] = SuctionPlanner().plan_batch([(Observation(depth=depth.astype(np.float32)), request)], None)
    return answer


@pytest.mark.parametrize("thickness", [0.002, 0.003])
@pytest.mark.parametrize("level", [0.0, 0.0005, 0.0012])
def test_a_thin_slab_is_sucked_in_its_middle(thickness: float, level: float) -> None:
    random = np.random.default_rng(0)
    solids = [Box(0.04, -0.03, 0.4, 0.09, 0.055, thickness), Cylinder(-0.08, 0.05, 0.03, thickness)]
    answer = plan(render(VIEW, solids) + noise(random, level), VIEW.intrinsics, VIEW.pose)
    assert answer.grasps
    for grasp in answer.grasps:
        distances = surface_distances(grasp, solids, spread=0.9)
        assert np.isfinite(distances).all()
        assert np.abs(distances).max() <= 0.003 + 2 * level
        assert np.asarray(grasp.pose_base)[2, 2] < -math.cos(math.radians(8))


def test_a_thin_slab_is_found_in_a_bin() -> None:
    slab = Box(0.05, 0.02, 0.9, 0.08, 0.05, 0.003)
    depth = render(VIEW, [*WALLS, slab]) + noise(np.random.default_rng(1), 0.001)
    corners = np.array([(x, y) for x in (-0.17, 0.17) for y in (-0.12, 0.12)])
    answer = plan(depth, VIEW.intrinsics, VIEW.pose, region=region(corners))
    assert answer.grasps
    assert all(np.isfinite(surface_distances(grasp, [slab], spread=0.9)).all() for grasp in answer.grasps)


def region(corners: np.ndarray) -> list[float]:
    """[u0, v0, u1, v1] around points (N, 2) of the table in VIEW."""
    points = (np.column_stack([corners, np.zeros(len(corners))]) - VIEW.pose[:3, 3]) @ VIEW.pose[:3, :3]
    pixels = points[:, :2] / points[:, 2:] * VIEW.intrinsics.fx + [VIEW.intrinsics.cx, VIEW.intrinsics.cy]
    return [*pixels.min(0).tolist(), *pixels.max(0).tolist()]


@pytest.mark.parametrize("level", [0.0, 0.0005, 0.0012])
@pytest.mark.parametrize("walls", [[], WALLS], ids=["table", "bin"])
def test_an_empty_floor_gives_nothing_and_says_why(walls: list[Box], level: float) -> None:
    corners = np.array([(x, y) for x in (-0.165, 0.165) for y in (-0.115, 0.115)])
    for seed in range(3):
        depth = render(VIEW, walls) + noise(np.random.default_rng(seed), level)
        answer = plan(depth, VIEW.intrinsics, VIEW.pose, region=region(corners) if walls else None)
        assert answer.grasps == []
        assert answer.rejections["below_table"] > 0


@pytest.mark.parametrize("cell", [40, 80, 160])
def test_a_camera_that_bends_the_table_invents_no_slab(cell: float) -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        depth = render(VIEW, []) + 0.001 * np.clip(smooth(random, cell), -1.5, 1.5) + noise(random, 0.0003)
        assert plan(depth, VIEW.intrinsics, VIEW.pose).grasps == []


@pytest.mark.skipif(not SCENES, reason="no real depth images")
@pytest.mark.parametrize("path", [path for path in SCENES if "primesense" in str(path)], ids=lambda path: path.stem)
def test_the_bare_table_of_a_real_camera_gives_nothing(path: Path) -> None:
    """What lies more than 4 mm off the table's plane is taken out of the picture, and with it all objects."""
    depth, _, intrinsics, _ = load(path)
    scene = project(depth, intrinsics)
    u, v = np.meshgrid(np.arange(depth.shape[1]), np.arange(depth.shape[0]))
    points = np.stack([(u - intrinsics.cx) / intrinsics.fx * depth, (v - intrinsics.cy) / intrinsics.fy * depth, depth], -1)
    back = np.linalg.inv(scene.pose)
    x, y, z = (points @ back[:3, :3].T + back[:3, 3]).transpose(2, 0, 1)
    table = (depth > 0) & (np.abs(z + scene.table[0] * x + scene.table[1] * y) < 0.004)
    table = cv2.erode(cv2.morphologyEx(table.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5))), np.ones((7, 7))) > 0
    assert table.mean() > 0.2
    assert plan(np.where(table, depth, 0), intrinsics, None).grasps == []
