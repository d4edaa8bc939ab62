import math

import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, CPU, block, loaded

from grasp_client.contract import PlanRequest
from planning.batched_inference import run_batched
from planning.gqcnn import dense_evaluation
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps
from planning.gqcnn.dense_evaluation import angle_maps, best
from planning.gqcnn.fc_jaw import FCGQCNNPlanner
from planning.scene.scene import observe_scene

REGION = [150.0, 110.0, 170.0, 130.0]
MIDDLE = [157.0, 117.0, 163.0, 123.0]
FAMILY = [
    ("gqcnn4", {}, {"focal_px": 552.5, "near": 0.6, "far": 0.9}),
    ("gqcnn4", {"depth_mode": "im_depth_sub", "angular_bins": 16}, {"focal_px": 552.5, "near": 0.6, "far": 0.9}),
    ("gqcnn", {"padding": "valid", "std": 0.03}, {"focal_px": 175.0, "near": 0.6, "far": 0.8}),
    ("gqcnn", {"padding": "valid", "std": 0.03, "gripper_depth": True}, {"focal_px": 175.0, "near": 0.6, "far": 0.8}),
]


@pytest.mark.parametrize(("architecture", "parameters", "seen"), FAMILY)
@torch.inference_mode()
def test_maps_agree_with_the_score_of_a_crop_at_the_same_place(architecture, parameters, seen, monkeypatch):
    monkeypatch.setattr(dense_evaluation, "DEPTHS", 4)  # each may cost a pass
    network = loaded(architecture, parameters, seen)
    scene = observe_scene(block(), PlanRequest(camera=BLOCK_CAMERA, region=MIDDLE), CPU)
    scorer = CropScorer(scene, network)
    maps = list(angle_maps(scene, scorer))
    assert len(maps) == 16
    for each in maps[3::5]:
        pixel = each.pixels()[each.logits.shape[1] // 2, each.logits.shape[2] // 2]
        level = len(each.depths) // 2
        grasp = ImageGrasps(pixel[None], torch.tensor([each.angle]), each.depths[level][None])
        [(expected, _)] = run_batched([scorer(grasp)])
        found = each.logits[level, each.logits.shape[1] // 2, each.logits.shape[2] // 2].item()
        assert found == pytest.approx(expected.item(), abs=0.01)


@torch.inference_mode()
def test_peaks_lie_on_the_surface_and_under_it():
    scene = observe_scene(block(), PlanRequest(camera=BLOCK_CAMERA, region=REGION), CPU)
    scorer = CropScorer(scene, loaded("gqcnn4"))
    grasps, logits = best(scene, angle_maps(scene, scorer), 50)
    assert 0 < len(grasps) <= 50
    assert (logits[:-1] >= logits[1:]).all()
    u, v = grasps.centers.round().long().T
    surface = torch.from_numpy(block().depth)[v, u]
    assert ((grasps.depth > surface) & (grasps.depth < surface + 0.06)).all()


def test_heatmap_covers_the_image_and_is_zero_where_nothing_was_asked():
    observation, request = block(), PlanRequest(camera=BLOCK_CAMERA, region=REGION)
    maps = FCGQCNNPlanner().heatmap(observation, request, loaded("gqcnn4"))
    assert maps.shape == (16, 240, 320)
    assert 0 < maps[:, 120, 160].min() <= maps.max() <= 1
    assert maps[:, :40].max() == 0
    assert not math.isnan(maps.sum())
