"""Clouds of points: the same grasps as from the image they come from, in whatever frame and from wherever they were seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from table_scenes import Box, Cylinder, Solid, camera, render

from grasp_client.contract import Grasp, GraspPlan
from grasp_client.geometry import deproject, invert, pose_from, transform
from grasp_client.inputs import observe, request_of
from planning.base import PlannerError
from planning.local import local_planner
from planning.rectification import rectify

VIEW = camera(240, 320, 262.5, tilt=0.3)
BAR = Box(0.0, 0.0, 0.3, 0.1, 0.04, 0.06)
SOLIDS: list[Solid] = [BAR, Cylinder(0.14, 0.05, 0.02, 0.08)]
ORIGIN = [0.0, 0.0, 0.0]


def cloud(solids: list[Solid] = SOLIDS) -> np.ndarray:
    depth = render(VIEW, solids)
    v, u = np.nonzero(depth > 0)
    return deproject(np.stack([u, v], 1), depth[v, u], VIEW.intrinsics).astype(np.float32)


CLOUD = cloud()
IN_BASE = transform(VIEW.pose, CLOUD).astype(np.float32)
OF_BAR = (IN_BASE[:, 2] > 0.003) & (np.abs(IN_BASE[:, 0]) < 0.08)
FEW = CLOUD[OF_BAR][np.random.default_rng(0).permutation(int(OF_BAR.sum()))[:1500]]


def plan(points: np.ndarray, scene_points: np.ndarray | None = None, planner: str = "antipodal", **options: Any) -> GraspPlan:
    observation = observe(points=points, scene_points=scene_points)
    return local_planner(planner).plan(observation, request_of(planner=planner, **options))


def in_base(grasp: Grasp, pose: np.ndarray = VIEW.pose) -> np.ndarray:
    return pose @ np.asarray(grasp.pose_camera)


def across_the_bar(pose: np.ndarray) -> None:
    """A hand in the base frame that closes over the bar's width, fingers over the table and over its middle line."""
    side = np.array([-math.sin(BAR.yaw), math.cos(BAR.yaw), 0.0])
    assert abs(pose[:3, 0] @ side) > 0.97
    assert abs(pose[:3, 3] @ side) < 0.006
    assert 0.002 < pose[2, 3] < BAR.height
    assert pose[2, 2] < -0.9


@pytest.mark.parametrize(
    "told", [{"viewpoint": ORIGIN}, {}, {"camera": VIEW.intrinsics}], ids=["viewpoint", "nothing", "camera"]
)
def test_a_cloud_gives_the_grasps_of_its_image(told: dict[str, Any]) -> None:
    found = plan(CLOUD, camera_pose=VIEW.pose, **told)
    grasp = next(each for each in found.grasps if abs(in_base(each)[0, 3]) < 0.05)
    across_the_bar(in_base(grasp))
    np.testing.assert_allclose(grasp.pose_base, in_base(grasp), atol=1e-6)
    assert grasp.depth == pytest.approx(np.asarray(grasp.pose_camera)[2, 3])
    assert [text.split(":")[0] for text in found.warnings] == ([] if told else ["no_viewpoint"])
    if "camera" in told:
        k, (x, y, z) = VIEW.intrinsics, np.asarray(grasp.pose_camera)[:3, 3]
        assert grasp.center_px == pytest.approx([k.fx * x / z + k.cx, k.fy * y / z + k.cy], abs=0.01)


def test_the_frame_of_a_cloud_may_be_the_robots() -> None:
    found = plan(IN_BASE, camera_pose=np.eye(4), viewpoint=VIEW.pose[:3, 3])
    grasp = next(each for each in found.grasps if abs(np.asarray(each.pose_base)[0, 3]) < 0.05)
    across_the_bar(np.asarray(grasp.pose_base))
    np.testing.assert_allclose(grasp.pose_base, grasp.pose_camera, atol=1e-9)


def test_an_object_alone_is_grasped_with_level_ground_under_it_and_told() -> None:
    found = plan(FEW, camera_pose=VIEW.pose)
    across_the_bar(in_base(found.grasps[0]))
    assert [text.split(":")[0] for text in found.warnings] == ["no_viewpoint", "no_surroundings"]
    assert found.grasps[0].pose_base is not None
    untold = plan(FEW)
    assert untold.grasps
    assert untold.grasps[0].pose_base is None  # nobody told where the base is


@pytest.mark.parametrize(("planner", "gripper"), [("dense", "franka_hand"), ("suction", "suction_15mm")])
def test_other_planners_take_clouds_too(planner: str, gripper: str) -> None:
    found = plan(FEW, camera_pose=VIEW.pose, viewpoint=ORIGIN, planner=planner, gripper=gripper)
    assert found.planner == planner
    pose = in_base(found.grasps[0])
    assert np.hypot(*pose[:2, 3]) < 0.05


def test_only_points_are_grasped_and_the_scene_is_in_the_way() -> None:
    beside = cloud([BAR, Box(-0.0171, 0.0554, 0.3, 0.1, 0.06, 0.09)])  # a wall along one of its long sides
    base = transform(VIEW.pose, beside)
    side = -math.sin(BAR.yaw) * base[:, 0] + math.cos(BAR.yaw) * base[:, 1]
    bar = beside[(base[:, 2] > 0.003) & (side < 0.021) & (base[:, 2] < 0.065)]
    alone, walled = plan(bar, camera_pose=VIEW.pose), plan(bar, beside, camera_pose=VIEW.pose, viewpoint=ORIGIN)
    across_the_bar(in_base(alone.grasps[0]))
    for grasp in walled.grasps:
        pose = in_base(grasp)
        assert abs(pose[:2, 0] @ [-math.sin(BAR.yaw), math.cos(BAR.yaw)]) < 0.9 or pose[2, 3] > 0.06
    assert walled.rejections.get("segmask", 0) > 0
    both = plan(CLOUD[OF_BAR], CLOUD, camera_pose=VIEW.pose, viewpoint=ORIGIN)
    assert both.grasps
    assert all(abs(in_base(grasp)[0, 3]) < 0.08 for grasp in both.grasps)  # never the can beside it


