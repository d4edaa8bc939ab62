"""Whatever stands there and whatever the cup: never below the table, on unknown depth, over an edge, too steep, blocked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from suction_scenes import CELL, CUP, LeaningBox, Solid, body_collides, contact, item, surface_distances
from table_scenes import Box, Camera, Cylinder, camera, render

from grasp_client.contract import GraspPlan, Gripper, PlanRequest
from grasp_client.geometry import project, transform
from grasp_client.observation import Observation
from planning.base import LoadedNetwork
from planning.suction.analytic import SuctionPlanner
from planning.suction.filters import MOST_OVER_EDGE, MOST_TILT
from planning.suction.learned import SuctionDensePlanner
from planning.suction.seal import DROP
from shared.networks.suction_dense import SuctionScorer
from shared.registry import ModelCard

metres = st.floats
place = {"x": metres(-0.12, 0.12), "y": metres(-0.12, 0.12)}
boxes = st.builds(
    Box, **place, yaw=st.floats(0, math.pi), length=metres(0.02, 0.15), width=metres(0.02, 0.12), height=metres(0.004, 0.12)
)
cylinders = st.builds(Cylinder, **place, radius=metres(0.01, 0.06), height=metres(0.01, 0.12))
leaning = st.builds(
    LeaningBox,
    **place,
    z=metres(0.06, 0.09),
    yaw=st.floats(0, math.pi),
    lean=st.floats(-1.0, 1.0),
    length=metres(0.03, 0.1),
    width=metres(0.03, 0.1),
    height=metres(0.02, 0.05),
)
scenes = st.lists(st.one_of(boxes, cylinders, leaning), min_size=1, max_size=5)
cups = st.builds(lambda radius, offset: Gripper(kind="suction", cup_radius=radius, tcp_offset=offset), metres(0.005, 0.025),
                 metres(-0.01, 0.1))  # fmt: skip
TABLE = LeaningBox(0, 0, -0.05, 0, 0, 4, 4, 0.1)
SAME = 0.006
"""Two answers to one question lie this near, m: either is on its own lattice of centres, two cells apart."""
# The same scenes every time: another answer is then another planner.
quick = settings(max_examples=10, derandomize=True)


def check(plan: GraspPlan, view: Camera, depth: np.ndarray, gripper: Gripper, solids: list[Solid]) -> None:
    for grasp in plan.grasps:
        point, approach = contact(grasp, gripper)
        assert point[2] > 0.001
        assert math.acos(min(1.0, -approach[2])) <= MOST_TILT + 1e-3
        in_camera = transform(np.linalg.inv(view.pose), point[None])
        # An edge is known to a pixel and a cell, seen along the map: on a slope that is farther along the surface. So far over
        # what seems to be one a rim may reach.
        edge = (in_camera[0, 2] / view.intrinsics.fx + CELL) / -approach[2] + MOST_OVER_EDGE
        inside = max(0.0, 1 - edge / gripper.cup_radius)
        assert np.abs(surface_distances(grasp, [*solids, TABLE], gripper, spread=inside)).max() < DROP + 0.002
        assert not body_collides(grasp, solids, gripper, slack=0.001)
        u, v = (round(value) for value in project(in_camera, view.intrinsics)[0])
        assert 0 <= u < view.columns
        assert 0 <= v < view.rows
        assert depth[v, u] > 0


def plans(solids: list[Solid], view: Camera, depth: np.ndarray, gripper: Gripper) -> list[GraspPlan]:
    """Of the analytic planner and of one whose network knows nothing."""
    _, request = item(view, [], gripper, n_grasps=30)
    torch.manual_seed(0)
    network = SuctionScorer().eval()
    torch.nn.init.normal_(network.head[-1].weight)
    card = ModelCard(name="suction-dense", architecture="suction-dense")
    loaded = LoadedNetwork("suction-dense", 1, network, card, torch.device("cpu"))
    sent = [(Observation(depth=depth), request)]
    return [*SuctionPlanner().plan_batch(sent, None), *SuctionDensePlanner().plan_batch(sent, loaded)]


@quick
@given(solids=scenes, gripper=cups, tilt=st.floats(0, 0.5), turn=st.floats(0, 6))
def test_only_contacts_that_may_be_returned_are(solids: list[Solid], gripper: Gripper, tilt: float, turn: float) -> None:
    view = camera(240, 320, 262.5, tilt, turn)
    depth = render(view, solids)  # type: ignore[arg-type]
    for plan in plans(solids, view, depth, gripper):
        check(plan, view, depth, gripper, solids)


@quick
@given(solids=scenes, gripper=cups, seed=st.integers(0, 2**16))
def test_unknown_depth_is_never_touched(solids: list[Solid], gripper: Gripper, seed: int) -> None:
    view = camera(240, 320, 262.5)
    whole = render(view, solids)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    depth = whole.copy()
    for _ in range(12):
        u, v = rng.integers(320), rng.integers(240)
        depth[v : v + rng.integers(6, 30), u : u + rng.integers(6, 30)] = 0
    for plan in plans(solids, view, depth, gripper):
        check(plan, view, depth, gripper, solids)
        for grasp in plan.grasps:
            point, _ = contact(grasp, gripper)
            pose = np.asarray(grasp.pose_base)
            angle = np.linspace(0, 2 * math.pi, 24, endpoint=False)[:, None]
            rim = point + (gripper.cup_radius - CELL) * (np.cos(angle) * pose[:3, 0] + np.sin(angle) * pose[:3, 1])
            pixels = np.rint(project(transform(np.linalg.inv(view.pose), rim), view.intrinsics)).astype(int)
            around = [depth[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2] for u, v in pixels]
            assert all((part > 0).any() for part in around)


def best(solids: list[Solid], gripper: Gripper = CUP, view: Camera | None = None, **options: object) -> tuple[np.ndarray, ...]:
    sent = item(view or camera(480, 640, 525.0), solids, gripper, **options)
    [plan] = SuctionPlanner().plan_batch([sent], None)
    return contact(plan.grasps[0], gripper)


@pytest.mark.parametrize("turn", [0.6, 1.57, 2.5, 4.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.06, -0.04)])
def test_the_answer_moves_with_the_scene(turn: float, shift: tuple[float, float]) -> None:
    cos, sin = math.cos(turn), math.sin(turn)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    first = LeaningBox(0.01, 0.02, 0.06, 0.3, 0.4, 0.04, 0.034, 0.05)
    middle = rotation @ [first.x, first.y, 0] + [*shift, 0]
    moved = LeaningBox(middle[0], middle[1], first.z, first.yaw + turn, first.lean, first.length, first.width, first.height)
    (point, approach), (point_moved, approach_moved) = best([first]), best([moved])
    assert np.linalg.norm(rotation @ point + [*shift, 0] - point_moved) < SAME
    assert math.degrees(math.acos(min(1.0, float(rotation @ approach @ approach_moved)))) < 2


def test_twice_the_resolution_gives_the_same_answer() -> None:
    solid = LeaningBox(0.01, 0.02, 0.06, 0.3, 0.4, 0.06, 0.05, 0.05)
    (coarse, _), (fine, _) = best([solid], view=camera(360, 480, 400.0)), best([solid], view=camera(720, 960, 800.0))
    assert np.linalg.norm(coarse - fine) < SAME


def test_region_and_segmask_hold_the_contact() -> None:
    solids: list[Solid] = [Box(-0.08, 0, 0.2, 0.08, 0.08, 0.03), Box(0.08, 0, 0.2, 0.08, 0.08, 0.03)]
    view, offset = camera(480, 640, 525.0), CUP.model_copy(update={"tcp_offset": 0.1})
    observation, request = item(view, solids, offset, region=[330.0, 0.0, 639.0, 479.0])
    mask = np.zeros(observation.size, bool)
    mask[:, :310] = True
    masked = Observation(depth=observation.depth, segmask=mask)
    [right] = SuctionPlanner().plan_batch([(observation, request)], None)
    [left] = SuctionPlanner().plan_batch([(masked, request.model_copy(update={"region": None}))], None)
    assert right.grasps
    assert left.grasps
    assert right.rejections["region"] > 0
    assert left.rejections["segmask"] > 0
    assert all(contact(grasp, offset)[0][0] > 0.01 for grasp in right.grasps)
    assert all(contact(grasp, offset)[0][0] < -0.01 for grasp in left.grasps)


def test_without_a_camera_a_reply_has_pixels_only() -> None:
    observation, request = item(camera(480, 640, 525.0), [Box(0, 0, 0.2, 0.08, 0.08, 0.03)])
    [plan] = SuctionPlanner().plan_batch([(observation, PlanRequest(gripper=request.gripper))], None)
    assert plan.grasps
    assert plan.warnings
    assert plan.grasps[0].pose_camera is None
    assert plan.grasps[0].depth is None
