"""The value of pushes: members that differ, inputs by their own scale, crops that begin without a say."""

from __future__ import annotations

import torch

from shared.features.push import CROP, FEATURES
from shared.networks.push_value import PushValue


def test_members_differ_and_are_averaged() -> None:
    torch.manual_seed(0)
    network = PushValue(members=3).eval()
    features = torch.randn(5, len(FEATURES))
    each = network.members(features)
    assert each.shape == (3, 5)
    assert each.std(0).min() > 1e-3
    assert torch.allclose(network(features), each.mean(0))


def test_inputs_are_told_by_their_own_scale() -> None:
    torch.manual_seed(0)
    network = PushValue()
    features = torch.randn(200, len(FEATURES))
    before = network(features)
    moved = 3 + 50 * features
    network.standardize(moved)
    assert torch.allclose(network(moved), before, atol=0.3)
    assert "mean" in network.state_dict()


def test_crops_begin_without_a_say_and_can_learn_one() -> None:
    torch.manual_seed(0)
    network = PushValue(members=3, crop_width=4, crop_members=2)
    features, crops = torch.randn(6, len(FEATURES)), torch.rand(6, *CROP)
    assert torch.allclose(network(features, crops), network(features))
    network(features, crops).sum().backward()
    heads = [scorer.head[-1].weight for scorer in network.crop_scorers]
    assert len(heads) == 2
    assert all(weight.grad.abs().max() > 0 for weight in heads)
    with torch.no_grad():
        for weight in heads:
            weight.add_(1)
    changed = (network.members(features, crops) != network.members(features)).any(1)
    assert changed.tolist() == [False, True, True]
