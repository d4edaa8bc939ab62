"""One thing is wanted: only it is held, whoever stands beside it, and a pixel is enough to say which."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from places import SHIPPED
from table_scenes import Box, Camera, Solid, camera, render

from grasp_client.contract import GraspPlan, Gripper, PlanRequest
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.batched_inference import plan_batched
from planning.goal.marking import mark_goal, thing_at
from planning.jaw.analytic import AntipodalPlanner
from planning.local import local_planner
from planning.scene.scene import observe_scene
from planning.suction.analytic import SuctionPlanner

VIEW = camera(480, 640, 525.0)
GOAL = Box(0.0, 0.0, 0.3, 0.03, 0.05, 0.05)


def mask_of(solids: list[Solid], view: Camera = VIEW) -> np.ndarray:
    """Pixels that see the first solid."""
    return render(view, solids) < render(view, solids[1:]) - 1e-6


def asked(solids: list[Solid], view: Camera = VIEW, goal: np.ndarray | None = None, **options: object) -> GraspPlan:
    observation = Observation(depth=render(view, solids), goal=mask_of(solids, view) if goal is None else goal)
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), **options)
    planner = SuctionPlanner() if request.gripper.kind == "suction" else AntipodalPlanner()
    [plan] = plan_batched([(planner, None, (observation, request))])
    return plan


def centres(plan: GraspPlan) -> np.ndarray:
    return np.array([np.array(grasp.pose_base)[:2, 3] for grasp in plan.grasps]).reshape(-1, 2)


def beside(distance: float, height: float = 0.05) -> Solid:
    """A block `distance` m from the goal along its short side."""
    along = 0.03 + distance
    return Box(along * np.cos(0.3), along * np.sin(0.3), 0.3, 0.03, 0.05, height)


def test_only_the_goal_is_held() -> None:
    solids: list[Solid] = [GOAL, Box(0.1, 0.1, 0.0, 0.03, 0.06, 0.04), Box(-0.1, 0.05, 0.0, 0.04, 0.04, 0.04)]
    plan = asked(solids)
    assert len(plan.grasps) >= 2
    assert np.hypot(*centres(plan).T).max() < 0.02
    assert plan.rejections["not_goal"] > 0
    assert plan.grasps[0].quality > 0.8


def test_no_grasp_holds_the_goal_with_its_neighbour() -> None:
    """Both blocks together are 60 mm wide, which the hand spans: without ownership that is what it does."""
    solids = [GOAL, beside(0.0)]
    free = asked(solids, goal=np.ones((480, 640), bool) & (np.indices((480, 640)).sum(0) % 2 == 0))
    assert max(grasp.width for grasp in free.grasps if grasp.width) > 0.06
    plan = asked(solids)
    assert closing_over_joint(plan) == []
    assert plan.rejections["not_goal"] > 0


def closing_over_joint(plan: GraspPlan) -> list[float]:
    """Qualities of the grasps that close across the side which the goal and its neighbour share, of those worth a try."""
    good = [grasp for grasp in plan.grasps if grasp.quality > 0.5]
    assert good
    return [each.quality for each in good if abs(np.array(each.pose_base)[:2, 0] @ [np.cos(0.3), np.sin(0.3)]) > 0.5]


def test_an_enclosed_goal_is_not_held() -> None:
    ring: list[Solid] = [Box(0.0, 0.055 * s, 0.0, 0.16, 0.05, 0.06) for s in (1, -1)]
    ring += [Box(0.055 * s, 0.0, 0.0, 0.05, 0.06, 0.06) for s in (1, -1)]
    plan = asked([Box(0.0, 0.0, 0.0, 0.055, 0.055, 0.05), *ring])
    assert plan.grasps == []


def test_a_cup_lies_wholly_on_the_goal() -> None:
    """Two plates flush: a cup over their joint would seal, and lift both or neither."""
    solids: list[Solid] = [Box(0.0, 0.0, 0.0, 0.06, 0.06, 0.03), Box(0.06, 0.0, 0.0, 0.06, 0.06, 0.03)]
    plan = asked(solids, gripper=Gripper(kind="suction"), n_grasps=100)
    assert len(plan.grasps) >= 1
    assert np.abs(centres(plan)).max() < 0.030 - 0.015 + 0.003


def test_dense_holds_the_goal_too() -> None:
    solids = [GOAL, beside(0.0)]
    item = Observation(depth=render(VIEW, solids), goal=mask_of(solids))
    plan = local_planner("dense", SHIPPED).plan(item, PlanRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist()))
    assert closing_over_joint(plan) == []


def test_a_tilted_camera_sees_the_same_goal() -> None:
    view = camera(480, 640, 525.0, tilt=0.4, turn=1.0)
    plan = asked([GOAL, Box(0.1, 0.1, 0.0, 0.03, 0.06, 0.04)], view)
    assert len(plan.grasps) >= 1
    assert np.hypot(*centres(plan).T).max() < 0.02


def pointed(solids: list[Solid], point: tuple[float, float], rgb: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
    request = PlanRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist(), point=list(point))
    (observation, left), told = mark_goal((Observation(depth=render(VIEW, solids), rgb=rgb), request))
    assert observation.goal is not None
    assert left.point is None
    return observation.goal, told


def agreement(mask: np.ndarray, other: np.ndarray) -> float:
    return float((mask & other).sum() / (mask | other).sum())


@pytest.mark.parametrize("neighbour", [beside(0.01), beside(0.0, height=0.03), beside(0.0, height=0.08)])
def test_a_pixel_marks_what_is_apart_or_of_another_height(neighbour: Solid) -> None:
    mask, told = pointed([GOAL, neighbour], (319, 239))
    assert agreement(mask, mask_of([GOAL, neighbour])) > 0.85
    assert told == []


def test_a_pixel_two_beyond_the_edge_of_a_thing_marks_all_of_it() -> None:
    """Noise parts single cells of an edge from the thing: they are not what is wanted."""
    solids: list[Solid] = [Box(0.0, 0.0, 0.3, 0.05, 0.05, 0.05), Box(0.047, 0.015, 0.3, 0.04, 0.05, 0.07)]
    depth = render(VIEW, solids) + np.random.default_rng(0).normal(0, 0.002, (480, 640))
    request = PlanRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist())
    scene = observe_scene(Observation(depth=depth), request, torch.device("cpu"))
    mask = mask_of(solids)
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    rim = np.argwhere(grown & ~cv2.erode(grown, np.ones((3, 3), np.uint8)).astype(bool))
    sizes = [thing_at(scene, (int(u), int(v)))[0].sum() for v, u in rim[::12]]
    assert len(sizes) > 15
    assert min(sizes) > 0.5 * mask.sum()


def test_a_pixel_cannot_part_what_is_flush_but_colour_can() -> None:
    other = Box(0.045 * np.cos(0.3), 0.045 * np.sin(0.3), 0.3, 0.06, 0.16, 0.05)
    mask, told = pointed([GOAL, other], (319, 239))
    assert agreement(mask, mask_of([GOAL, other])) < 0.6
    assert [each.split(":")[0] for each in told] == ["goal_not_told_apart"]
    rgb = np.full((480, 640, 3), 120, np.uint8)
    rgb[mask_of([GOAL, other])] = (200, 40, 40)
    rgb[mask_of([other, GOAL])] = (40, 60, 200)
    mask, told = pointed([GOAL, other], (319, 239), rgb)
    assert agreement(mask, mask_of([GOAL, other])) > 0.85
    assert told == []


def test_colour_alone_marks_what_has_one_colour() -> None:
    rgb = np.full((480, 640, 3), 120, np.uint8)
    rgb[100:200, 300:360] = (200, 40, 40)
    (observation, _), told = mark_goal((Observation(rgb=rgb), PlanRequest(point=[320, 150])))
    assert observation.goal is not None
    assert abs(int(observation.goal.sum()) - 6000) < 600  # a pixel or two at the rim: things are found in a coarser picture
    assert told[0].startswith("goal_by_colour")


@pytest.mark.parametrize(
    ("mask", "code"), [(np.zeros((480, 640), bool), "empty_goal"), (np.ones((480, 640), bool), "goal_too_large")]
)
def test_a_mask_of_nothing_or_of_the_table_is_refused(mask: np.ndarray, code: str) -> None:
    with pytest.raises(PlannerError) as refused:
        asked([GOAL], goal=mask)
    assert (refused.value.status, refused.value.code) == (422, code)


def test_a_pixel_of_the_table_or_of_a_hole_is_refused() -> None:
    for solids, hole, code in (([GOAL], False, "point_on_table"), ([GOAL], True, "point_without_depth")):
        depth = render(VIEW, list[Solid](solids))
        if hole:
            depth[40:60, 40:60] = 0
        request = PlanRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist(), point=[50, 50])
        with pytest.raises(PlannerError) as refused:
            mark_goal((Observation(depth=depth), request))
        assert (refused.value.status, refused.value.code) == (422, code)


def test_a_goal_that_nothing_shows_is_told() -> None:
    depth = render(VIEW, [GOAL])
    goal = np.zeros_like(depth, dtype=bool)
    goal[10:30, 10:30] = True
    depth[goal] = 0
    request = PlanRequest(camera=VIEW.intrinsics, camera_pose=VIEW.pose.tolist())
    [plan] = plan_batched([(AntipodalPlanner(), None, (Observation(depth=depth, goal=goal), request))])
    assert plan.grasps == []
    assert plan.warnings[0].startswith("goal: no pixel of goal has a depth reading")