def test_refused_and_failed_grasps_are_in_the_frame_of_the_cloud() -> None:
    first = plan(FEW, camera=VIEW.intrinsics, camera_pose=VIEW.pose).grasps[0]
    failed = [{"pose_camera": first.pose_camera, "quality": 0.9}]
    again = plan(FEW, camera=VIEW.intrinsics, camera_pose=VIEW.pose, failed=failed, explain=True)
    assert again.grasps[0].quality < first.quality
    assert again.refused
    for each in again.refused:
        assert np.hypot(*in_base(each)[:2, 3]) < 0.1
        if each.obstacle_camera:
            np.testing.assert_allclose(each.obstacle_base, transform(VIEW.pose, np.array(each.obstacle_camera)), atol=1e-6)


def test_proposals_are_in_the_frame_of_the_cloud() -> None:
    pose = pose_from(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 0.05]))
    asked = request_of(camera_pose=np.eye(4), viewpoint=VIEW.pose[:3, 3], proposals=[{"pose_camera": pose.tolist()}])
    _, seen = rectify((observe(points=IN_BASE), asked))
    np.testing.assert_allclose(np.array(seen.camera_pose) @ np.array(seen.proposals[0].pose_camera), pose, atol=1e-6)
    assert not np.allclose(seen.proposals[0].pose_camera, pose, atol=0.1)  # the image is not seen from the cloud's origin


def test_a_region_is_in_the_pixels_of_the_camera_that_is_told() -> None:
    u, v = plan(CLOUD, camera=VIEW.intrinsics, camera_pose=VIEW.pose, n_grasps=1).grasps[0].center_px
    region = [u - 10, v - 10, u + 10, v + 10]
    sparse = plan(CLOUD[::7], camera=VIEW.intrinsics, camera_pose=VIEW.pose, region=region)
    assert sparse.grasps
    for grasp in sparse.grasps:
        assert np.abs(np.array(grasp.center_px) - [u, v]).max() < 13
    with pytest.raises(PlannerError, match="region"):
        plan(CLOUD, region=region)


@pytest.mark.parametrize(
    ("points", "options", "kind"),
    [
        (FEW * [100.0, 100.0, 100.0], {}, "cloud_unit"),
        (np.repeat(FEW, 3, axis=0), {}, "cloud_repeated"),
        (FEW * [1, 1, 0] + [0, 0, 0.6], {}, "cloud_flat"),
        (FEW + np.float32([0, 0, 6]), {"viewpoint": ORIGIN}, "cloud_unit"),
        (np.concatenate([FEW, -FEW[:200]]), {"viewpoint": ORIGIN}, "cloud_behind"),
    ],
)
def test_odd_clouds_are_told(points: np.ndarray, options: dict[str, Any], kind: str) -> None:
    points = points.astype(np.float32)
    assert kind in [text.split(":")[0] for text in plan(points, **options).warnings]
    assert plan(points, checks="off", **options).warnings == []


def test_object_and_scene_in_different_frames_are_told() -> None:
    assert "cloud_apart" in [text.split(":")[0] for text in plan(FEW, CLOUD + np.float32([0, 0, 2])).warnings]


def test_nothing_in_front_and_a_viewpoint_beside_a_camera_are_refused() -> None:
    with pytest.raises(PlannerError, match="front"):
        plan(-CLOUD, camera=VIEW.intrinsics)
    with pytest.raises(PlannerError, match="viewpoint"):
        plan(CLOUD, camera=VIEW.intrinsics, viewpoint=[0.0, 0.0, 0.3])
    with pytest.raises(PlannerError, match="inside"):
        plan(CLOUD, viewpoint=np.median(CLOUD, axis=0))


def test_a_millions_points_make_no_larger_picture_and_what_is_behind_is_not_seen_through_gaps() -> None:
    back = CLOUD + np.float32([0, 0, 0.05])  # a second surface behind the first, as a mesh's far side
    observation = observe(points=np.concatenate([CLOUD[::2], back[::2]]))
    seen, request = rectify((observation, request_of(viewpoint=ORIGIN, camera_pose=VIEW.pose)))
    assert seen.depth is not None
    assert request.camera is not None
    assert max(seen.depth.shape) <= 640
    inside = seen.depth[40:-40, 40:-40]
    v, u = np.nonzero(inside)
    points = deproject(np.stack([u + 40, v + 40], 1), inside[v, u], request.camera)
    height = transform(VIEW.pose, points)[:, 2]
    assert (height < -0.02).mean() < 0.002
    assert (inside > 0).mean() > 0.97


def test_up_is_where_the_pose_of_a_turned_cloud_says() -> None:
    turn = pose_from(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), np.array([0.3, -0.2, 0.4]))
    found = plan(transform(turn, CLOUD).astype(np.float32), camera_pose=VIEW.pose @ invert(turn), viewpoint=turn[:3, 3])
    grasp = next(each for each in found.grasps if abs(np.asarray(each.pose_base)[0, 3]) < 0.05)
    across_the_bar(np.asarray(grasp.pose_base))
