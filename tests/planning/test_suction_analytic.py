"""Plates, cubes, cylinders and leaning boxes at known poses: the best cup against a perfect one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from suction_scenes import CUP, LeaningBox, Solid, body_collides, contact, item, surface_distances
from table_scenes import CAMERAS, Box, Camera, Cylinder, camera

from grasp_client.contract import GraspPlan, Gripper
from grasp_client.geometry import project
from grasp_client.observation import Observation
from planning.suction.analytic import SuctionPlanner

SOLIDS: dict[str, Solid] = {
    "cube": Box(0.02, -0.03, 0.5, 0.04, 0.04, 0.04),
    "plate": Box(-0.03, 0.02, 1.1, 0.12, 0.06, 0.008),
    "cylinder": Cylinder(0.03, 0.01, 0.025, 0.06),
    "leaning box": LeaningBox(0.0, 0.01, 0.05, 0.7, math.radians(25), 0.08, 0.07, 0.05),
    "steep box": LeaningBox(0.01, 0.0, 0.06, -0.4, math.radians(40), 0.09, 0.09, 0.05),
}


def plan(view: Camera, solids: list[Solid], gripper: Gripper = CUP, **options: object) -> GraspPlan:
    [answer] = SuctionPlanner().plan_batch([item(view, solids, gripper, **options)], None)
    return answer


@pytest.mark.parametrize("size", CAMERAS)
@pytest.mark.parametrize("tilt", [0, pytest.param(15, marks=pytest.mark.slow), 30])
@pytest.mark.parametrize("name", SOLIDS)
def test_best_cup_lies_flat_on_the_surface_with_all_its_rim(name: str, tilt: int, size: str) -> None:
    solid = SOLIDS[name]
    answer = plan(camera(*CAMERAS[size], tilt=math.radians(tilt), turn=0.8), [solid])
    best = answer.grasps[0]
    distances = surface_distances(best, [solid])
    assert abs(distances[0]) <= 0.003
    assert np.ptp(distances) <= 2 * CUP.cup_radius * math.tan(math.radians(3))
    assert not body_collides(best, [solid], slack=0.001)


def test_normal_is_that_of_the_leaning_face() -> None:
    solid = SOLIDS["leaning box"]
    assert isinstance(solid, LeaningBox)
    best = plan(camera(*CAMERAS["640x480"]), [solid]).grasps[0]
    _, approach = contact(best)
    assert math.degrees(math.acos(min(1.0, float(approach @ -solid.rotation[:, 2])))) <= 3


@pytest.mark.parametrize("offset", [0.0, 0.08])
def test_pose_pixel_depth_and_angle_agree(offset: float) -> None:
    view = camera(480, 640, 525.0, tilt=0.3, turn=2.0)
    gripper = CUP.model_copy(update={"tcp_offset": offset})
    for grasp in plan(view, [SOLIDS["leaning box"]], gripper).grasps:
        pose = np.asarray(grasp.pose_camera)
        assert grasp.kind == "suction"
        assert grasp.width is None
        assert grasp.depth == pytest.approx(pose[2, 3])
        assert project(pose[None, :3, 3], view.intrinsics)[0] == pytest.approx(grasp.center_px, abs=1e-3)
        assert np.asarray(grasp.pose_base) == pytest.approx(view.pose @ pose)
        assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-6)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        ends = project(pose[:3, 3] + np.array([[-1e-4], [1e-4]]) * pose[:3, 0], view.intrinsics)
        assert math.atan2(*(ends[1] - ends[0])[::-1]) == pytest.approx(grasp.angle, abs=1e-2)


def test_tool_offset_moves_the_pose_back_along_the_approach() -> None:
    view = camera(480, 640, 525.0)
    plain = plan(view, [SOLIDS["leaning box"]]).grasps[0]
    moved = plan(view, [SOLIDS["leaning box"]], CUP.model_copy(update={"tcp_offset": 0.05})).grasps[0]
    back = np.asarray(plain.pose_base)[:3, 3] - 0.05 * np.asarray(plain.pose_base)[:3, 2]
    assert np.asarray(moved.pose_base)[:3, 3] == pytest.approx(back, abs=1e-6)


def test_a_cup_wider_than_the_object_finds_nothing_and_says_why() -> None:
    answer = plan(camera(480, 640, 525.0), [Box(0.0, 0.0, 0.3, 0.02, 0.02, 0.05)], CUP.model_copy(update={"cup_radius": 0.02}))
    assert answer.grasps == []
    assert answer.rejections["over_edge"] > 0


def test_answers_are_different_contacts_sorted_by_quality() -> None:
    answer = plan(camera(480, 640, 525.0), [Box(0.0, 0.0, 0.3, 0.16, 0.12, 0.03)], n_grasps=10)
    points = np.array([contact(grasp)[0] for grasp in answer.grasps])
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(len(points))
    assert len(points) == 10
    assert apart.min() >= 0.0149
    qualities = [grasp.quality for grasp in answer.grasps]
    assert qualities == sorted(qualities, reverse=True)


def test_the_middle_is_preferred_to_the_rest_of_a_plate() -> None:
    best = plan(camera(480, 640, 525.0), [Box(0.03, -0.02, 0.3, 0.16, 0.06, 0.02)]).grasps[0]
    point, _ = contact(best)
    assert np.hypot(point[0] - 0.03, point[1] + 0.02) < 0.02


@pytest.mark.parametrize("height", [0.008, 0.03])
def test_what_leaves_the_picture_is_promised_less_and_nothing_else(height: float) -> None:
    view, block = camera(480, 640, 525.0), Box(0.0, 0.0, 0.0, 0.12, 0.08, height)
    whole = plan(view, [block]).grasps[0].quality
    assert whole == pytest.approx(plan(view, [Box(0.0, 0.0, 0.0, 0.12, 0.08, 0.05)]).grasps[0].quality, abs=0.05)
    observation, request = item(view, [block])
    holed = np.array(observation.depth)
    holed[200:280, 330:400] = 0  # over one end of the block and the table beside it
    [answer] = SuctionPlanner().plan_batch([(Observation(depth=holed), request)], None)
    assert answer.grasps[0].quality == pytest.approx(whole, abs=0.1)
    leaving = plan(view, [Box(0.25, 0.0, 0.0, 0.6, 0.08, height)])
    assert leaving.grasps[0].quality < whole / 2
    assert any(text.startswith("out_of_view") for text in leaving.warnings)
    assert not any(text.startswith("out_of_view") for text in answer.warnings)


@pytest.mark.parametrize("lean", [-0.06, 0.06])
def test_an_arm_that_rises_or_falls_towards_the_edge_of_the_picture_leaves_it(lean: float) -> None:
    """As a robot's own arm in a camera's picture, 14 cm over the table, beside a box."""
    arm = LeaningBox(0.3, 0.0, 0.12, math.pi / 2, lean, 0.12, 0.5, 0.04)
    answer = plan(camera(480, 640, 525.0), [arm, Box(-0.1, 0.0, 0.3, 0.05, 0.05, 0.02)])
    promised = {contact(grasp)[0][0] > 0: grasp.quality for grasp in reversed(answer.grasps)}
    assert promised[False] > 0.9
    assert promised[True] < 0.5
