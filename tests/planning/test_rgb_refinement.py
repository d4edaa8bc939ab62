"""Planner `heatmap` with a network that tells from colours where a hand fits and holds: it decides how deep the tips go."""

import math

import numpy as np
import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, block, loaded

from grasp_client.contract import PlanRequest
from grasp_client.geometry import look_at, project
from grasp_client.observation import Observation
from planning.rgb.heatmap import HeatmapPlanner
from planning.rgb.refinement import GraspRefiner, nadir_of
from shared.networks.height_from_rgb import BINS, SIDE, HeightFromRgb
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS, table_up

DOWN = np.diag([1.0, -1, -1, 1])
DOWN[2, 3] = 0.7
ASKED = {"camera": BLOCK_CAMERA, "table_depth": 0.7, "camera_pose": DOWN.tolist()}
OURS = {
    "rotations": 8,
    "tip_heights": list(TIP_HEIGHTS),
    "decoder_width": 8,
    "squeeze": False,
    "rays": True,
    "image_size": 240,
}


class Knowing(torch.nn.Module):
    """Tells of everything that a hand fits and holds at one height alone, as well at all angles; keeps what it was shown."""

    def __init__(self, level):
        super().__init__()
        self.told = torch.full((len(TIP_HEIGHTS), ROTATIONS), -8.0)
        if level is not None:
            self.told[level] = 3.0
        self.highest = torch.full((2, BINS), -20.0)
        self.highest[0, 0] = self.highest[1, -1] = 20.0  # no height of the tips is too low or too high

    def forward(self, windows, leans):
        self.windows, self.leans = windows, leans
        return tuple(each.expand(len(windows), -1, -1) for each in (self.told, 2 * self.told, self.highest))


def plan(heights, parameters=OURS, **options):
    network = loaded("mobileunet", parameters | {"height_from_rgb": True})
    network.module.height_from_rgb = heights
    request = PlanRequest(**(ASKED | options))
    [found] = HeatmapPlanner().plan_batch([(Observation(rgb=block().rgb), request)], network)
    return found


def tell(heights, rgb, pixels, **options):
    """What is told of pixels of the sent image."""
    refiner = GraspRefiner(heights, Observation(rgb=rgb), PlanRequest(**(ASKED | options)), torch.device("cpu"))
    with torch.inference_mode():
        return refiner.refine(refiner.seen(torch.tensor(pixels)))


@pytest.mark.parametrize("level", range(len(TIP_HEIGHTS)))
def test_the_tips_go_to_the_height_at_which_a_hand_fits(level):
    found = plan(Knowing(level))
    assert found.grasps[0].pose_base[2][3] == pytest.approx(TIP_HEIGHTS[level])


@pytest.mark.parametrize(("between", "under", "tip"), [(0, 0, 0.004), (2, 2, 0.0095), (6, 6, 0.02), (9, 9, 0.024)])
def test_tips_reach_what_is_between_them_and_the_palm_stays_above(between, under, tip):
    knowing = Knowing(TIP_HEIGHTS.index(0.020))
    knowing.highest = torch.full((2, BINS), -20.0)
    knowing.highest[0, under] = knowing.highest[1, between] = 20.0
    found = plan(knowing, gripper={"finger_depth": 0.046}).grasps[0]
    assert found.pose_base[2][3] == pytest.approx(tip, abs=1e-4)


def test_many_grasps_are_still_many():
    pixels_alone = plan(Knowing(0), table_depth=None, n_grasps=100, min_quality=0.0)
    assert len(plan(Knowing(0), n_grasps=100).grasps) >= 0.9 * len(pixels_alone.grasps) > 40


def test_where_no_hand_fits_the_quality_says_so():
    fitting, hopeless = plan(Knowing(0)), plan(Knowing(None))
    assert hopeless.grasps[0].quality < 0.2 * fitting.grasps[0].quality


def test_a_turned_camera_sees_the_same_windows():
    """Half a turn of the camera about its axis turns the picture; outward stays outward."""
    rgb = (np.random.default_rng(0).random((240, 320, 3)) * 255).astype(np.uint8)
    pixels = np.array([[200.0, 60.0], [100.0, 200.0], [250.0, 150.0]], np.float32)
    turned = np.array([319.0, 239.0], np.float32) - pixels
    torch.manual_seed(0)
    network = HeightFromRgb().eval()
    once = tell(network, rgb, pixels.tolist())
    again = tell(network, np.ascontiguousarray(rgb[::-1, ::-1]), turned.tolist())
    for before, after in zip(once, again, strict=True):
        torch.testing.assert_close(before, after, atol=1e-3, rtol=0)


def test_angles_are_told_from_outward_and_between_the_nearest_two():
    knowing = Knowing(None)
    knowing.told = torch.arange(float(ROTATIONS)).expand(len(TIP_HEIGHTS), -1)
    u, v = BLOCK_CAMERA.cx, BLOCK_CAMERA.cy
    angle = 3.25 * math.pi / ROTATIONS
    holds, fits, _ = tell(
        knowing, block().rgb, [[u + 50, v], [u, v + 50], [u + 50 * math.cos(angle), v + 50 * math.sin(angle)]]
    )
    count = torch.arange(float(ROTATIONS))
    torch.testing.assert_close(holds[0, 1], count, atol=0.02, rtol=0)  # outward is +u
    torch.testing.assert_close(holds[1, 1], (count - ROTATIONS / 2) % ROTATIONS, atol=0.02, rtol=0)  # outward is +v
    assert holds[2, 0, 4:].tolist() == pytest.approx((count[4:] - 3.25).tolist(), abs=0.02)
    assert torch.equal(fits, 2 * holds)


def test_windows_have_the_scale_that_was_learned():
    knowing = Knowing(0)
    pixels = [[200.0, 60.0], [100.0, 200.0]]
    tell(knowing, block().rgb, pixels)
    assert knowing.windows.shape == (2, 3, SIDE, SIDE)
    expected = [math.hypot(u - BLOCK_CAMERA.cx, v - BLOCK_CAMERA.cy) / BLOCK_CAMERA.fx for u, v in pixels]
    assert knowing.leans.tolist() == pytest.approx(expected, abs=0.001)


def test_it_is_asked_only_what_it_has_learned():
    for degrees, asked in ((10, True), (20, False)):
        lean = math.radians(degrees)
        pose = look_at(0.7 * np.array([math.sin(lean), 0, math.cos(lean)]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
        knowing = Knowing(2)
        plan(knowing, camera_pose=pose.tolist())
        assert hasattr(knowing, "windows") == asked


def test_the_heights_are_those_that_the_card_names():
    two = Knowing(1)
    two.told = two.told[:2]
    assert plan(two, OURS | {"tip_heights": [0.02, 0.05]}).grasps[0].pose_base[2][3] == pytest.approx(0.05)


def test_without_a_table_depth_pixels_alone_come_back():
    knowing = Knowing(2)
    found = plan(knowing, table_depth=None)
    assert found.grasps
    assert found.grasps[0].pose_base is None
    assert not hasattr(knowing, "windows")


def test_the_nadir_is_where_plumb_lines_meet():
    pose = look_at(np.array([0.1, -0.05, 0.7]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    nadir = nadir_of(BLOCK_CAMERA, table_up(pose))
    below = np.linalg.inv(pose) @ np.array([0.1, -0.05, 0.0, 1.0])  # straight under the camera
    assert nadir == pytest.approx(project(below[None, :3], BLOCK_CAMERA)[0], abs=1e-6)
