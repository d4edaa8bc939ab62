"""Patches in the cup's frame: the same cup on the same thing sees the same, wherever it is and whatever the camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from table_scenes import Box, Camera, camera, render

from grasp_client.contract import Grasp, Gripper
from grasp_client.geometry import approach_frame, invert
from shared.features.cup_frame import CHANNELS, COARSE, FINE, PLAIN_CHANNELS, SIDE, STEP, footprint, outcome_patches
from shared.networks.suction_dense import SuctionScorer

CUP = Gripper(kind="suction", cup_radius=0.015)
BOX = Box(0.02, 0.01, 0.3, 0.06, 0.045, 0.03)
VIEW = camera(480, 640, 525.0)


def cup_on(
    view: Camera, point: tuple[float, float, float], approach: tuple[float, float, float] = (0, 0, -1.0), offset: float = 0.0
) -> Grasp:
    in_base = approach_frame(np.array(point), np.array([0, 1.0, 0]), np.array(approach))
    in_base[:3, 3] -= offset * in_base[:3, 2]
    return Grasp(kind="suction", quality=0.5, center_px=[0, 0], angle=0, pose_camera=(invert(view.pose) @ in_base).tolist())


def patch(view: Camera, box: Box, grasp: Grasp, gripper: Gripper = CUP) -> np.ndarray:
    return outcome_patches(render(view, [box]), view.intrinsics, view.pose, [grasp], gripper)[0]


def test_patch_shows_the_face_under_the_cup_and_its_edges() -> None:
    seen = patch(VIEW, BOX, cup_on(VIEW, (0.02, 0.01, 0.03)))
    assert seen.shape == (CHANNELS, SIDE, SIDE)
    assert seen.dtype == np.float32
    fine, coarse, known, cup, far, far_known = seen[:PLAIN_CHANNELS]
    assert np.abs(fine[cup > 0]).max() < 0.05
    assert (known[cup > 0] == 1).all()
    assert coarse[0, 0] == pytest.approx(-0.03 / COARSE, abs=0.02)
    assert fine[0, 0] == -1
    on = np.abs(fine) < 0.2
    assert on.sum() * STEP**2 == pytest.approx(0.06 * 0.045, rel=0.1)
    assert cup.sum() * STEP**2 == pytest.approx(math.pi * CUP.cup_radius**2, rel=0.05)
    assert -0.3 < far[0, 0] < -0.2
    assert far_known[SIDE // 2, SIDE // 2] == 1


def test_a_leaning_cup_sees_the_heights_over_its_own_plane() -> None:
    lean = math.radians(20)
    seen = patch(VIEW, Box(0.0, 0.0, 0.0, 0.3, 0.3, 0.03), cup_on(VIEW, (0, 0, 0.03), (math.sin(lean), 0, -math.cos(lean))))
    # The level surface rises out of the leaning plane with the sine of the lean along the slope.
    rise = np.gradient(seen[0] * FINE, STEP)
    slope = np.hypot(*(axis[SIDE // 2, SIDE // 2] for axis in rise))
    assert slope == pytest.approx(math.sin(lean) * math.cos(lean), rel=0.05)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (-0.05, 0.04)])
def test_moving_the_scene_does_not_change_what_the_cup_sees(x: float, y: float) -> None:
    first = patch(VIEW, BOX, cup_on(VIEW, (0.02, 0.01, 0.03)))
    moved = patch(VIEW, Box(x, y, BOX.yaw, BOX.length, BOX.width, BOX.height), cup_on(VIEW, (x, y, 0.03)))
    both = (first[2] > 0.99) & (moved[2] > 0.99)
    assert both.mean() > 0.8
    assert np.abs(first - moved)[1][both].mean() < 0.02
    assert np.abs(first - moved)[0][first[3] > 0].max() < 0.05


def test_turning_the_scene_turns_what_the_cup_sees() -> None:
    first = patch(VIEW, BOX, cup_on(VIEW, (0.02, 0.01, 0.03)))
    box = Box(0.02, 0.01, BOX.yaw + math.pi / 2, BOX.length, BOX.width, BOX.height)
    turned = patch(VIEW, box, cup_on(VIEW, (0.02, 0.01, 0.03)))
    likely = [np.abs(np.rot90(first, turns, (1, 2)) - turned)[:2].mean() for turns in range(4)]
    assert min(likely[1], likely[3]) < 0.05 < min(likely[0], likely[2])


def test_the_camera_does_not_change_what_the_cup_sees_but_for_shadows() -> None:
    straight = patch(VIEW, BOX, cup_on(VIEW, (0.02, 0.01, 0.03)))
    other = camera(480, 640, 700.0, 0.3, math.pi / 2)
    tilted = patch(other, BOX, cup_on(other, (0.02, 0.01, 0.03)))
    both = (straight[2] > 0.99) & (tilted[2] > 0.99)
    assert both.mean() > 0.8
    differences = [np.abs(np.rot90(tilted, turns, (1, 2))[1] - straight[1])[both].mean() for turns in range(4)]
    assert min(differences) < 0.05


def test_tool_offset_does_not_change_what_the_cup_sees() -> None:
    plain = patch(VIEW, BOX, cup_on(VIEW, (0.02, 0.01, 0.03)))
    moved = patch(VIEW, BOX, cup_on(VIEW, (0.02, 0.01, 0.03), offset=0.07), CUP.model_copy(update={"tcp_offset": 0.07}))
    assert np.allclose(plain, moved, atol=1e-4)


def test_many_cups_on_one_image_equal_each_alone() -> None:
    grasps = [cup_on(VIEW, (0.02, 0.01, 0.03)), cup_on(VIEW, (0.03, 0.02, 0.03), (0.2, 0, -0.98))]
    depth = render(VIEW, [BOX])
    together = outcome_patches(depth, VIEW.intrinsics, VIEW.pose, grasps, CUP)
    for seen, grasp in zip(together, grasps, strict=True):
        assert np.allclose(seen, patch(VIEW, BOX, grasp), atol=1e-5)


@pytest.mark.parametrize("approach", [(1.0, 0, 0), (0.9, 0, 0.3), (0, 0, 1.0)])
def test_cups_from_the_side_or_from_below_still_have_a_finite_view(approach: tuple[float, float, float]) -> None:
    assert np.isfinite(patch(VIEW, BOX, cup_on(VIEW, (0.02, 0.01, 0.03), approach))).all()


def test_a_grasp_without_pose_is_refused() -> None:
    with pytest.raises(ValueError, match="pose_camera"):
        patch(VIEW, BOX, Grasp(kind="suction", quality=0.5, center_px=[0, 0], angle=0))


def test_footprint_grows_with_the_cup() -> None:
    areas = [float(footprint(radius, torch.device("cpu")).sum()) * STEP**2 for radius in (0.005, 0.01, 0.02, 0.03)]
    assert areas == pytest.approx([math.pi * radius**2 for radius in (0.005, 0.01, 0.02, 0.03)], rel=0.1)


def test_an_untrained_scorer_finds_all_contacts_equal() -> None:
    for channels in (PLAIN_CHANNELS, CHANNELS):
        network = SuctionScorer(channels=channels).eval()
        [golden] = network.golden_batch()
        assert golden.shape[1:] == (channels, SIDE, SIDE)
        assert (network(golden) == 0).all()


def test_what_the_cup_is_and_what_it_holds_is_told_all_over_the_patch() -> None:
    def told(point: tuple[float, float, float], **cup: float) -> np.ndarray:
        channels = patch(VIEW, BOX, cup_on(VIEW, point), CUP.model_copy(update=cup))[PLAIN_CHANNELS:]
        assert (channels == channels[:, :1, :1]).all()
        same: np.ndarray = channels[:, 0, 0]
        return same

    middle, beside = told((0.02, 0.01, 0.03)), told((0.04, 0.01, 0.03))
    assert middle[:4] == pytest.approx([0, 4 / 6, 0, 0], abs=0.02)
    assert middle[4] > beside[4] + 0.3
    half = CUP.cup_radius / 2
    assert told((0.02, 0.01, 0.03), cup_radius=half)[:2] == pytest.approx([-1, 4 / 6], abs=0.01)
    assert told((0.02, 0.01, 0.03), seal_compliance=0.001)[1] == pytest.approx(4 / 15, abs=0.01)
    stronger = told((0.04, 0.01, 0.03), cup_moment=0.6)
    assert stronger[3] == 1
    assert stronger[4] > beside[4] + 0.2


def test_the_near_view_grows_with_the_cup_and_old_networks_see_what_they_learned() -> None:
    small = CUP.model_copy(update={"cup_radius": CUP.cup_radius / 2})
    grasp, depth = cup_on(VIEW, (0.02, 0.01, 0.03)), render(VIEW, [BOX])
    usual, scaled = patch(VIEW, BOX, grasp), patch(VIEW, BOX, grasp, small)
    assert scaled[3].sum() == pytest.approx(usual[3].sum(), rel=0.05)
    assert (np.abs(scaled[0]) < 0.2).sum() > 2.2 * (np.abs(usual[0]) < 0.2).sum()
    plain = outcome_patches(depth, VIEW.intrinsics, VIEW.pose, [grasp], small, PLAIN_CHANNELS)[0]
    assert plain.shape == (PLAIN_CHANNELS, SIDE, SIDE)
    assert np.allclose(np.delete(plain, 3, 0), np.delete(usual[:PLAIN_CHANNELS], 3, 0))
    assert plain[3].sum() == pytest.approx(usual[3].sum() / 4, rel=0.1)
