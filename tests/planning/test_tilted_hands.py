"""A hand that leans: the same scene seen along its approach and from straight above tells the same of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from table_scenes import Box, Camera, Solid, camera, render

from grasp_client.contract import Grasp, Gripper, PlanRequest
from grasp_client.geometry import approach_frame, invert, pose_from
from grasp_client.observation import Observation
from planning.candidates import distinct_poses
from planning.jaw.collision import hand_overlap
from planning.jaw.filters import dip, veto
from planning.jaw.fit import measure
from planning.jaw.search import predict
from planning.limits import FINGER_GAP, PALM_GAP
from planning.scene.projection import project_jaw
from planning.scene.scene import PlanningScene, observe_scene
from shared.features.hand_frame import SPAN, patches
from shared.grasp_poses import HandPose, cups_of, hands_of

GRIPPER = Gripper()
TILT = math.radians(20)
BAR = Box(0.0, 0.0, 0.3, 0.14, 0.03, 0.05)
VIEW = camera(480, 640, 525.0)


def scene_of(view: Camera, solids: list[Solid], lean: float = 0.0) -> PlanningScene:
    """The scene in a map whose vertical leans by `lean` (rad) from the table's normal, about the base's y."""
    cos, sin = math.cos(lean), math.sin(lean)
    leaning = pose_from(np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]), np.zeros(3)) @ view.pose
    request = PlanRequest(camera=view.intrinsics, camera_pose=leaning.tolist(), gripper=GRIPPER)
    return observe_scene(Observation(depth=render(view, solids)), request, torch.device("cpu"))


def hand(view: Camera, solid: Box, lean: float, tip: float = 0.015, width: float = 0.06) -> Grasp:
    """Across a box, its approach leaning by `lean` (rad) from straight down about the closing axis, tips `tip` m high."""
    axis = solid.yaw + math.pi / 2
    closing, along = np.array([math.cos(axis), math.sin(axis), 0]), np.array([-math.sin(axis), math.cos(axis), 0])
    approach = math.sin(lean) * along - math.cos(lean) * np.array([0, 0, 1.0])
    pose = invert(view.pose) @ approach_frame(np.array([solid.x, solid.y, tip]), closing, approach)
    return Grasp(kind="parallel_jaw", quality=0.5, center_px=[0, 0], angle=0, width=width, pose_camera=pose.tolist())


def blocked(scene: PlanningScene, pose: HandPose) -> list[bool]:
    fingers, palm = hand_overlap(scene, pose)
    return ((fingers > -FINGER_GAP) | (palm > -PALM_GAP)).tolist()


@pytest.mark.parametrize("lean", [0.0, 0.4, -1.0])
def test_poses_survive_the_way_to_the_camera_and_back(lean: float) -> None:
    scene = scene_of(VIEW, [BAR])
    sent = hand(VIEW, BAR, lean)
    pose = hands_of(scene.map.pose, [sent], GRIPPER)
    assert pose.straight == (lean == 0)
    assert math.acos(float(pose.approach[0, 2])) == pytest.approx(abs(lean), abs=1e-3)
    back = project_jaw(scene, GRIPPER, pose).pose[0].numpy()
    assert np.allclose(back, np.asarray(sent.pose_camera), atol=1e-6)


def test_an_offset_tool_moves_the_reported_pose_along_the_approach() -> None:
    scene, tool = scene_of(VIEW, [BAR]), Gripper(tcp_offset=0.04)
    pose = hands_of(scene.map.pose, [hand(VIEW, BAR, 0.5)], GRIPPER)
    reported = project_jaw(scene, tool, pose).pose[0].numpy()
    sent = Grasp(kind="parallel_jaw", quality=0.5, center_px=[0, 0], angle=0, width=0.06, pose_camera=reported.tolist())
    assert torch.allclose(hands_of(scene.map.pose, [sent], tool).position, pose.position, atol=1e-6)


def test_a_leaning_hand_hits_a_wall_that_a_straight_one_clears_and_the_other_way_round() -> None:
    near, wall = Box(0.0, 0.0, 0.0, 0.04, 0.03, 0.05), Box(-0.08, 0.0, 0.0, 0.02, 0.20, 0.12)
    scene = scene_of(VIEW, [near, wall])
    lean = math.radians(30)
    hands = hands_of(scene.map.pose, [hand(VIEW, near, each, tip=0.02) for each in (0.0, lean, -lean)], GRIPPER)
    assert blocked(scene, hands) in ([False, True, False], [False, False, True])
    assert blocked(scene_of(VIEW, [near]), hands) == [False, False, False]
    low = Box(0.0, 0.0, 0.0, 0.04, 0.03, 0.02)
    low_hands = hands_of(scene.map.pose, [hand(VIEW, low, each, tip=0.004) for each in (0.0, lean)], GRIPPER)
    straight, leaning = (low_hands.tip - dip(scene, low_hands)).tolist()
    assert straight == pytest.approx(0.004, abs=1e-4)
    assert leaning == pytest.approx(0.004 - math.sin(lean) * GRIPPER.finger_width / 2, abs=1e-4)


def test_collisions_are_the_same_in_a_map_along_the_approach_and_in_one_across_it() -> None:
    """Hands that come along the table's normal, in the map along it and in one that leans: a wall stands beside the bar. It
    leans along itself: what a height map fills under an overhang is not free, whoever looks."""
    bar, wall = Box(0.0, 0.0, 0.0, 0.14, 0.03, 0.05), Box(0.0, 0.0615, 0.0, 0.20, 0.02, 0.09)
    along, across = scene_of(VIEW, [bar, wall]), scene_of(VIEW, [bar, wall], TILT)
    sent = [hand(VIEW, bar, 0.0, tip, width) for tip in (0.015, 0.03) for width in (0.04, 0.05, 0.065, 0.08)]
    straight, leaning = (hands_of(scene.map.pose, sent, GRIPPER) for scene in (along, across))
    assert straight.straight
    assert not leaning.straight
    expected, _ = hand_overlap(along, straight)
    found, _ = hand_overlap(across, leaning)
    assert (expected > 0).any()
    assert (expected < -FINGER_GAP).any()
    assert ((expected > -FINGER_GAP) == (found > -FINGER_GAP)).all()


def test_a_finger_is_thick_above_its_pad() -> None:
    """A neighbour is clear of the pads and, where it is taller than these, not of the fingers above: in what is proposed, and
    in what may never be."""
    bar, hands = Box(0.0, 0.0, 0.0, 0.14, 0.03, 0.03), []
    for height, gap in ((0.05, 0.020), (0.02, 0.020), (0.05, 0.034)):
        scene = scene_of(VIEW, [bar, *(Box(0.0, side * (0.02 + gap + 0.01), 0.0, 0.2, 0.02, height) for side in (-1, 1))])
        pose = hands_of(scene.map.pose, [hand(VIEW, bar, 0.0, 0.01, 0.04)], GRIPPER)
        overlap = float(hand_overlap(scene, pose)[0])
        found, _ = measure(scene, pose.x, pose.y, torch.tensor([math.pi / 2]), pose.tip)
        hands.append((overlap > -FINGER_GAP, len(found) == 0))
    assert hands == [(True, True), (False, False), (False, False)]


def test_features_are_the_same_in_a_map_along_the_approach_and_in_one_across_it() -> None:
    along, across = scene_of(VIEW, [BAR]), scene_of(VIEW, [BAR], TILT)
    sent = [hand(VIEW, BAR, 0.0, tip) for tip in (0.01, 0.03)]
    expected, found = (patches(scene.map, hands_of(scene.map.pose, sent, GRIPPER), GRIPPER) for scene in (along, across))
    assert torch.equal(expected[:, 2], found[:, 2])
    for height, known in ((0, 1), (3, 4)):
        both = (expected[:, known] > 0.99) & (found[:, known] > 0.99)
        off = (expected[:, height] - found[:, height]).abs()[both]
        assert both.float().mean() > 0.6
        assert off.median() < 0.002 / SPAN
        assert off.mean() < 0.06
    flattened = HandPose.straight_down(*(torch.zeros(2) for _ in range(3)), torch.zeros(2), torch.full((2,), 0.06))  # type: ignore[call-arg]
    assert (patches(across.map, flattened, GRIPPER)[:, 0] - expected[:, 0]).abs().mean() > 0.1, "the lean matters"


def test_suppression_is_the_same_in_every_frame_and_knows_half_a_turn() -> None:
    scenes = [scene_of(VIEW, [BAR], lean) for lean in (0.0, TILT)]
    hands, _ = predict(scenes[0])
    straight, placed = hands.pose, project_jaw(scenes[0], GRIPPER, hands.pose)
    sent = [
        Grasp(kind="parallel_jaw", quality=0.5, center_px=[0, 0], angle=0, width=float(width), pose_camera=pose.tolist())
        for pose, width in zip(placed.pose.numpy(), straight.width, strict=True)
    ]
    leaning = hands_of(scenes[1].map.pose, sent, GRIPPER)
    chosen = distinct_poses(straight, hands.score, 50)
    assert 3 < len(chosen) < len(sent)
    assert torch.equal(chosen, distinct_poses(leaning, hands.score, 50))
    turned = HandPose(leaning.position[:1].repeat(3, 1), leaning.approach[:1].repeat(3, 1),
                      leaning.angle[:1] + torch.tensor([0.0, math.pi, math.pi / 2]), leaning.width[:1].repeat(3))  # fmt: skip
    worse = torch.tensor([3.0, 2.0, 1.0])
    assert distinct_poses(turned, worse, 3).tolist() == [0, 2]
    assert distinct_poses(turned, -worse, 3).tolist() == [2, 1], "the best first, wherever it stands"
    assert distinct_poses(turned, -worse, 3, least=-1.5).tolist() == [2], "none of less"
    apart = HandPose(turned.position, torch.eye(3)[[2, 2, 0]], torch.zeros(3), turned.width)
    assert distinct_poses(apart, worse, 3).tolist() == [0, 2], "the same place from another side"


def test_filters_refuse_what_leans_into_the_table() -> None:
    scene = scene_of(VIEW, [BAR])
    hands, _ = predict(scene)
    best = hands.best_first(hands.score).pick(torch.tensor([0]))
    kept, rejected = veto(scene, best)
    assert len(kept) == 1
    flat = HandPose(best.pose.position, torch.tensor([[math.sin(1.2), 0.0, math.cos(1.2)]]), best.pose.angle, best.pose.width)
    leaning = type(best)(flat, *(getattr(best, name) for name in list(best.__dataclass_fields__)[1:]))
    kept, rejected = veto(scene, leaning)
    assert len(kept) == 0
    assert rejected["below_table"] + rejected["collision"] == 1


def test_cups_have_the_same_interface() -> None:
    scene = scene_of(VIEW, [BAR])
    cups = cups_of(scene.map.pose, [hand(VIEW, BAR, 0.3)], GRIPPER)
    hands = hands_of(scene.map.pose, [hand(VIEW, BAR, 0.3)], GRIPPER)
    assert torch.allclose(cups.position, hands.position, atol=1e-6)
    assert torch.allclose(cups.rotation[:, :, 2], hands.rotation[:, :, 2], atol=1e-6)
    for pose in (cups, hands):
        assert torch.allclose(pose.rotation.mT @ pose.rotation, torch.eye(3), atol=1e-5)
        assert torch.allclose(torch.linalg.det(pose.rotation), torch.ones(1), atol=1e-5)
