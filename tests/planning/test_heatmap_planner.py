import math

import cv2
import numpy as np
import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, block, loaded

from grasp_client.contract import PlanRequest
from grasp_client.geometry import look_at, project, resize_camera
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.rgb.heatmap import NO_HEIGHT, HeatmapPlanner
from planning.rgb.ranking import MAPS_TEMPERED, tempered

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


OURS = {
    "rotations": 8,
    "tip_heights": [0.01, 0.035, 0.06],
    "decoder_width": 8,
    "squeeze": False,
    "rays": True,
    "image_size": 240,
}


def ours(level=None, view=None):
    """A network that prefers a height of the tips, with random weights that tell one place from another."""
    network = loaded("mobileunet", OURS, view)
    head = network.module.decoder.maps
    with torch.no_grad():
        head.weight *= 20
        if level is not None:
            head.bias[8 * level : 8 * (level + 1)] += 20
    return network


@pytest.mark.parametrize("lean", [0.0, 0.35])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_tips_are_at_the_height_that_the_network_chose_straight_down(lean, level):
    pose = look_at(np.array([math.sin(lean), 0.0, math.cos(lean)]) * 0.7, np.zeros(3), np.array([0.0, 1.0, 0.0]))
    options = {"camera": BLOCK_CAMERA, "table_depth": 0.7, "camera_pose": pose.tolist()}
    found = plan(rgb_only(), ours(level), **options, n_grasps=10)
    assert len(found.grasps) == 10
    for grasp in found.grasps:
        base = np.array(grasp.pose_base)
        assert base[2, 3] == pytest.approx(OURS["tip_heights"][level], abs=1e-6)
        assert base[:3, 2] == pytest.approx([0, 0, -1], abs=1e-9)
        assert np.array(grasp.pregrasp_base)[2, 3] > base[2, 3] + 0.01
        assert project(np.array([grasp.pose_camera])[:, :3, 3], BLOCK_CAMERA)[0] == pytest.approx(grasp.center_px)
        assert grasp.width == 0.08


def test_the_tool_frame_lies_behind_the_tips():
    options = {"camera": BLOCK_CAMERA, "table_depth": 0.7, "camera_pose": np.diag([1.0, -1, -1, 1]).tolist()}
    tips = plan(rgb_only(), **options).grasps[0]
    tool = plan(rgb_only(), gripper={"tcp_offset": 0.1}, **options).grasps[0]
    assert tool.pose_base[2][3] == pytest.approx(tips.pose_base[2][3] + 0.1)
    assert tool.pose_base[0][3] == pytest.approx(tips.pose_base[0][3])


def test_a_camera_with_more_pixels_gets_the_same_grasps():
    network = ours(view={"pixels_per_metre": BLOCK_CAMERA.fx / 0.7})
    rgb = block().rgb
    fine = cv2.resize(rgb, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    options = {"table_depth": 0.7, "n_grasps": 5}
    one = plan(Observation(rgb=rgb), network, camera=BLOCK_CAMERA, **options)
    two = plan(Observation(rgb=fine), network, camera=resize_camera(BLOCK_CAMERA, 2, 2), **options)
    for a, b in zip(one.grasps, two.grasps, strict=True):
        assert np.array(b.pose_camera) == pytest.approx(np.array(a.pose_camera), abs=1e-4)
        assert b.quality == pytest.approx(a.quality, abs=1e-4)
    # Nearer to the table the same object takes more pixels; the picture is shrunk until a metre has as many as in training.
    near = HeatmapPlanner().heatmap(Observation(rgb=fine), PlanRequest(camera=BLOCK_CAMERA, table_depth=0.35), network)
    far = HeatmapPlanner().heatmap(Observation(rgb=rgb), PlanRequest(camera=BLOCK_CAMERA, table_depth=0.7), network)
    assert near[:, 1::2, 1::2] == pytest.approx(far, abs=0.02)


def test_a_measured_table_sets_the_scale_too():
    network = ours(view={"pixels_per_metre": 0.5 * BLOCK_CAMERA.fx / 0.7})
    told = HeatmapPlanner().heatmap(block(), PlanRequest(camera=BLOCK_CAMERA, table_depth=0.7), network)
    seen = HeatmapPlanner().heatmap(block(), PlanRequest(camera=BLOCK_CAMERA), network)
    blind = HeatmapPlanner().heatmap(rgb_only(), PlanRequest(camera=BLOCK_CAMERA), network)
    assert np.abs(seen - told).max() < 0.1 * np.abs(blind - told).max()


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
    everywhere = Observation(rgb=block().rgb, segmask=np.ones((240, 320), bool))  # colours tell no thing where a mask does
    best = plan(everywhere, network).grasps[0]
    u, v = (int(value) for value in best.center_px)
    turn = round(best.angle % math.pi / (math.pi / 8)) % 8
    highest = torch.logit(torch.tensor(maps.max()))
    assert best.quality == pytest.approx(float(tempered(highest, MAPS_TEMPERED).sigmoid()), abs=1e-5)
    assert maps[turn, v, u] == pytest.approx(maps.max())
