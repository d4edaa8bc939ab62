"""Networks of suction that are told, beside the depth, how far the approach leans from the optical axis (Dex-Net 3.0)."""

from __future__ import annotations

import pytest
import torch

from shared.networks import build_network

LEANS = [
    ("gqcnn", {"gripper_depth": True, "lean": [0.2, 0.1], "depth_mean": 0.7, "depth_std": 0.03}),
    ("gqcnn4", {"lean": [0.2, 0.1], "depth_mean": 0.7, "depth_std": 0.03}),
]


@pytest.mark.parametrize(("architecture", "parameters"), LEANS)
@torch.inference_mode()
def test_depth_and_lean_both_matter(architecture: str, parameters: dict) -> None:
    torch.manual_seed(0)
    network = build_network(architecture, parameters).eval()
    assert network.takes_lean
    crop = network.golden_batch()[0][:1]  # type: ignore[operator]
    scores = [float(network(crop, torch.tensor([pose]))) for pose in ([0.7, 0.2], [0.7, 0.5], [0.8, 0.2], [0.7, 0.2])]
    assert scores[0] == scores[3]
    assert len(set(scores)) == 3
    assert network(*network.golden_batch()).isfinite().all()  # type: ignore[operator]


@pytest.mark.parametrize("architecture", ["gqcnn", "gqcnn4"])
def test_without_it_networks_take_the_depth_alone(architecture: str) -> None:
    assert not build_network(architecture, {}).takes_lean


def test_a_network_without_pose_stream_cannot_take_it() -> None:
    with pytest.raises(ValueError, match="pose stream"):
        build_network("gqcnn4", {"depth_mode": "im_depth_sub", "lean": [0.2, 0.1]})
