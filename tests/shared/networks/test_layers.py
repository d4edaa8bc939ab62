"""Layers that several networks are built of."""

from typing import Any

import pytest
import torch

from shared.networks.layers import conv_unit


@pytest.mark.parametrize("options", [{"kernel": 5, "stride": 2}, {"groups": 4}, {"kernel": 1, "act": None}])
def test_a_unit_in_use_says_what_it_says_layer_by_layer(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    unit = conv_unit(8, 12, **options)
    norm = unit[1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    for values in (norm.weight, norm.running_mean, norm.running_var, norm.bias):
        assert values is not None
        torch.nn.init.uniform_(values, 0.5, 2.0)
    unit.eval()
    x = torch.randn(3, 8, 10, 12)
    expected = unit(x).detach()
    with torch.inference_mode():
        assert torch.allclose(unit(x), expected, atol=1e-5)
