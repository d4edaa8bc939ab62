"""Patches in the hand's frame: the same hand on the same thing sees the same, wherever it is and whatever the camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from table_scenes import Box, camera, render

from grasp_client.contract import Grasp, Gripper
from grasp_client.geometry import approach_frame, invert
from shared.features.hand_frame import CHANNELS, COLUMNS, FAR_SPAN, ROWS, SPAN, STEP, footprint, outcome_patches
from shared.networks.dense import DenseScorer

GRIPPER = Gripper()


def grasp_on(box: Box, pose: np.ndarray, tip: float = 0.01, width: float = 0.05, offset: float = 0.0) -> Grasp:
    closing = np.array([math.cos(box.yaw + math.pi / 2), math.sin(box.yaw + math.pi / 2), 0])
    in_base = approach_frame(np.array([box.x, box.y, tip + offset]), closing, np.array([0, 0, -1.0]))
    return Grasp(
        kind="parallel_jaw", quality=0.5, center_px=[0, 0], angle=0, width=width, pose_camera=(invert(pose) @ in_base).tolist()
    )


def patch(box: Box, tilt: float = 0.0, focal: float = 525.0, turn: float = 0.0, **options: float) -> np.ndarray:
    view = camera(480, 640, focal, tilt, turn)
    return outcome_patches(render(view, [box]), view.intrinsics, view.pose, [grasp_on(box, view.pose, **options)], GRIPPER)[0]


def test_patch_shows_the_object_between_the_fingers() -> None:
    seen = patch(Box(0.02, 0.01, 0.3, 0.15, 0.03, 0.04))
    assert seen.shape == (CHANNELS, ROWS, COLUMNS)
    assert seen.dtype == np.float32
    middle = seen[:, ROWS // 2]
    assert middle[0, COLUMNS // 2] == pytest.approx((0.04 - 0.01) / SPAN, abs=0.02)
    assert middle[0, 0] == pytest.approx(-0.01 / SPAN, abs=0.02)
    held = np.flatnonzero(middle[0] > 0.2)
    assert len(held) * STEP == pytest.approx(0.03, abs=0.004)
    fingers = np.flatnonzero(middle[2] > 0.5)
    assert len(fingers) * STEP == pytest.approx(2 * GRIPPER.pad[0], abs=0.004)
    assert not set(held) & set(fingers)


@pytest.mark.parametrize(("yaw", "x", "y"), [(1.2, 0.0, 0.0), (-0.8, 0.05, -0.04)])
def test_moving_the_scene_does_not_change_what_the_hand_sees(yaw: float, x: float, y: float) -> None:
    first = patch(Box(0.02, 0.01, 0.3, 0.12, 0.03, 0.02))
    moved = patch(Box(x, y, yaw, 0.12, 0.03, 0.02))
    assert np.abs(first[0] - moved[0]).mean() < 0.02


def test_the_camera_does_not_change_what_the_hand_sees_but_for_shadows() -> None:
    box = Box(0.02, 0.01, 0.3, 0.12, 0.03, 0.02)
    straight, tilted = patch(box), patch(box, tilt=0.3, focal=700.0, turn=1.0)
    both = (straight[1] > 0.99) & (tilted[1] > 0.99)
    assert both.mean() > 0.8
    assert np.abs(straight[0] - tilted[0])[both].mean() < 0.02
    assert (tilted[1] < 0.5).any()


def test_the_far_view_shows_where_the_rest_of_a_long_object_lies() -> None:
    long, short = patch(Box(0.0, 0.0, 0.0, 0.18, 0.03, 0.04)), patch(Box(0.0, 0.0, 0.0, 0.08, 0.03, 0.04))
    assert long[3, 2, COLUMNS // 2] == pytest.approx((0.04 - 0.01) / FAR_SPAN, abs=0.02)
    assert short[3, 2, COLUMNS // 2] == pytest.approx(-0.01 / FAR_SPAN, abs=0.02)
    assert np.abs(long[:3] - short[:3]).max() < np.abs(long[3] - short[3]).max()


def test_tool_offset_does_not_change_what_the_hand_sees() -> None:
    box = Box(0.0, 0.01, 0.3, 0.12, 0.03, 0.02)
    view = camera(480, 640, 525.0)
    shifted = grasp_on(box, view.pose, offset=0.02)
    seen = outcome_patches(render(view, [box]), view.intrinsics, view.pose, [shifted], Gripper(tcp_offset=0.02))[0]
    assert np.allclose(seen, patch(box), atol=1e-5)


def test_many_grasps_on_one_image_equal_each_alone() -> None:
    box = Box(0.0, 0.01, 0.3, 0.12, 0.03, 0.02)
    view = camera(480, 640, 525.0)
    depth = render(view, [box])
    grasps = [grasp_on(box, view.pose, tip, width) for tip, width in ((0.01, 0.05), (0.005, 0.07))]
    together = outcome_patches(depth, view.intrinsics, view.pose, grasps, GRIPPER)
    alone = [outcome_patches(depth, view.intrinsics, view.pose, [grasp], GRIPPER)[0] for grasp in grasps]
    assert np.allclose(together, np.stack(alone), atol=1e-6)


def test_grasps_of_several_approaches_each_see_what_they_see_alone_and_none_from_behind() -> None:
    box, view = Box(0.0, 0.01, 0.3, 0.12, 0.03, 0.02), camera(480, 640, 525.0)
    depth, straight = render(view, [box]), grasp_on(Box(0.0, 0.01, 0.3, 0.12, 0.03, 0.02), view.pose)
    turned = []
    for lean in (0.5, 0.5, -0.5, 1.6):
        turn = np.eye(4)
        turn[1:3, 1:3] = np.array([[math.cos(lean), -math.sin(lean)], [math.sin(lean), math.cos(lean)]])
        turned.append(straight.model_copy(update={"pose_camera": (np.asarray(straight.pose_camera) @ turn).tolist()}))
    together = outcome_patches(depth, view.intrinsics, view.pose, [straight, *turned], GRIPPER)
    alone = [outcome_patches(depth, view.intrinsics, view.pose, [grasp], GRIPPER)[0] for grasp in (straight, *turned[:3])]
    assert np.allclose(together[:4], np.stack(alone), atol=1e-6)
    assert np.allclose(together[1], together[2])
    assert np.abs(together[1] - together[3]).mean() > 0.01
    assert np.isnan(together[4]).all()


def test_footprint_has_the_fingers_area() -> None:
    area = footprint(torch.tensor([0.03, 0.06]), GRIPPER, 1.0).sum((1, 2)) * STEP**2
    assert torch.allclose(area, torch.tensor(2 * GRIPPER.pad[0] * GRIPPER.finger_width), rtol=1e-3)


def test_a_grasp_without_a_metric_pose_is_an_error() -> None:
    view = camera(48, 64, 52.5)
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[1, 1], angle=0)
    with pytest.raises(ValueError, match="pose_camera and width"):
        outcome_patches(render(view, []), view.intrinsics, view.pose, [grasp], GRIPPER)[0]


@pytest.mark.parametrize("size", [0.25, 0.5, 1.5])
def test_a_hand_of_another_size_sees_things_of_its_size_alike(size: float) -> None:
    lengths = {
        name: size * getattr(GRIPPER, name) for name in ("max_width", "finger_width", "finger_thickness", "finger_depth")
    }
    hand = Gripper(**lengths, pad_thickness=size * GRIPPER.pad[0], pad_depth=size * GRIPPER.pad[1])
    box = Box(0.02 * size, 0.01 * size, 0.3, 0.12 * size, 0.03 * size, 0.03 * size)
    view = camera(480, 640, 525.0, distance=0.7 * size)
    grasp = grasp_on(box, view.pose, tip=0.01 * size, width=0.05 * size)
    seen = outcome_patches(render(view, [box]), view.intrinsics, view.pose, [grasp], hand)[0]
    usual = patch(Box(0.02, 0.01, 0.3, 0.12, 0.03, 0.03))
    assert np.abs(seen[0] - usual[0]).mean() < 0.02
    assert np.abs(seen[2] - usual[2]).max() < 1e-5
    assert np.abs(seen[3] - usual[3]).mean() < 0.02
    assert np.allclose(seen[5], math.log2(size) / 4)
    assert not usual[5].any()


def test_weights_for_one_size_of_hand_look_at_the_first_five_channels() -> None:
    torch.manual_seed(0)
    old, new = DenseScorer().eval(), DenseScorer(channels=CHANNELS).eval()
    [golden] = old.golden_batch()
    other = golden.clone()
    other[:, 5] = 0.7
    for scorer, changes in ((old, False), (new, True)):
        torch.nn.init.normal_(scorer.head[-1].weight)
        assert torch.equal(scorer(golden), scorer(other)) != changes


def test_an_untrained_scorer_finds_all_grasps_equal_and_a_trained_one_does_not() -> None:
    torch.manual_seed(0)
    scorer = DenseScorer()
    [golden] = scorer.golden_batch()
    assert golden.shape[1:] == (CHANNELS, ROWS, COLUMNS)
    assert torch.equal(scorer.eval()(golden), torch.zeros(3))
    labels = torch.tensor([1.0, 0.0, 0.0])
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=3e-3)
    scorer.train()
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(scorer(golden), labels).backward()
        optimizer.step()
    assert torch.argmax(scorer.eval()(golden)) == 0
