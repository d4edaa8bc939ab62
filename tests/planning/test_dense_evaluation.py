import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, CPU, block, loaded

from grasp_client.contract import PlanRequest
from grasp_client.observation import Observation
from planning.batched_inference import run_batched
from planning.gqcnn import dense_evaluation, pieces
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps
from planning.gqcnn.dense_evaluation import angle_maps, best
from planning.gqcnn.fc_jaw import FCGQCNNPlanner
from planning.gqcnn.pieces import form_of
from planning.scene.scene import observe_scene

REGION = [150.0, 110.0, 170.0, 130.0]
AROUND = [150.0, 108.0, 170.0, 132.0]
MIDDLE = [157.0, 117.0, 163.0, 123.0]
FAMILY = [
    ("gqcnn4", {}, {"focal_px": 552.5, "near": 0.6, "far": 0.9}),
    ("gqcnn4", {"depth_mode": "im_depth_sub", "angular_bins": 16}, {"focal_px": 552.5, "near": 0.6, "far": 0.9}),
    ("gqcnn", {"padding": "valid", "std": 0.03}, {"focal_px": 175.0, "near": 0.6, "far": 0.8}),
    ("gqcnn", {"padding": "valid", "std": 0.03, "gripper_depth": True}, {"focal_px": 175.0, "near": 0.6, "far": 0.8}),
]


def finished(work):
    """What a planner's steps come to."""
    [(result, _)] = run_batched([work])
    return result


@pytest.mark.parametrize(("architecture", "parameters", "seen"), FAMILY)
@torch.inference_mode()
def test_maps_agree_with_the_score_of_a_crop_at_the_same_place(architecture, parameters, seen, monkeypatch):
    monkeypatch.setattr(dense_evaluation, "DEPTHS", 2)  # each may cost a pass
    network = loaded(architecture, parameters, seen)
    scene = observe_scene(block(), PlanRequest(camera=BLOCK_CAMERA, region=MIDDLE), CPU)
    scorer = CropScorer(scene, network)
    maps, _ = finished(angle_maps(scene, scorer, close=False))
    assert len(maps) == 16
    for each in maps[3::5]:
        places = torch.nonzero(torch.isfinite(each.logits))
        level, row, column = places[len(places) // 2].tolist()
        grasp = ImageGrasps(each.pixels()[row, column][None], torch.tensor([each.angle]), each.depths[level][None])
        expected = finished(scorer(grasp))
        assert each.logits[level, row, column].item() == pytest.approx(expected.item(), abs=0.01)


@pytest.mark.parametrize(("architecture", "parameters", "seen"), FAMILY[:2])
@torch.inference_mode()
def test_pieces_answer_what_one_picture_does(architecture, parameters, seen, monkeypatch):
    monkeypatch.setattr(dense_evaluation, "DEPTHS", 2)
    scene = observe_scene(block(), PlanRequest(camera=BLOCK_CAMERA, region=AROUND), CPU)
    scorer = CropScorer(scene, loaded(architecture, parameters, seen))
    whole, _ = finished(angle_maps(scene, scorer, close=False))
    monkeypatch.setattr(
        dense_evaluation, "form_of", lambda network: replace(form_of(network), piece=form_of(network).window ** 2 + 900)
    )
    monkeypatch.setattr(pieces, "MOST_PIECES", 10_000)
    cut, _ = finished(angle_maps(scene, scorer, close=False))
    for one, other in zip(whole, cut, strict=True):
        assert torch.isfinite(one.logits).any()
        torch.testing.assert_close(one.logits, other.logits, atol=0.01, rtol=0.0)


@pytest.mark.parametrize("seed", range(20))
def test_boxes_hold_all_that_is_wanted_once_and_no_more_than_is_allowed(seed):
    rng = np.random.default_rng(seed)
    form = form_of(loaded("gqcnn4").module)
    wanted = np.zeros((90, 120), bool)
    for _ in range(rng.integers(0, 6)):
        row, column, size = rng.integers(0, 80), rng.integers(0, 110), rng.integers(1, 40)
        wanted[row : row + size, column : column + size] |= (
            rng.random((90, 120))[row : row + size, column : column + size] < 0.5
        )
    boxes = pieces.cut(wanted, form)
    held = np.zeros(wanted.shape, int)
    for box in boxes:
        held[box] += 1
        assert wanted[box].any()
        assert math.prod(form.size(box)) <= form.piece
    assert (held[wanted] == 1).all()
    assert bool(boxes) == wanted.any()


@pytest.mark.parametrize("depth", [0.5, 2.5, 6.0])
@torch.inference_mode()
def test_what_a_request_costs_is_bounded_also_without_a_camera(depth, monkeypatch):
    """Noise at any distance: things everywhere, which the assumed camera sees in any size."""
    noise = np.random.default_rng(0).uniform(0.8 * depth, 1.2 * depth, (120, 160)).astype(np.float32)
    monkeypatch.setattr(pieces, "MOST_PIECES", 4)
    network = loaded("gqcnn4", {"depth_mode": "im_depth_sub"}, FAMILY[1][2])
    form = form_of(network.module)
    steps = FCGQCNNPlanner().steps((Observation(depth=noise), PlanRequest()), network)
    pixels, call = [], next(steps, None)
    while call is not None:
        pixels.append(math.prod(call.inputs[0].shape) if call.run else 0)
        answer = (call.run or network.module)(*call.inputs)
        try:
            call = steps.send(answer)
        except StopIteration:
            call = None
    assert max(pixels) <= form.piece
    assert sum(pixels) <= pieces.MOST_PIECES * form.piece


@torch.inference_mode()
def test_peaks_lie_on_the_surface_and_under_it():
    scene = observe_scene(block(), PlanRequest(camera=BLOCK_CAMERA, region=REGION), CPU)
    scorer = CropScorer(scene, loaded("gqcnn4"))
    maps, _ = finished(angle_maps(scene, scorer))
    grasps, logits = best(scene, maps, 50)
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
