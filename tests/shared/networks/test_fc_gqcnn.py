"""The convolution by spectra gives what the direct sum gives, for every size, and follows its weights."""

import pytest
import torch
from torch.nn import functional as F

from shared.networks.fc_gqcnn import TILE, WideConv2d


def layer(side: int) -> WideConv2d:
    torch.manual_seed(3)
    return WideConv2d(5, 7, side)


@pytest.mark.parametrize("side", [7, 16])
@pytest.mark.parametrize("size", [(16, 16), (35, 35), (36, 40), (90, 61)])
def test_equals_the_direct_sum(side, size):
    convolution, images = layer(side), torch.randn(3, 5, *size)
    exact = F.conv2d(images.double(), convolution.weight.double(), convolution.bias.double())
    with torch.inference_mode():
        found = convolution(images)
    assert found.shape == exact.shape
    assert (found - exact).abs().max() < 1e-5


def test_follows_weights_that_change_in_place():
    convolution, image = layer(16), torch.randn(1, 5, TILE, TILE)
    with torch.no_grad():
        before = convolution(image)
        convolution.weight.mul_(2)
        convolution.bias.mul_(2)
        assert torch.allclose(convolution(image), 2 * before, atol=1e-5)


def test_learns_like_any_convolution():
    convolution, image = layer(16), torch.randn(1, 5, 20, 20)
    convolution(image).sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.abs().sum() > 0
    assert set(convolution.state_dict()) == {"weight", "bias"}
