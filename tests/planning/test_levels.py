"""Surfaces beside the table that carry things too."""

from __future__ import annotations

import math

import numpy as np
import pytest
from table_scenes import Box, Cylinder, Solid, camera, render

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.local import local_planner

VIEW = camera(240, 320, 280.0, 0.0, math.pi / 2, distance=0.9)


def planned(solids: list[Solid], planner: str = "antipodal") -> GraspPlan:
    request = PlanRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist(), n_grasps=30)
    return local_planner(planner).plan(Observation(depth=render(VIEW, solids)), request)


def near(plan: GraspPlan, x: float, y: float) -> list[float]:
    """Heights of the grasps round a place, m."""
    at = [np.asarray(grasp.pose_base)[:3, 3] for grasp in plan.grasps]
    return [float(each[2]) for each in at if np.hypot(each[0] - x, each[1] - y) < 0.03]


def told(plan: GraspPlan) -> list[str]:
    return [text for text in plan.warnings if text.startswith("several_levels")]


@pytest.mark.parametrize("planner", ["antipodal", "dense"])
def test_things_on_a_lower_surface_are_grasped_as_those_on_the_larger_one(planner: str) -> None:
    board = Box(0.14, 0.0, 0.0, 0.72, 1.2, 0.10)  # fills most of the picture
    below = Cylinder(-0.30, 0.0, 0.02, 0.05)
    above = Cylinder(0.05, 0.1, 0.02, 0.15)
    plan = planned([board, below, above], planner)
    assert near(plan, -0.30, 0.0)
    assert near(plan, 0.05, 0.1)
    assert min(near(plan, -0.30, 0.0)) > 0.0
    assert len(told(plan)) == 1
    assert "-100 mm" in told(plan)[0]


def test_the_top_of_a_step_is_no_thing() -> None:
    step = Box(0.20, 0.0, 0.0, 0.25, 0.5, 0.06)
    plan = planned([step, Cylinder(-0.1, 0.0, 0.02, 0.06), Cylinder(0.2, 0.1, 0.02, 0.12)])
    assert near(plan, -0.1, 0.0)
    assert min(near(plan, 0.2, 0.1)) > 0.06
    assert len(told(plan)) == 1


def test_a_large_box_is_a_thing_and_no_surface() -> None:
    plan = planned([Box(0.0, 0.0, 0.3, 0.14, 0.06, 0.08)])
    assert near(plan, 0.0, 0.0)
    assert not told(plan)
