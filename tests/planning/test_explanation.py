"""Why not there: refused grasps, the part of the hand that meets something, and where."""

import numpy as np
import pytest
from table_scenes import Box, Camera, Cylinder, Solid, camera, render

from grasp_client.contract import GraspPlan, Gripper
from grasp_client.inputs import request_of
from grasp_client.observation import Observation
from planning.local import local_planner

VIEW = camera(240, 320, 262.5)
WALLS = [Box(0.0, 0.0, 0.0, 0.2, 0.03, 0.05), Box(0.0, 0.042, 0.0, 0.2, 0.03, 0.09)]
"""Two bars with 12 mm between them: no finger fits there."""


def explain(solids: list[Solid], planner: str = "antipodal", view: Camera = VIEW, **options: object) -> GraspPlan:
    request = request_of(camera=view.intrinsics, camera_pose=view.pose, planner=planner, explain=True, **options)
    return local_planner(planner).plan(Observation(depth=render(view, solids)), request)


def pixel_of(x: float, y: float, z: float, view: Camera = VIEW) -> tuple[float, float]:
    place = np.linalg.inv(view.pose) @ [x, y, z, 1.0]
    k = view.intrinsics
    return k.fx * place[0] / place[2] + k.cx, k.fy * place[1] / place[2] + k.cy


def test_the_finger_that_meets_the_neighbour_is_named_and_the_place_lies_on_it() -> None:
    u, v = pixel_of(0.0, 0.0, 0.05)
    plan = explain(WALLS, region=[u - 4, v - 4, u + 4, v + 4], gripper=Gripper(max_width=0.05))
    refused = [each for each in plan.refused or [] if each.reason == "collision"]
    assert refused
    for each in refused:
        assert each.part in ("finger_left", "finger_right", "palm")
        assert each.obstacle_base is not None
        assert each.pose_base is not None
        x, y, z = each.obstacle_base
        # Where it meets something a bar stands, higher than the tips.
        assert z == pytest.approx(0.05 if y < 0.02 else 0.09, abs=0.002)
        assert abs(x) < 0.104
        assert each.pose_base[2][3] < z
        assert min(abs(y), abs(y - 0.042)) < 0.019
        if each.part.startswith("finger"):
            side = np.array(each.pose_base)[:3, 0] @ (np.array(each.obstacle_base) - np.array(each.pose_base)[:3, 3])
            assert (side > 0) == (each.part == "finger_right")
        assert each.obstacle_px == pytest.approx(pixel_of(x, y, z), abs=0.5)


def test_what_is_too_wide_is_told_where_it_lies_and_no_more_than_ten_are() -> None:
    plan = explain([Cylinder(0.05, 0.0, 0.075, 0.06)])
    assert not plan.grasps
    assert plan.refused
    assert len(plan.refused) <= 10
    assert "too_wide" in {each.reason for each in plan.refused}
    for each in plan.refused:
        assert each.pose_base is not None
        assert np.hypot(each.pose_base[0][3] - 0.05, each.pose_base[1][3]) < 0.13


def test_those_nearest_to_an_empty_region_are_told_and_those_that_lack_least_come_first() -> None:
    u, v = pixel_of(-0.15, 0.0, 0.0)
    plan = explain(
        [Box(0.0, 0.0, 0.0, 0.1, 0.03, 0.05), Box(0.2, 0.0, 0.0, 0.1, 0.03, 0.05)], region=[u - 5, v - 5, u + 5, v + 5]
    )
    assert not plan.grasps
    assert plan.refused
    assert {each.reason for each in plan.refused[:3]} == {"region"}
    assert all(each.pose_base is not None and each.pose_base[0][3] < 0.1 for each in plan.refused)


@pytest.mark.parametrize("solids", [[], [Box(0.0, 0.0, 0.2, 0.004, 0.05, 0.05)]], ids=["nothing", "a sheet on edge"])
def test_cups_are_told_too(solids: list[Solid]) -> None:
    plan = explain(solids, "suction", gripper="suction_30mm")
    assert not plan.grasps
    assert bool(plan.refused) == bool(solids)
    assert all(each.kind == "suction" and each.part in (None, "cup") for each in plan.refused or [])


def test_without_a_camera_only_pixels_are_told() -> None:
    request = request_of(planner="antipodal", explain=True)
    depth = render(VIEW, [Box(0.0, 0.0, 0.3, 0.15, 0.15, 0.06)])
    plan = local_planner("antipodal").plan(Observation(depth=depth), request)
    assert plan.refused
    assert all(each.pose_camera is None and each.obstacle_camera is None for each in plan.refused)
    assert any(each.obstacle_px for each in plan.refused)


def test_nothing_is_told_unasked() -> None:
    request = request_of(camera=VIEW.intrinsics, planner="antipodal")
    assert local_planner("antipodal").plan(Observation(depth=render(VIEW, WALLS)), request).refused is None


def test_a_picture_without_depth_has_no_explanation_but_a_plan() -> None:
    rgb = np.full((240, 320, 3), 120, np.uint8)
    rgb[100:140, 100:200] = 30
    request = request_of(camera=VIEW.intrinsics, table_depth=0.65, planner="heatmap", explain=True)
    plan = local_planner("heatmap").plan(Observation(rgb=rgb), request)
    assert plan.refused == []
    assert any(text.startswith("no_explanation") for text in plan.warnings)
