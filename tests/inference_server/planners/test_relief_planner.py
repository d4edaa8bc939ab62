"""Planner `heatmap` on heights that colours tell: with a relief that knows, and with one that is not sure."""

import cv2
import numpy as np
import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, block, loaded

from inference_server.planners.heatmap import NO_DEPTH, TOLD_DEPTH, HeatmapPlanner
from inference_server.planners.relief import seen_depth
from shared.contract import PlanRequest
from shared.geometry import look_at, resize_camera
from shared.networks.relief import EDGES, bins
from shared.planner import Observation

DOWN = np.diag([1.0, -1, -1, 1])
DOWN[2, 3] = 0.7
ASKED = {"camera": BLOCK_CAMERA, "table_depth": 0.7, "camera_pose": DOWN.tolist()}
TIPS = (0.01, 0.035, 0.06)
OURS = {"rotations": 16, "tip_heights": list(TIPS), "decoder_width": 8, "squeeze": False, "rays": True, "image_size": 240}


class Knowing(torch.nn.Module):
    """Takes what is bright for things of the given heights, m, all equally likely."""

    pixels_per_metre = BLOCK_CAMERA.fx / 0.7

    def __init__(self, *heights):
        super().__init__()
        self.thing = torch.nn.Parameter(torch.full((len(EDGES) + 1,), -9.0), requires_grad=False)
        self.thing[bins(torch.tensor(heights))] = 9.0
        self.table = torch.nn.Parameter(torch.full((len(EDGES) + 1,), -9.0), requires_grad=False)
        self.table[0] = 9.0

    def forward(self, pictures):
        bright = pictures[:, :1] > 0.6
        return torch.where(bright, self.thing[:, None, None], self.table[:, None, None])


def plan(relief, rgb=None, **options):
    network = loaded("mobileunet", OURS | {"relief": 400}, view={"pixels_per_metre": Knowing.pixels_per_metre})
    network.module.relief = relief
    rgb = block().rgb if rgb is None else rgb
    [found] = HeatmapPlanner().plan_batch([(Observation(rgb=rgb), PlanRequest(**(ASKED | options)))], network)
    return found


def test_grasps_lie_over_the_middle_of_the_block_wide_open_and_straight_down():
    found = plan(Knowing(0.036))
    assert found.warnings == [TOLD_DEPTH]
    assert 1 <= len(found.grasps) <= 10
    best = found.grasps[0]
    assert abs(best.center_px[0] - 159.5) < 3
    assert abs(best.center_px[1] - 119.5) < 20
    assert abs(np.sin(best.angle)) < 0.1  # across the long side
    for grasp in found.grasps:
        assert grasp.width == pytest.approx(0.08)
        assert np.array(grasp.pose_base)[:3, 2] == pytest.approx([0, 0, -1], abs=1e-6)
        # Of a block up to 41 mm high, more than the least overlap below its top, and the palm above it.
        assert -0.053 + 0.041 < grasp.pose_base[2][3] < 0.034 - 0.0035
        assert min(abs(grasp.pose_base[2][3] - height) for height in TIPS) <= 0.004


def test_a_tall_thing_is_not_met_with_the_palm():
    for grasp in plan(Knowing(0.095)).grasps:
        assert grasp.pose_base[2][3] > 0.095 - 0.053


def test_tips_are_where_most_of_what_is_likely_can_be_held():
    unsure = plan(Knowing(0.045, 0.068)).grasps[0].pose_base[2][3]
    assert 0.068 - 0.053 < unsure < 0.045
    sure = plan(Knowing(0.06)).grasps[0].quality
    torn = plan(Knowing(0.013, 0.107)).grasps[0].quality
    assert torn < sure


def test_where_nothing_rises_the_maps_propose():
    assert NO_DEPTH in plan(Knowing(0.036), rgb=np.full((240, 320, 3), 100, np.uint8)).warnings


def test_a_camera_with_more_pixels_gets_the_same_best_grasp():
    fine = cv2.resize(block().rgb, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    one = plan(Knowing(0.036)).grasps[0]
    two = plan(Knowing(0.036), rgb=fine, camera=resize_camera(BLOCK_CAMERA, 2, 2)).grasps[0]
    assert np.array(two.pose_base)[:3, 3] == pytest.approx(np.array(one.pose_base)[:3, 3], abs=0.004)


def test_segmask_and_region_hold():
    found = plan(Knowing(0.036), region=[100, 100, 219, 110])
    assert found.grasps
    assert all(100 <= grasp.center_px[1] <= 110 for grasp in found.grasps)


@pytest.mark.parametrize("lean", [0.0, 0.3])
def test_a_told_height_is_seen_where_a_depth_camera_would_see_it(lean):
    pose = look_at(np.array([np.sin(lean), 0.1, np.cos(lean)]) * 0.7, np.zeros(3), np.array([0.0, 1.0, 0.0]))
    to_table = float(-pose[2, 3] / pose[2, 2])
    heights = np.zeros((240, 320), np.float32)
    heights[100:140] = 0.05
    depth = seen_depth(heights, PlanRequest(camera=BLOCK_CAMERA, camera_pose=pose.tolist(), table_depth=to_table))
    v, u = np.mgrid[:240, :320]
    seen = np.stack([(u - BLOCK_CAMERA.cx) / 300 * depth, (v - BLOCK_CAMERA.cy) / 300 * depth, depth], -1)
    assert (seen @ pose[:3, :3].T + pose[:3, 3])[..., 2] == pytest.approx(heights, abs=1e-6)
