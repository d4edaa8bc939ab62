"""Whatever stands on the table and whatever the hand: no grasp below the table, on unknown depth, too wide, or in collision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from table_scenes import Box, Camera, Cylinder, Solid, camera, collides, render

from grasp_client.contract import GraspPlan, Gripper, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork
from planning.jaw.analytic import AntipodalPlanner
from planning.jaw.learned import DensePlanner
from shared.networks.dense import DenseScorer
from shared.registry import ModelCard

metres = st.floats
boxes = st.builds(
    Box,
    x=metres(-0.12, 0.12),
    y=metres(-0.12, 0.12),
    yaw=st.floats(0, math.pi),
    length=metres(0.01, 0.15),
    width=metres(0.008, 0.08),
    height=metres(0.004, 0.12),
)
cylinders = st.builds(
    Cylinder, x=metres(-0.12, 0.12), y=metres(-0.12, 0.12), radius=metres(0.006, 0.05), height=metres(0.01, 0.12)
)
scenes = st.lists(st.one_of(boxes, cylinders), min_size=1, max_size=5)


def hand_of(finger_thickness: float, finger_depth: float, thin: float, low: float, **sizes: float) -> Gripper:
    """Its pads are `thin` of a finger's thickness and reach `low` of its length up."""
    pads = {"pad_thickness": thin * finger_thickness, "pad_depth": low * finger_depth}
    return Gripper(finger_thickness=finger_thickness, finger_depth=finger_depth, **pads, **sizes)  # type: ignore[arg-type]


grippers = st.builds(
    hand_of,
    max_width=metres(0.03, 0.14),
    finger_width=metres(0.006, 0.03),
    finger_thickness=metres(0.004, 0.03),
    finger_depth=metres(0.02, 0.09),
    thin=st.floats(0.2, 1),
    low=st.floats(0.05, 1),
    palm_width=metres(0.06, 0.25),
    palm_thickness=metres(0.02, 0.09),
    tcp_offset=metres(-0.01, 0.1),
)
quick = examples(15)


@pytest.fixture(params=[Box(0.0, 0.0, 0.4, 0.10, 0.03, 0.04), Cylinder(0.02, 0.01, 0.025, 0.06)], ids=["box", "cylinder"])
def easy(request: pytest.FixtureRequest) -> Solid:
    return request.param


def test_there_are_grasps_to_check(easy: Solid) -> None:
    """The properties below say nothing of an empty plan: on an easy thing there must be one to look at."""
    view = camera(240, 320, 262.5)
    depth = render(view, [easy])
    [plan] = AntipodalPlanner().plan_batch(
        [(Observation(depth=depth), PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist()))], None
    )
    assert len(plan.grasps) > 3
    check(plan, view, depth, Gripper(), [easy])
    wrong = plan.grasps[0].model_copy(update={"width": 0.2})
    with pytest.raises(AssertionError):
        check(plan.model_copy(update={"grasps": [wrong]}), view, depth, Gripper(), [easy])


def check(plan: GraspPlan, view: Camera, depth: np.ndarray, gripper: Gripper, solids: list[Solid]) -> None:
    for grasp in plan.grasps:
        pose = np.asarray(grasp.pose_base)
        tip = pose[:3, 3] + gripper.tcp_offset * pose[:3, 2]
        assert tip[2] > 0.001
        assert grasp.width is not None
        assert grasp.width <= gripper.max_width + 1e-4
        u, v = (round(value) for value in grasp.center_px)
        if pose[2, 3] < view.pose[2, 3] - 0.05:  # the tool frame is in front of the camera
            assert 0 <= u < view.columns
            assert 0 <= v < view.rows
            assert depth[v, u] > 0
        assert not collides(grasp, gripper, solids, slack=0.001)


@quick
@given(solids=scenes, gripper=grippers, tilt=st.floats(0, math.radians(30)), turn=st.floats(0, 6))
def test_antipodal_grasps_are_safe(solids: list[Solid], gripper: Gripper, tilt: float, turn: float) -> None:
    view = camera(240, 320, 262.5, tilt, turn)
    depth = render(view, solids)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), gripper=gripper, n_grasps=15)
    [plan] = AntipodalPlanner().plan_batch([(Observation(depth=depth), request)], None)
    check(plan, view, depth, gripper, solids)


@quick
@given(solids=scenes, seed=st.integers(0, 1000), holes=st.integers(0, 6))
def test_grasps_are_never_on_holes(solids: list[Solid], seed: int, holes: int) -> None:
    view = camera(240, 320, 262.5)
    depth = render(view, solids)
    random = np.random.default_rng(seed)
    for row, column, size in zip(
        random.integers(0, 240, holes), random.integers(0, 320, holes), random.integers(3, 60, holes), strict=True
    ):
        depth[row : row + size, column : column + size] = 0
    depth[random.random(depth.shape) < 0.05] = 0
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist())
    [plan] = AntipodalPlanner().plan_batch([(Observation(depth=depth), request)], None)
    for grasp in plan.grasps:
        assert depth[round(grasp.center_px[1]), round(grasp.center_px[0])] > 0


@quick
@given(solids=scenes, seed=st.integers(0, 3))
def test_dense_grasps_are_safe_whatever_the_network_says(solids: list[Solid], seed: int) -> None:
    view = camera(240, 320, 262.5, 0.2, 1.0)
    depth = render(view, solids)
    torch.manual_seed(seed)
    module = DenseScorer().eval()
    torch.nn.init.normal_(module.head[-1].weight)
    network = LoadedNetwork("dense", 1, module, ModelCard(name="dense", architecture="dense"), torch.device("cpu"))
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist())
    [plan] = DensePlanner().plan_batch([(Observation(depth=depth), request)], network)
    check(plan, view, depth, Gripper(), solids)


@quick
@given(solids=scenes, data=st.data())
def test_region_and_segmask_hold_for_every_centre(solids: list[Solid], data: st.DataObject) -> None:
    view = camera(240, 320, 262.5)
    u0, v0 = data.draw(st.integers(0, 200)), data.draw(st.integers(0, 150))
    region = [u0, v0, u0 + data.draw(st.integers(10, 119)), v0 + data.draw(st.integers(10, 89))]
    mask = np.zeros((240, 320), bool)
    mask[:, 100:220] = True
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), region=region)
    [plan] = AntipodalPlanner().plan_batch([(Observation(depth=render(view, solids), segmask=mask), request)], None)
    for grasp in plan.grasps:
        u, v = grasp.center_px
        assert region[0] <= u <= region[2]
        assert region[1] <= v <= region[3]
        assert mask[round(v), round(u)]
