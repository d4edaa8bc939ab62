"""Plates, cubes, cylinders and bars at known poses: the best grasp against a perfect one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from places import SHIPPED
from table_scenes import CAMERAS, SLIM_HAND, Box, Camera, Cylinder, Solid, camera, collides, render

from grasp_client.contract import Grasp, GraspPlan, Gripper, PlanRequest
from grasp_client.geometry import project
from grasp_client.observation import GraspPlanner, Observation
from planning.jaw.analytic import AntipodalPlanner
from planning.local import local_planner

SOLIDS: dict[str, Solid] = {
    "cube": Box(0.02, -0.03, 0.5, 0.04, 0.04, 0.04),
    "plate": Box(-0.03, 0.02, 1.1, 0.12, 0.06, 0.015),
    "bar": Box(0.01, 0.02, -0.7, 0.16, 0.025, 0.03),
    "cylinder": Cylinder(0.03, 0.01, 0.025, 0.06),
    "tall box": Box(-0.02, -0.02, 2.0, 0.05, 0.03, 0.12),
}


def plan(view: Camera, solids: list[Solid], **options: object) -> GraspPlan:
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), **options)
    [answer] = AntipodalPlanner().plan_batch([(Observation(depth=render(view, solids)), request)], None)
    return answer


def error(grasp: Grasp, solid: Solid, finger_width: float = 0.02) -> tuple[float, float]:
    """Distance, m, and angle, rad, to the nearest perfect grasp: centred between opposite sides, all of the finger on them."""
    pose = np.asarray(grasp.pose_base)
    away = pose[:2, 3] - [solid.x, solid.y]
    if isinstance(solid, Cylinder):
        return float(np.hypot(*away)), 0.0
    closing = math.atan2(pose[1, 0], pose[0, 0])
    errors = []
    for turn, across in ((0.0, solid.width), (math.pi / 2, solid.length)):
        axis = solid.yaw + turn
        off = abs(away @ [math.cos(axis), math.sin(axis)])
        beyond = max(0.0, abs(away @ [-math.sin(axis), math.cos(axis)]) - max(0.0, (across - finger_width) / 2))
        errors.append((math.hypot(off, beyond), abs((closing - axis + math.pi / 2) % math.pi - math.pi / 2)))
    return min(errors, key=lambda pair: pair[0] / 0.003 + pair[1] / math.radians(5))


@pytest.fixture(scope="module")
def planners() -> dict[str, GraspPlanner]:
    """The analytic planner, and the network that ships."""
    return {name: local_planner(name, SHIPPED) for name in ("antipodal", "dense")}


@pytest.mark.parametrize("planner", ["antipodal", "dense"])
@pytest.mark.parametrize("size", CAMERAS)
@pytest.mark.parametrize("tilt", [0, pytest.param(15, marks=pytest.mark.slow), 30])
@pytest.mark.parametrize("name", SOLIDS)
def test_best_grasp_is_near_a_perfect_one(
    planners: dict[str, GraspPlanner], name: str, tilt: int, size: str, planner: str
) -> None:
    view = camera(*CAMERAS[size], tilt=math.radians(tilt), turn=0.8)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), gripper=SLIM_HAND)
    answer = planners[planner].plan(Observation(depth=render(view, [SOLIDS[name]])), request)
    distance, angle = error(answer.grasps[0], SOLIDS[name])
    assert distance <= 0.003
    assert angle <= math.radians(5 if planner == "antipodal" else 8)
    assert not collides(answer.grasps[0], SLIM_HAND, [SOLIDS[name]], slack=0.001)


@pytest.mark.parametrize("tilt", [0, 30])
def test_pose_pixel_depth_and_width_agree(tilt: int) -> None:
    view = camera(480, 640, 525.0, tilt=math.radians(tilt))
    gripper = Gripper(tcp_offset=0.009)
    for grasp in plan(view, list(SOLIDS.values())[:1], gripper=gripper, n_grasps=20).grasps:
        pose = np.asarray(grasp.pose_camera)
        assert np.allclose(np.asarray(grasp.pose_base), view.pose @ pose, atol=1e-6)
        assert np.allclose(project(pose[:3, 3], view.intrinsics), grasp.center_px, atol=1e-3)
        assert grasp.depth == pytest.approx(pose[2, 3])
        ends = project(pose[:3, 3] + np.array([[0.5], [-0.5]]) * grasp.width * pose[:3, 0], view.intrinsics)
        across = ends[0] - ends[1]
        assert np.linalg.norm(across) == pytest.approx(grasp.width_px, rel=1e-4)
        assert math.remainder(math.atan2(across[1], across[0]) - grasp.angle, math.pi) == pytest.approx(0, abs=1e-4)
        assert np.allclose(np.asarray(grasp.pregrasp_camera)[:3, 3], pose[:3, 3] - 0.1 * pose[:3, 2])
        assert np.allclose(np.asarray(grasp.pregrasp_base), view.pose @ np.asarray(grasp.pregrasp_camera))


def test_tool_offset_moves_the_origin_back_along_the_approach() -> None:
    view = camera(480, 640, 525.0, tilt=0.3)
    plain, moved = (plan(view, [SOLIDS["cube"]], gripper=Gripper(tcp_offset=offset)).grasps[0] for offset in (0.0, 0.009))
    pose = np.asarray(plain.pose_base)
    assert np.allclose(np.asarray(moved.pose_base)[:3, 3], pose[:3, 3] - 0.009 * pose[:3, 2], atol=1e-6)


def test_without_a_camera_pose_the_approach_is_the_optical_axis() -> None:
    view = camera(480, 640, 525.0)
    request = PlanRequest(camera=view.intrinsics)
    depth = render(view, [SOLIDS["bar"]])
    [answer] = AntipodalPlanner().plan_batch([(Observation(depth=depth), request)], None)
    best = answer.grasps[0]
    assert best.pose_base is None
    assert np.allclose(np.asarray(best.pose_camera)[:3, 2], [0, 0, 1])
    in_base = best.model_copy(update={"pose_base": (view.pose @ np.asarray(best.pose_camera)).tolist()})
    assert error(in_base, SOLIDS["bar"])[0] <= 0.003


def test_without_a_camera_the_reply_has_pixels_only() -> None:
    view = camera(480, 640, 525.0)
    [answer] = AntipodalPlanner().plan_batch([(Observation(depth=render(view, [SOLIDS["bar"]])), PlanRequest())], None)
    best = answer.grasps[0]
    assert (best.pose_camera, best.pose_base, best.depth, best.width) == (None, None, None, None)
    assert best.width_px is not None
    assert "no_camera" in answer.warnings[0]
    middle = project(np.linalg.inv(view.pose)[:3] @ [0.01, 0.02, 0.03, 1], view.intrinsics)
    assert np.linalg.norm(np.asarray(best.center_px) - middle) < 60


def test_ten_answers_are_ten_different_grasps() -> None:
    answer = plan(camera(480, 640, 525.0), [SOLIDS["bar"], Box(0.1, 0.1, 0.3, 0.04, 0.05, 0.05)], n_grasps=10)
    assert len(answer.grasps) == 10
    poses = [np.asarray(grasp.pose_base) for grasp in answer.grasps]
    for i, first in enumerate(poses):
        for second in poses[:i]:
            turned = math.acos(min(1.0, abs(first[:3, 0] @ second[:3, 0])))
            assert np.linalg.norm(first[:2, 3] - second[:2, 3]) > 0.0145 or turned > math.radians(29)
    qualities = [grasp.quality for grasp in answer.grasps]
    assert qualities == sorted(qualities, reverse=True)


@pytest.mark.parametrize(("turn", "shift"), [(0.4, (0.0, 0.0)), (1.3, (0.03, -0.02)), (0.0, (-0.041, 0.037))])
def test_moving_the_scene_moves_the_answer_with_it(turn: float, shift: tuple[float, float]) -> None:
    view = camera(480, 640, 525.0)
    for yaw, x, y in ((0.3, 0.01, 0.02), (0.3 + turn, 0.01 + shift[0], 0.02 + shift[1])):
        bar = Box(x, y, yaw, 0.12, 0.03, 0.04)
        distance, angle = error(plan(view, [bar]).grasps[0], bar)
        assert distance <= 0.003
        assert angle <= math.radians(5)


def test_twice_the_resolution_changes_the_answer_by_less_than_two_millimetres() -> None:
    poses = []
    for rows, columns, focal in ((240, 320, 262.5), (480, 640, 525.0), (960, 1280, 1050.0)):
        poses.append(np.asarray(plan(camera(rows, columns, focal), [SOLIDS["cube"]]).grasps[0].pose_base))
    for coarse, fine in itertools.pairwise(poses):
        assert np.linalg.norm(fine[:3, 3] - coarse[:3, 3]) < 0.002


WALLS: list[Solid] = [Box(0.0, side * 0.135, 0.0, 0.38, 0.01, 0.05) for side in (-1, 1)]
WALLS += [Box(side * 0.185, 0.0, 0.0, 0.01, 0.26, 0.05) for side in (-1, 1)]
BIN_VIEW = camera(480, 640, 525.0)


def in_the_bin() -> list[float]:
    """The bottom of the bin as a region of the image."""
    corners = np.array([[x, y, 0.0, 1.0] for x in (-0.18, 0.18) for y in (-0.13, 0.13)])
    pixels = project((np.linalg.inv(BIN_VIEW.pose) @ corners.T).T[:, :3], BIN_VIEW.intrinsics)
    return [float(value) for value in (*pixels.min(0), *pixels.max(0))]


def test_walls_around_the_region_take_no_place_from_what_lies_in_it() -> None:
    """The walls of a bin are the easiest thing to grasp in the picture, and the last thing that is wanted."""
    bar = Box(0.05, 0.03, 0.6, 0.10, 0.03, 0.03)
    distance, angle = error(plan(BIN_VIEW, [*WALLS, bar], region=in_the_bin()).grasps[0], bar)
    assert distance <= 0.003
    assert angle <= math.radians(5)


def test_what_lies_at_a_wall_is_not_gripped_together_with_it() -> None:
    """Box and wall are 60 mm thick together and would be the better grip; the box alone is 50 mm long."""
    box = Box(0.0, 0.105, 0.0, 0.05, 0.05, 0.05)
    together = plan(BIN_VIEW, [*WALLS, box], bin=False).grasps[0]
    alone = plan(BIN_VIEW, [*WALLS, box], region=in_the_bin()).grasps[0]
    along_wall = abs(np.asarray(alone.pose_base)[0, 0])
    assert along_wall > math.cos(math.radians(10))
    assert abs(np.asarray(alone.pose_base)[0, 3]) < 0.005
    assert together != alone


@pytest.mark.parametrize("width", [0.070, 0.074])
def test_a_jaw_is_used_almost_to_its_last_millimetre(width: float) -> None:
    view = camera(*CAMERAS["240x240"])
    box = Box(0.03, -0.02, 0.4, 0.11, width, 0.04)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist())
    [plan] = AntipodalPlanner().plan_batch([(Observation(depth=render(view, [box])), request)], None)
    best = plan.grasps[0]
    distance, angle = error(best, box)
    assert distance <= 0.0035
    assert angle <= math.radians(3)
    assert best.quality > 0.5


def hand_of(opening: float) -> Gripper:
    sizes = {"finger_width": 0.25, "finger_thickness": 0.2, "finger_depth": 0.7, "palm_width": 2.0, "palm_thickness": 0.6}
    return Gripper(max_width=opening, **{name: share * opening for name, share in sizes.items()})


@pytest.mark.parametrize(
    ("opening", "side"), [(0.01, 0.004), (0.01, 0.006), (0.01, 0.009), (0.02, 0.014), (0.14, 0.05), (0.14, 0.13)]
)
def test_hands_of_any_size_hold_things_of_their_size(opening: float, side: float) -> None:
    view = camera(480, 640, 525.0, distance=min(0.7, max(0.25, 8 * opening)))
    box = Box(0.1 * opening, -0.2 * opening, 0.4, 1.7 * side, side, side)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), gripper=hand_of(opening))
    [plan] = AntipodalPlanner().plan_batch([(Observation(depth=render(view, [box])), request)], None)
    distance, angle = error(plan.grasps[0], box)
    assert distance <= max(0.1 * side, 0.001)
    assert angle <= math.radians(5)
