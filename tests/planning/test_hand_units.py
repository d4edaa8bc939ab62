"""Small hands are planned for in units of their size: lengths go there and come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from table_scenes import Box, camera, render

from grasp_client.contract import Gripper, PlanRequest
from grasp_client.observation import Observation
from planning.calibration import told_by
from planning.jaw.analytic import AntipodalPlanner
from planning.scene.hand_units import gripper_in, hand_unit
from planning.scene.scene import observe_scene
from shared.features.circumstances import circumstances

SMALL = Gripper(
    max_width=0.01, finger_width=0.003, finger_thickness=0.002, finger_depth=0.009, palm_width=0.02, palm_thickness=0.006
)


@pytest.mark.parametrize(("opening", "unit"), [(0.14, 1.0), (0.08, 1.0), (0.04, 1.0), (0.02, 0.5), (0.01, 0.25)])
def test_hands_that_open_less_than_40_mm_have_units_of_their_own(opening: float, unit: float) -> None:
    assert hand_unit(Gripper(max_width=opening)) == pytest.approx(unit)
    assert hand_unit(Gripper(kind="suction", max_width=opening)) == 1.0


def test_sizes_come_back() -> None:
    back = gripper_in(gripper_in(SMALL, 0.25), 4.0)
    assert back.model_dump() == pytest.approx(SMALL.model_dump())


def test_answers_and_circumstances_are_in_metres() -> None:
    view = camera(480, 640, 525.0, distance=0.25)
    box = Box(0.004, -0.003, 0.4, 0.012, 0.005, 0.006)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), gripper=SMALL)
    observation = Observation(depth=render(view, [box]))
    [plan] = AntipodalPlanner().plan_batch([(observation, request)], None)
    grasp = plan.grasps[0]
    place = np.asarray(grasp.pose_base)[:3, 3]
    assert place[:2] == pytest.approx([0.004, -0.003], abs=0.0015)
    assert 0 < place[2] < 0.006
    assert grasp.width is not None
    assert 0.005 <= grasp.width <= 0.01
    assert grasp.depth == pytest.approx(np.asarray(grasp.pose_camera)[2, 3])
    scene = observe_scene(observation, request, torch.device("cpu"), for_jaw=True)
    assert scene.unit == pytest.approx(0.25)
    assert scene.gripper.max_width == pytest.approx(0.04)
    assert scene.pad == pytest.approx((0.008, 0.036))
    assert observation.depth is not None
    expected = circumstances(observation.depth, view.intrinsics, view.pose, SMALL, False, [0.0])
    assert told_by(scene, torch.tensor([[0.0, 0.0, 1.0]])) == pytest.approx(expected)
