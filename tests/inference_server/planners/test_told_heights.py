"""Planner `heatmap` with a network that tells heights from colours: what it knows decides how deep the tips go."""

import math

import numpy as np
import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, block, loaded

from inference_server.planners.heatmap import HeatmapPlanner
from inference_server.planners.told_heights import SURE, chances, nadir_of
from shared.contract import PlanRequest
from shared.geometry import look_at, project
from shared.networks.stature import BINS, REACHES, SIDE, Stature, bins
from shared.planner import Observation
from shared.table_grasp import table_up

DOWN = np.diag([1.0, -1, -1, 1])
DOWN[2, 3] = 0.7
ASKED = {"camera": BLOCK_CAMERA, "table_depth": 0.7, "camera_pose": DOWN.tolist()}
TIPS = [0.01, 0.035, 0.06]
OURS = {"rotations": 8, "tip_heights": TIPS, "decoder_width": 8, "squeeze": False, "rays": True, "image_size": 240}


class Knowing(torch.nn.Module):
    """Tells one and the same height, m, of everything; keeps what it was shown."""

    def __init__(self, height):
        super().__init__()
        self.shares = torch.zeros(len(REACHES), BINS)
        self.shares[:, bins(torch.tensor(height))] = 50.0

    def forward(self, windows, leans):
        self.windows, self.leans = windows, leans
        return self.shares.expand(len(windows), -1, -1)


def plan(stature, **options):
    network = loaded("mobileunet", OURS | {"stature": True})
    network.module.stature = stature
    request = PlanRequest(**(ASKED | options))
    [found] = HeatmapPlanner().plan_batch([(Observation(rgb=block().rgb), request)], network)
    return found


def tips(found):
    return [round(grasp.pose_base[2][3], 3) for grasp in found.grasps]


@pytest.mark.parametrize(("height", "tip"), [(0.031, 0.010), (0.068, 0.035), (0.095, 0.060)])
def test_the_tips_go_as_deep_as_the_palm_allows(height, tip):
    assert tips(plan(Knowing(height)))[0] == tip


def test_where_no_height_of_the_tips_will_do_the_quality_says_so():
    known, hopeless = plan(Knowing(0.031)), plan(Knowing(0.125))
    assert hopeless.grasps[0].quality < 0.2 * known.grasps[0].quality


@torch.inference_mode()
def test_chance_of_a_known_height():
    request = PlanRequest(**ASKED)
    pixels, heights = torch.tensor([[160.0, 120.0]]), torch.tensor([[0.005, 0.02, 0.04]])
    [found] = chances(Knowing(0.068), Observation(rgb=block().rgb), request, pixels, heights)
    # Told: 64 to 72 mm. A finger is 53 mm long, and the palm keeps 4 mm away.
    assert found.tolist() == pytest.approx([SURE, (0.02 + 0.049 - 0.064) / 0.008, 1 - SURE], abs=1e-4)


@torch.inference_mode()
def test_a_turned_camera_sees_the_same_windows():
    """Half a turn of the camera about its axis turns the picture; outward stays outward."""
    rgb = (np.random.default_rng(0).random((240, 320, 3)) * 255).astype(np.uint8)
    pixels = torch.tensor([[200.0, 60.0], [100.0, 200.0], [250.0, 150.0]])
    turned = pixels.new_tensor([319.0, 239.0]) - pixels
    heights = torch.full((3, 1), 0.035)
    torch.manual_seed(0)
    network = Stature().eval()
    request = PlanRequest(**ASKED)
    once = chances(network, Observation(rgb=rgb), request, pixels, heights)
    again = chances(network, Observation(rgb=np.ascontiguousarray(rgb[::-1, ::-1])), request, turned, heights)
    torch.testing.assert_close(once, again, atol=1e-3, rtol=0)


@torch.inference_mode()
def test_windows_have_the_scale_that_was_learned_and_near_places_share_one():
    knowing = Knowing(0.03)
    pixels = torch.tensor([[200.0, 60.0], [200.4, 60.4], [100.0, 200.0]])
    chances(knowing, Observation(rgb=block().rgb), PlanRequest(**ASKED), pixels, torch.full((3, 1), 0.01))
    assert knowing.windows.shape == (2, 3, SIDE, SIDE)
    off = pixels[[0, 2]] - torch.tensor([BLOCK_CAMERA.cx, BLOCK_CAMERA.cy])
    expected = (off.norm(dim=1) / BLOCK_CAMERA.fx).tolist()
    assert sorted(knowing.leans.tolist()) == pytest.approx(sorted(expected), abs=0.004)


def test_a_camera_that_leans_more_than_was_learned_is_not_asked():
    for degrees, asked in ((10, True), (20, False)):
        lean = math.radians(degrees)
        pose = look_at(0.7 * np.array([math.sin(lean), 0, math.cos(lean)]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
        knowing = Knowing(0.095)
        plan(knowing, camera_pose=pose.tolist())
        assert hasattr(knowing, "windows") == asked


def test_without_a_table_depth_pixels_alone_come_back_and_heights_are_not_asked():
    knowing = Knowing(0.095)
    found = plan(knowing, table_depth=None)
    assert found.grasps
    assert found.grasps[0].pose_base is None
    assert not hasattr(knowing, "windows")


def test_the_nadir_is_where_plumb_lines_meet():
    pose = look_at(np.array([0.1, -0.05, 0.7]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    nadir = nadir_of(BLOCK_CAMERA, table_up(pose))
    below = np.linalg.inv(pose) @ np.array([0.1, -0.05, 0.0, 1.0])  # straight under the camera
    assert nadir == pytest.approx(project(below[None, :3], BLOCK_CAMERA)[0], abs=1e-6)
