"""Suction by networks of the GQ-CNN family: cups on the surface, seen as Dex-Net 3.0 stored them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gqcnn_scenes import CPU, SMALL, loaded
from suction_scenes import CELL, CUP, LeaningBox, body_collides, item, surface_distances
from table_scenes import Box, camera

from planning.gqcnn.crop_scorer import CropScorer
from planning.gqcnn.suction import SuctionGQCNNPlanner, cups_in_image
from planning.scene.projection import project_suction
from planning.scene.scene import observe_scene
from planning.suction.search import predict
from shared.features.crops import cup_crop_view

VIEW = camera(480, 640, 525.0)
SLAB, LEANING = Box(-0.05, 0.0, 0.5, 0.1, 0.08, 0.03), LeaningBox(0.07, 0.01, 0.05, 0.7, math.radians(25), 0.08, 0.07, 0.05)
NETWORKS = [
    ("gqcnn", {"mean": 0.6, "std": 0.07}),
    ("gqcnn", {"mean": 0.6, "std": 0.07, "gripper_depth": True, "lean": [0.2, 0.2]}),
    ("gqcnn4", SMALL),
    ("gqcnn4", {"lean": [0.2, 0.2]}),
]


@pytest.mark.parametrize(("architecture", "parameters"), NETWORKS)
def test_cups_lie_on_the_surface_whatever_the_network_says(architecture: str, parameters: dict) -> None:
    network = loaded(architecture, parameters)
    [plan] = SuctionGQCNNPlanner().plan_batch([item(VIEW, [SLAB, LEANING], seed=1)], network)
    assert plan.grasps
    assert plan.model is not None
    for grasp in plan.grasps:
        assert grasp.kind == "suction"
        assert np.abs(surface_distances(grasp, [SLAB, LEANING], spread=1 - CELL / CUP.cup_radius)).max() < 0.003
        assert not body_collides(grasp, [SLAB, LEANING], slack=0.001)
    qualities = [grasp.quality for grasp in plan.grasps]
    assert qualities == sorted(qualities, reverse=True)


def test_a_seed_repeats_the_plan() -> None:
    network = loaded("gqcnn4", SMALL)
    first, again, other = (
        SuctionGQCNNPlanner().plan_batch([item(VIEW, [SLAB], seed=seed)], network)[0].grasps[0] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_the_search_ends_at_better_contacts_than_it_begins_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a quality that is known: the nearer to a point of the image the better."""

    def near(scorer: CropScorer, grasps):  # type: ignore[no-untyped-def]
        yield from ()
        return -torch.linalg.norm(grasps.centers - torch.tensor([270.0, 240.0]), dim=1) / 10

    monkeypatch.setattr(CropScorer, "__call__", near)
    [plan] = SuctionGQCNNPlanner().plan_batch([item(VIEW, [SLAB], seed=0)], loaded("gqcnn4"))
    assert plan.grasps[0].center_px == pytest.approx([270, 240], abs=1.5)


@torch.inference_mode()
def test_crops_are_cut_along_the_lean_at_the_depth_of_the_contact() -> None:
    scene = observe_scene(*item(VIEW, [LEANING]), CPU)  # type: ignore[call-arg]
    _, cups, _ = predict(scene)
    cups = cups.best_first(cups.score)
    placed, seen = project_suction(scene, scene.request.gripper, cups.pose), cups_in_image(scene, cups)
    assert seen.centers.numpy() == pytest.approx(placed.pixel.numpy(), abs=0.01)
    assert seen.depth.numpy() == pytest.approx(placed.pose[:, 2, 3].numpy(), abs=1e-4)
    assert seen.lean is not None
    best = seen.lean[0]
    assert math.degrees(best) == pytest.approx(25, abs=6)
    along = torch.tensor([math.cos(seen.angles[0]), math.sin(seen.angles[0])])
    assert torch.linalg.norm(placed.pose[0, :2, 2].float() - torch.sin(best) * along) < 1e-3


def test_an_upright_cup_is_seen_unturned() -> None:
    angles, leans = cup_crop_view(torch.tensor([[0.0, 0.0, 1.0], [0.001, 0.001, 1.0], [0.0, 0.5, math.sqrt(0.75)]]))
    assert angles.tolist() == pytest.approx([0, 0, math.pi / 2])
    assert leans.tolist() == pytest.approx([0, 0, math.pi / 6], abs=2e-3)
