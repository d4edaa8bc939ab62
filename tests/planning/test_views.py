"""Several registered views of one scene: what one hides another shows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from table_scenes import Box, Camera, Solid, camera, render

from grasp_client.contract import GraspPlan
from grasp_client.geometry import pose_from
from grasp_client.imaging import ImageError
from grasp_client.inputs import request_of, several_views
from planning.base import PlannerError
from planning.discovery import choose
from planning.local import local_planner
from planning.scene.scene import observe_scene

LEFT = camera(240, 320, 262.5, tilt=0.8, turn=math.pi)
RIGHT = camera(240, 320, 300.0, tilt=0.8, turn=0.0)
TALL = Box(0.0, 0.0, 0.0, 0.05, 0.05, 0.12)
LOW = Box(0.085, 0.0, 0.0, 0.03, 0.06, 0.03)
"""Behind the tall one, seen from the left."""


def views(*cameras: Camera) -> list[dict[str, Any]]:
    return [{"camera": view.intrinsics, "camera_pose": view.pose.tolist()} for view in cameras]


def plan(cameras: list[Camera], solids: list[Solid], planner: str = "antipodal", **options: Any) -> GraspPlan:
    request = request_of(planner=planner, views=options.pop("views", views(*cameras)), **options)
    observation = several_views([render(view, solids) for view in cameras], request.views or [])
    return local_planner(planner).plan(observation, request)


def on_the_low_one(found: GraspPlan) -> int:
    return sum(abs(np.asarray(each.pose_base)[0, 3] - LOW.x) < 0.012 for each in found.grasps)


@pytest.mark.parametrize("planner", ["antipodal", "dense"])
def test_what_is_hidden_from_one_camera_is_grasped_by_two(planner: str) -> None:
    solids: list[Solid] = [TALL, LOW]
    assert on_the_low_one(plan([LEFT, RIGHT], solids, planner)) > 0
    assert on_the_low_one(plan([LEFT, LEFT], solids, planner)) == 0
    assert not any(text.startswith("no_agreement") for text in plan([LEFT, RIGHT], solids, planner).warnings)


def test_heights_are_the_highest_and_hidden_is_what_all_are_denied() -> None:
    request = request_of(views=views(LEFT, RIGHT))
    seen = several_views([render(view, [TALL, LOW]) for view in (LEFT, RIGHT)], request.views or [])
    both = observe_scene(seen, request, torch.device("cpu")).map
    one = observe_scene(replace(seen, views=()), request, torch.device("cpu")).map
    assert both.height.shape == one.height.shape
    assert (both.known >= one.known).all()
    assert (both.height >= one.height - 1e-6)[one.known].all()
    assert (both.upper_bound <= one.upper_bound + 1e-6)[~both.known].all()
    behind = ~one.known & both.known
    assert behind.sum() > 300
    rows, columns = np.nonzero(behind)
    # Behind the tall box the second camera saw the low one, in the base's heights.
    place = np.stack(
        [both.corner[0] + both.resolution * columns, both.corner[1] + both.resolution * rows, -both.height[behind]], 1
    )
    base = place @ (LEFT.pose @ both.pose)[:3, :3].T + (LEFT.pose @ both.pose)[:3, 3]
    inside = (np.abs(base[:, 0] - LOW.x) < 0.011) & (np.abs(base[:, 1]) < 0.025)
    np.testing.assert_allclose(base[inside, 2], LOW.height, atol=0.003)
    assert inside.sum() > 100


def test_a_cup_stands_on_what_the_second_view_shows() -> None:
    found = plan([LEFT, RIGHT], [TALL, LOW], "suction", gripper="suction_7.5mm")
    assert on_the_low_one(found) > 0


def test_pixels_are_those_of_the_first_view() -> None:
    found = plan([LEFT, RIGHT], [LOW])
    k = LEFT.intrinsics
    for grasp in found.grasps:
        x, y, z = np.asarray(grasp.pose_camera)[:3, 3]
        assert grasp.center_px == pytest.approx([k.fx * x / z + k.cx, k.fy * y / z + k.cy], abs=0.01)


@pytest.mark.parametrize("wrong", ["shifted", "inverted"])
def test_views_that_do_not_agree_are_told(wrong: str) -> None:
    off = pose_from(np.eye(3), np.array([0, 0, 0.03])) @ RIGHT.pose if wrong == "shifted" else np.linalg.inv(RIGHT.pose)
    told = [*views(LEFT), {"camera": RIGHT.intrinsics, "camera_pose": off.tolist()}]
    warnings = plan([LEFT, RIGHT], [LOW], views=told).warnings
    assert [text.split(":")[0] for text in warnings] == ["no_agreement"]
    assert plan([LEFT, RIGHT], [LOW], views=told, checks="off").warnings == []


def test_planners_of_one_view_refuse_several_and_auto_takes_one_that_does_not() -> None:
    request = request_of(views=views(LEFT, RIGHT))
    observation = several_views([render(LEFT, [LOW]), render(RIGHT, [LOW])], request.views or [])
    assert choose(request, observation, ["gqcnn", "tilted", "antipodal"]) == "antipodal"
    with pytest.raises(PlannerError, match="one view"):
        plan([LEFT, RIGHT], [LOW], "gqcnn")


def test_views_and_images_are_as_many() -> None:
    with pytest.raises(ImageError, match="2"):
        several_views([render(LEFT, [LOW])], request_of(views=views(LEFT, RIGHT)).views or [])
    with pytest.raises(ValueError, match="views"):
        request_of(views=views(LEFT, RIGHT), camera=RIGHT.intrinsics)


@pytest.mark.parametrize(
    "told", [{"reach": True}, {"bin": {"corners": [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "wall_height": 0.1}},
             {"approach": {"axis": [0, 0, -1]}}], ids=lambda told: next(iter(told))
)  # fmt: skip
def test_what_needs_the_camera_s_pose_takes_that_of_the_first_view(told: dict[str, Any]) -> None:
    assert request_of(views=views(LEFT, RIGHT), **told).camera_pose == LEFT.pose.tolist()
    with pytest.raises(ValueError, match="camera_pose"):
        request_of(camera=LEFT.intrinsics, **told)
