"""Q-maps of pushes and grasps: the published size and names, and values that turn with the scene."""

from __future__ import annotations

import pytest
import torch

from shared.networks.push_grasp_qmap import PushGraspQmap

SMALL = {"growth": 4, "blocks": (1, 1, 1, 1), "zoom": 1}


@pytest.mark.parametrize(("goal", "count", "trunks"), [(True, 40_300_168, 5), (False, 32_186_144, 4)])
def test_the_default_is_the_published_network_less_unused_classifiers(goal: bool, count: int, trunks: int) -> None:
    with torch.device("meta"):
        network = PushGraspQmap(goal=goal)
    assert sum(each.numel() for each in network.parameters()) == count - trunks * 1_025_000
    names = set(network.state_dict())
    assert "push_color_trunk.features.denseblock4.denselayer16.conv2.weight" in names
    assert "graspnet.grasp-norm1.running_var" in names
    assert ("mask_trunk.features.norm5.bias" in names) == goal


def test_values_turn_with_the_scene() -> None:
    torch.manual_seed(0)
    network = PushGraspQmap(**SMALL).eval()
    maps = torch.rand(1, 5, 48, 48)
    with torch.inference_mode():
        for action in ("push", "grasp"):
            straight = network.values(maps, action, torch.tensor([0]))
            # A quarter of a turn from columns to rows, as four of sixteen steps are.
            turned = network.values(maps.rot90(-1, (2, 3)), action, torch.tensor([4]))
            assert straight.std() > 0
            assert torch.allclose(turned, straight.rot90(-1, (1, 2)), atol=1e-4)
        every = network(maps)
        assert every.shape == (1, 2, 16, 48, 48)
        assert torch.allclose(every[:, 1, 5], network.values(maps, "grasp", torch.tensor([5])))
        assert network(*network.golden_batch()).isfinite().all()
