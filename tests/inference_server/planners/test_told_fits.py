"""Planner `heatmap` with a network that tells from colours where a hand fits: it decides how deep the tips go."""

import math

import numpy as np
import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, block, loaded

from inference_server.planners.heatmap import HeatmapPlanner
from inference_server.planners.told_fits import fit_logits, nadir_of
from shared.contract import PlanRequest
from shared.geometry import look_at, project
from shared.networks.stature import SIDE, Stature
from shared.planner import Observation
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
    """Tells of everything that a hand fits at one height alone, as well at all angles; keeps what it was shown."""

    def __init__(self, level):
        super().__init__()
        self.told = torch.full((len(TIP_HEIGHTS), ROTATIONS), -8.0)
        if level is not None:
            self.told[level] = 3.0

    def forward(self, windows, leans):
        self.windows, self.leans = windows, leans
        return self.told.expand(len(windows), -1, -1)


def plan(stature, parameters=OURS, **options):
    network = loaded("mobileunet", parameters | {"stature": True})
    network.module.stature = stature
    request = PlanRequest(**(ASKED | options))
    [found] = HeatmapPlanner().plan_batch([(Observation(rgb=block().rgb), request)], network)
    return found


def told(stature, rgb, pixels, angles, levels, **options):
    request = PlanRequest(**(ASKED | options))
    with torch.inference_mode():
        return fit_logits(stature, Observation(rgb=rgb), request, *map(torch.tensor, (pixels, angles, levels)))


@pytest.mark.parametrize("level", range(3))
def test_the_tips_go_to_the_height_at_which_a_hand_fits(level):
    found = plan(Knowing(level))
    assert found.grasps[0].pose_base[2][3] == pytest.approx(TIP_HEIGHTS[level])


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
    network, angles, levels = Stature().eval(), [0.3, 1.2, 3.0], [0, 1, 2]
    once = told(network, rgb, pixels.tolist(), angles, levels)
    again = told(network, np.ascontiguousarray(rgb[::-1, ::-1]), turned.tolist(), angles, levels)
    torch.testing.assert_close(once, again, atol=1e-3, rtol=0)


def test_angles_are_told_from_outward_and_between_the_nearest_two():
    knowing = Knowing(None)
    knowing.told = torch.arange(float(ROTATIONS)).expand(3, -1)
    step = math.pi / ROTATIONS
    u, v = BLOCK_CAMERA.cx, BLOCK_CAMERA.cy
    right, lower = [u + 50, v], [u, v + 50]  # outward is +u, and +v: half of the angles on
    found = told(
        knowing, block().rgb, [right, right, lower, lower], [3.25 * step, 3 * step - math.pi, 9 * step, 1.5 * step], [0] * 4
    )
    assert found.tolist() == pytest.approx([3.25, 3, 1, 9.5], abs=0.02)


def test_windows_have_the_scale_that_was_learned_and_near_places_share_one():
    knowing = Knowing(0)
    pixels = [[200.0, 60.0], [200.4, 60.4], [100.0, 200.0]]
    told(knowing, block().rgb, pixels, [0.0] * 3, [0] * 3)
    assert knowing.windows.shape == (2, 3, SIDE, SIDE)
    expected = [math.hypot(u - BLOCK_CAMERA.cx, v - BLOCK_CAMERA.cy) / BLOCK_CAMERA.fx for u, v in pixels[::2]]
    assert sorted(knowing.leans.tolist()) == pytest.approx(sorted(expected), abs=0.004)


def test_it_is_asked_only_what_it_has_learned():
    for degrees, asked in ((10, True), (20, False)):
        lean = math.radians(degrees)
        pose = look_at(0.7 * np.array([math.sin(lean), 0, math.cos(lean)]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
        knowing = Knowing(2)
        plan(knowing, camera_pose=pose.tolist())
        assert hasattr(knowing, "windows") == asked
    other = Knowing(2)
    assert plan(other, OURS | {"tip_heights": [0.02, 0.05]}).grasps
    assert not hasattr(other, "windows")


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
