"""Where hands hold: near the table what is thin, near the middle what is long, deep what is large, within the segmask."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from table_scenes import Box, Solid, camera, render

from grasp_client.contract import GraspPlan, Gripper, PlanRequest
from grasp_client.geometry import project
from grasp_client.observation import Observation
from planning.jaw.analytic import AntipodalPlanner
from planning.jaw.fit import measure
from planning.limits import TABLE_GAP
from planning.scene.scene import observe_scene

VIEW = camera(480, 640, 525.0)
NOISE = 0.001


def item(
    solids: list[Solid], noise: float = 0.0, mask: np.ndarray | None = None, **options: object
) -> tuple[Observation, PlanRequest]:
    depth = render(VIEW, solids)
    depth = np.where(depth > 0, depth + np.random.default_rng(0).normal(0, noise, depth.shape), 0).astype(np.float32)
    request = PlanRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist(), **options)
    return Observation(depth=depth, segmask=mask), request


def plan(solids: list[Solid], noise: float = 0.0, mask: np.ndarray | None = None, **options: object) -> GraspPlan:
    [answer] = AntipodalPlanner().plan_batch([item(solids, noise, mask, **options)], None)
    return answer


@pytest.mark.parametrize("height", [0.010, 0.014, 0.020, 0.026])
def test_thin_things_are_held_close_to_a_noisy_table(height: float) -> None:
    found = plan([Box(0.02, -0.01, 0.4, 0.06, 0.03, height)], NOISE).grasps
    assert found
    tip = np.asarray(found[0].pose_base)[2, 3]
    assert TABLE_GAP - 0.001 < tip < 0.0055


@pytest.mark.parametrize("along", [0.0, 0.03, 0.061])
def test_the_middle_of_a_long_thing_is_found_from_its_end(along: float) -> None:
    observation, request = item([Box(0.0, 0.0, 0.0, 0.178, 0.05, 0.05)])
    scene = observe_scene(observation, request, torch.device("cpu"))
    hands, _ = measure(scene, torch.tensor([along]), torch.tensor([0.0]), torch.tensor([math.pi / 2]), close=True)
    assert abs(float(hands.offset[0])) == pytest.approx(along, abs=0.004)


def test_a_wide_hand_reaches_deeper_as_far_as_its_fingers_are_long() -> None:
    tall = [Box(0.0, 0.0, 0.0, 0.06, 0.05, 0.12)]
    reached = []
    for finger_depth in (0.046, 0.1):
        wide = Gripper(max_width=0.14, finger_depth=finger_depth)
        reached.append(0.12 - np.asarray(plan(tall, gripper=wide).grasps[0].pose_base)[2, 3])
    assert reached == pytest.approx([0.042, 0.0525], abs=0.002)


def test_a_segmask_keeps_a_thing_apart_from_the_wall_behind_it() -> None:
    """Box and wall are 60 mm thick together and would be the better grip; the box alone is 50 mm long."""
    wall, box = Box(0.0, 0.135, 0.0, 0.38, 0.01, 0.05), Box(0.0, 0.105, 0.0, 0.05, 0.05, 0.05)
    corners = np.array([[x, y, z, 1.0] for x in (-0.025, 0.025) for y in (0.08, 0.129) for z in (0.0, 0.05)])
    pixels = project((np.linalg.inv(VIEW.pose) @ corners.T).T[:, :3], VIEW.intrinsics)
    mask = np.zeros((480, 640), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(pixels.round().astype(np.int32)), 1)
    alone = np.asarray(plan([wall, box], mask=mask > 0).grasps[0].pose_base)
    assert abs(alone[0, 0]) > math.cos(math.radians(10))
    assert abs(alone[0, 3]) < 0.005
