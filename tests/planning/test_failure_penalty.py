"""Grasps that failed: those near them lose, others move up, and nothing is answered with silence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from gqcnn_scenes import BLOCK_CAMERA, block
from places import SHIPPED
from suction_scenes import item
from table_scenes import Box, camera

from grasp_client.contract import FailedGrasp, Grasp, GraspPlan, Gripper, PlanRequest
from grasp_client.geometry import pose_from
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem, Planner
from planning.batched_inference import plan_batched
from planning.failure_penalty import distances_to_failures, logit_penalty, penalize
from planning.local import local_planner

VIEW = camera(480, 640, 525.0)
LEFT, RIGHT = Box(-0.13, 0.0, 0.3, 0.12, 0.04, 0.05), Box(0.13, 0.01, -0.4, 0.1, 0.035, 0.03)
JAW, CUP = Gripper(max_width=0.08), Gripper(kind="suction", cup_radius=0.015)
PLANNERS = [
    (name, gripper)
    for names, gripper in ((("antipodal", "dense", "gqcnn", "fc_gqcnn", "heatmap", "ensemble"), JAW),
                           (("suction", "suction_dense", "suction_gqcnn"), CUP))
    for name in names
]  # fmt: skip
LONG = {"fc_gqcnn"}
"""Scores every pixel of both objects twice, which takes ten times as long as all others together."""


def scene(gripper: Gripper, solids: tuple[Box, ...] = (LEFT, RIGHT), **options: object) -> PlanItem:
    observation, request = item(VIEW, list(solids), gripper, seed=1, **options)
    grey = np.repeat(np.uint8(255 * (observation.depth < 0.69))[..., None] // 2, 3, axis=2)
    return Observation(depth=observation.depth, rgb=grey), request


def plan(name: str, asked: PlanItem) -> GraspPlan:
    return local_planner(name, SHIPPED).plan(*asked)


def with_failed(asked: PlanItem, *failed: Grasp | FailedGrasp, **options: object) -> PlanItem:
    names = [
        each if isinstance(each, FailedGrasp) else FailedGrasp(center_px=each.center_px, angle=each.angle, depth=each.depth)
        for each in failed
    ]
    return asked[0], asked[1].model_copy(update={"failed": names, **options})


def on_left(grasp: Grasp) -> bool:
    return grasp.center_px[0] < VIEW.columns / 2


@pytest.mark.parametrize(
    ("name", "gripper"), [pytest.param(*each, marks=[pytest.mark.slow] * (each[0] in LONG)) for each in PLANNERS]
)
def test_every_planner_looks_elsewhere_after_failures(name: str, gripper: Gripper) -> None:
    asked = scene(gripper, n_grasps=3)
    first = plan(name, asked)
    assert first.grasps, first.rejections
    best = first.grasps[0]
    # Whatever its quality says against the others: a few failures at one object outweigh it.
    again = plan(name, with_failed(asked, *[best] * 4))
    assert on_left(again.grasps[0]) != on_left(best)
    assert len(again.grasps) == 3
    assert [g.quality for g in again.grasps] == sorted((g.quality for g in again.grasps), reverse=True)


def test_what_did_not_fail_keeps_its_quality_and_the_failed_object_its_grasps() -> None:
    asked = scene(JAW, n_grasps=300)
    before, after = plan("antipodal", asked), plan("antipodal", with_failed(asked, plan("antipodal", asked).grasps[0]))
    quality = {tuple(grasp.center_px): grasp.quality for grasp in before.grasps}
    best = before.grasps[0]
    far = [grasp for grasp in after.grasps if on_left(grasp) != on_left(best)]
    assert far
    for grasp in far:
        assert grasp.quality == pytest.approx(quality[tuple(grasp.center_px)], abs=0.01)
    near = [grasp for grasp in after.grasps if on_left(grasp) == on_left(best)]
    assert len(near) == sum(on_left(grasp) == on_left(best) for grasp in before.grasps)
    assert all(grasp.quality < quality[tuple(grasp.center_px)] - 0.01 * grasp.quality for grasp in near)


class Echo(Planner):
    """Answers every item with the same plan, and keeps what it was asked."""

    name = "echo"
    description = "For tests."
    made = GraspPlan(planner="echo")

    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        self.asked = list(items)
        return [self.made]


def test_without_failures_nothing_is_touched() -> None:
    asked, planner = scene(JAW), Echo()
    [plan] = plan_batched([(planner, None, asked)])
    assert planner.asked[0] is asked
    assert plan is planner.made


def test_the_only_grasp_is_answered_again_with_less_quality_unless_that_is_too_little() -> None:
    asked = (block(), PlanRequest(camera=BLOCK_CAMERA, n_grasps=1))
    best = plan("antipodal", asked).grasps[0]
    again = plan("antipodal", with_failed(asked, best, n_grasps=1000))
    same = min(again.grasps, key=lambda grasp: np.hypot(*np.subtract(grasp.center_px, best.center_px)))
    assert same.center_px == pytest.approx(best.center_px, abs=1.0)
    assert 0 < same.quality < best.quality
    refused = plan("antipodal", with_failed(asked, *[best] * 5, min_quality=0.5))
    assert refused.grasps == []
    assert refused.rejections["low_quality"] >= 1


def test_an_object_that_takes_all_places_does_not_hide_another() -> None:
    asked = scene(JAW, (Box(-0.16, 0.0, 0.0, 0.28, 0.03, 0.05), Box(0.13, 0.04, 0.5, 0.05, 0.05, 0.03)), n_grasps=4)
    first = plan("antipodal", asked).grasps
    more = plan("antipodal", (asked[0], asked[1].model_copy(update={"n_grasps": 20}))).grasps
    assert all(on_left(grasp) for grasp in more), "a scene in which it does"
    assert not all(on_left(grasp) for grasp in plan("antipodal", with_failed(asked, *first)).grasps)


def test_doubt_falls_with_distance_and_angle_grows_with_the_promise_and_adds_up() -> None:
    distance, sure = np.array([[0.0], [0.01], [0.03], [0.06], [0.3]]), np.ones(1)
    lost = logit_penalty(distance, np.zeros_like(distance), sure)
    assert (np.diff(lost) < 0).all()
    assert lost[0] > 4
    assert lost[-1] < 1e-4
    turned = logit_penalty(distance, np.full_like(distance, np.pi / 2), sure)
    assert 1 < turned[0] < lost[0] - 2
    assert turned[3] == pytest.approx(lost[3], abs=1e-6), "an object is as heavy from every side"
    assert logit_penalty(np.repeat(distance, 2, 1), np.zeros((5, 2)), np.ones(2)) == pytest.approx(2 * lost)
    assert (logit_penalty(distance, np.zeros_like(distance), np.array([0.3])) < 0.2 * lost).all()
    assert not logit_penalty(distance, np.zeros_like(distance), np.zeros(1)).any()


@pytest.mark.parametrize("depth", [None, 0.65])
@pytest.mark.parametrize("metric", [True, False])
def test_distances_are_metric_with_or_without_a_camera(depth: float | None, metric: bool) -> None:
    request = PlanRequest(
        camera=VIEW.intrinsics if metric else None, failed=[FailedGrasp(center_px=[300, 200], angle=0.2, depth=depth)]
    )
    sent = Observation(depth=np.full((480, 640), 0.65, np.float32))
    grasps = [
        Grasp(kind="parallel_jaw", quality=0.9, center_px=[u, 200], angle=0.2, depth=0.65 if metric else None)
        for u in (300, 305, 340, 600)
    ]
    left = penalize(GraspPlan(planner="x", grasps=grasps), (sent, request)).grasps
    assert [grasp.center_px[0] for grasp in left] == [600, 340, 305, 300]
    assert left[0].quality == pytest.approx(0.9, abs=1e-3)
    assert 0.4 < left[1].quality < 0.8, "5 cm away: perhaps of the same object"
    assert left[3].quality < 0.05


def moved(grasp: Grasp, lean: float = 0.0, along: float = 0.0) -> Grasp:
    """A grasp leaned about its closing axis (rad) and moved along it (m)."""
    cos, sin = math.cos(lean), math.sin(lean)
    step = pose_from(np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]), np.array([along, 0, 0]))
    return grasp.model_copy(update={"pose_camera": (np.asarray(grasp.pose_camera) @ step).tolist()})


def test_a_failed_pose_counts_like_its_pixel_angle_and_depth() -> None:
    asked = scene(JAW, n_grasps=30)
    grasps = plan("antipodal", asked).grasps
    best = grasps[0]
    by_pixel = FailedGrasp(center_px=best.center_px, angle=best.angle, depth=best.depth)
    in_base = (VIEW.pose @ np.asarray(best.pose_camera)).tolist()
    expected = distances_to_failures(grasps, with_failed(asked, by_pixel))
    for failed in (FailedGrasp(pose_camera=best.pose_camera), FailedGrasp(pose_base=in_base)):
        found = distances_to_failures(grasps, with_failed(asked, failed))
        assert np.allclose(found[0], expected[0], atol=1e-6)
        assert np.allclose(found[1], expected[1], atol=1e-3)


def test_a_failed_pose_tells_less_of_another_side_and_the_same_of_half_a_turn() -> None:
    asked = scene(JAW, n_grasps=1)
    [best] = plan("antipodal", asked).grasps
    turned = np.asarray(best.pose_camera) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    failed = [moved(best).pose_camera, turned.tolist(), moved(best, lean=0.7).pose_camera, moved(best, along=0.02).pose_camera]
    distance, turn = distances_to_failures([best], with_failed(asked, *(FailedGrasp(pose_camera=pose) for pose in failed)))
    assert distance[0] == pytest.approx([0, 0, 0, 0.02], abs=1e-6)
    assert turn[0] == pytest.approx([0, 0, 0.7, 0], abs=1e-3)  # poses are float32: an arc cosine near 1 sees it


@pytest.mark.parametrize(
    ("failed", "options", "message"),
    [
        ({"angle": 0.3}, {}, "center_px, pose_camera or pose_base"),
        ({"pose_camera": np.eye(4).tolist()}, {}, "send `camera`"),
        ({"pose_base": np.eye(4).tolist()}, {"camera": VIEW.intrinsics}, "needs `camera_pose`"),
        ({"pose_camera": (2 * np.eye(4)).tolist()}, {"camera": VIEW.intrinsics}, "last row"),
    ],
)
def test_failed_poses_are_checked(failed: dict, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlanRequest(failed=[failed], **options)


def test_colours_alone_look_elsewhere_too() -> None:
    asked = scene(JAW, n_grasps=2)
    colours = (Observation(rgb=asked[0].rgb), asked[1].model_copy(update={"camera": None, "camera_pose": None}))
    best = plan("heatmap", colours).grasps[0]
    again = plan("heatmap", with_failed(colours, *[best] * 6))
    assert np.hypot(*np.subtract(again.grasps[0].center_px, best.center_px)) > 40
