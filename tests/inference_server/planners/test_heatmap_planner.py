import math

import numpy as np
import pytest
from gqcnn_scenes import BLOCK_CAMERA, block, loaded

from inference_server.planners.heatmap import NO_HEIGHT, HeatmapPlanner
from inference_server.planners.planner import PlannerError
from shared.contract import PlanRequest
from shared.planner import Observation

PARAMETERS = {"rotations": 8}


def plan(observation, network=None, **options):
    [found] = HeatmapPlanner().plan_batch([(observation, PlanRequest(**options))], network or loaded("mobileunet", PARAMETERS))
    return found


def rgb_only():
    return Observation(rgb=block().rgb)


def test_with_depth_grasps_are_fitted_to_the_block_and_checked():
    found = plan(block(), camera=BLOCK_CAMERA)
    assert found.grasps
    assert found.warnings == []
    for grasp in found.grasps:
        assert abs(grasp.center_px[0] - 159.5) < 10
        assert abs(grasp.center_px[1] - 119.5) < 21
        assert grasp.width <= 0.08
        assert 0.65 < grasp.depth <= 0.7
    assert sum(found.rejections.values()) > 0


def test_quality_is_read_where_the_hand_will_be():
    network = loaded("mobileunet", PARAMETERS)
    found = plan(block(), network, camera=BLOCK_CAMERA)
    maps = HeatmapPlanner().heatmap(block(), PlanRequest(camera=BLOCK_CAMERA), network)
    assert maps.shape == (8, 240, 320)
    grasp = found.grasps[0]
    turn = round(grasp.angle % math.pi / (math.pi / 8)) % 8
    u, v = (round(value) for value in grasp.center_px)
    assert grasp.quality == pytest.approx(maps[turn, v, u], abs=1e-5)


def test_on_a_table_at_a_known_distance_the_pose_lies_just_above_it():
    found = plan(rgb_only(), camera=BLOCK_CAMERA, table_depth=0.7, camera_pose=np.diag([1.0, -1, -1, 1]).tolist(), n_grasps=4)
    assert len(found.grasps) == 4
    for grasp in found.grasps:
        pose = np.array(grasp.pose_camera)
        assert pose[2, 3] == pytest.approx(0.69)
        assert np.array(BLOCK_CAMERA.fx * pose[:2, 3] / pose[2, 3] + [159.5, 119.5]) == pytest.approx(grasp.center_px)
        assert math.atan2(pose[1, 0], pose[0, 0]) % math.pi == pytest.approx(grasp.angle % math.pi, abs=1e-6)
        assert grasp.pose_base[2][3] == pytest.approx(-0.69)
        assert grasp.width_px == pytest.approx(0.08 * 300 / 0.69)
    centers = np.array([grasp.center_px for grasp in found.grasps])
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=2) + 1e9 * np.eye(4)
    assert apart.min() >= 0.02 * 320


def test_without_any_height_there_are_pixels_and_a_warning():
    found = plan(rgb_only())
    assert found.grasps[0].pose_camera is None
    assert NO_HEIGHT in found.warnings


def test_segmask_and_region_hold():
    mask = np.zeros((240, 320), bool)
    mask[100:140, 200:260] = True
    found = plan(Observation(rgb=block().rgb, segmask=mask), region=[220, 0, 319, 239])
    assert found.grasps
    assert all(mask[int(v), int(u)] and u >= 220 for u, v in (grasp.center_px for grasp in found.grasps))
    assert found.rejections["segmask"] > 0


def test_a_network_with_depth_as_fourth_channel_asks_for_depth():
    network = loaded("mobileunet", {"rotations": 4, "inputs": 4})
    assert plan(block(), network, camera=BLOCK_CAMERA).planner == "heatmap"
    with pytest.raises(PlannerError, match="needs rgb and depth"):
        plan(rgb_only(), network)


def test_peak_of_the_map_comes_first():
    network = loaded("mobileunet", PARAMETERS)
    maps = HeatmapPlanner().heatmap(rgb_only(), PlanRequest(), network)
    best = plan(rgb_only(), network).grasps[0]
    u, v = (int(value) for value in best.center_px)
    turn = round(best.angle % math.pi / (math.pi / 8)) % 8
    assert best.quality == pytest.approx(maps.max())
    assert maps[turn, v, u] == pytest.approx(maps.max())
