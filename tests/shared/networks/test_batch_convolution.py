"""Convolutions of batches and the quick normalisation give what torch's own give, and follow their weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shared.networks import build_network
from shared.networks.batch_convolution import LEAST_BATCH, BatchConv2d
from shared.networks.response_norm import ResponseNorm

torch.set_num_threads(1)


def layer(side: int = 5, padding: int = 0, outputs: int = 48) -> BatchConv2d:
    torch.manual_seed(3)
    return BatchConv2d(32, outputs, side, padding)


def by_spectrum(convolution: BatchConv2d, maps: torch.Tensor) -> torch.Tensor:
    """The convolution, made sure not to be the direct one, which rounds otherwise."""
    with torch.inference_mode():
        found = convolution(maps)
    assert not torch.equal(found, F.conv2d(maps, convolution.weight, convolution.bias, padding=convolution.padding))
    return found


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("size", [7, 32, 33])
@pytest.mark.parametrize("count", [LEAST_BATCH, 19])
def test_equals_the_direct_sum(padding, size, count):
    convolution, maps = layer(padding=padding), torch.randn(count, 32, size, size)
    exact = F.conv2d(maps.double(), convolution.weight.double(), convolution.bias.double(), padding=padding)
    found = by_spectrum(convolution, maps)
    assert found.shape == exact.shape
    assert (found - exact).abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(LEAST_BATCH - 1, 32, 12, 12), (LEAST_BATCH, 32, 12, 13), (LEAST_BATCH, 32, 60, 60)])
def test_few_oblong_and_wide_maps_are_convolved_directly(shape):
    convolution, maps = layer(padding=2), torch.randn(*shape)
    with torch.inference_mode():
        found = convolution(maps)
    assert torch.equal(found, F.conv2d(maps, convolution.weight, convolution.bias, padding=2))


def test_follows_weights_that_change_in_place():
    convolution, maps = layer(), torch.randn(LEAST_BATCH, 32, 16, 16)
    before = by_spectrum(convolution, maps)
    with torch.no_grad():
        convolution.weight.mul_(2)
        convolution.bias.mul_(2)
    assert torch.allclose(by_spectrum(convolution, maps), 2 * before, atol=1e-5)


def test_learns_like_any_convolution():
    convolution, maps = layer(), torch.randn(LEAST_BATCH, 32, 16, 16)
    convolution(maps).sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.abs().sum() > 0
    assert set(convolution.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_normalises_as_torch_does(size):
    maps = 30 * torch.randn(2, 8, 3, 4)
    expected = nn.LocalResponseNorm(size, alpha=2e-3, beta=0.75, k=1.0)(maps)
    assert torch.allclose(ResponseNorm(size, 2e-3)(maps), expected, rtol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_batch_of_crops_scores_as_crop_after_crop(padding):
    torch.manual_seed(0)
    network = build_network("gqcnn", {"padding": padding}).eval()
    crops = 0.7 + 0.004 * torch.randn(40, 1, 32, 32)
    with torch.inference_mode():
        together, alone = network(crops), torch.cat([network(crop[None]) for crop in crops])
    assert (together - alone).abs().max() < 1e-5
