import pytest
import torch

from shared.networks.stature import BINS, BOUNDS, REACHES, SIDE, Stature, below, bins


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Stature().eval()


def test_heights_fall_into_the_bins_that_hold_them():
    bounds = torch.tensor(BOUNDS)
    assert bins((bounds[1:] + bounds[:-1]) / 2).tolist() == list(range(BINS))
    assert bins(torch.tensor([[0.0, 0.5]])).tolist() == [[0, BINS - 1]]


def test_probability_below_rises_from_nothing_to_all_and_is_linear_within_a_bin():
    shares = torch.zeros(BINS)
    shares[2], shares[5] = 0.25, 0.75
    low, high = BOUNDS[5], BOUNDS[6]
    heights = torch.tensor([-0.01, 0.0, BOUNDS[2], BOUNDS[3], low, (low + high) / 2, high, 1.0])
    expected = torch.tensor([0, 0, 0, 0.25, 0.25, 0.625, 1, 1])
    torch.testing.assert_close(below(shares, heights), expected)


def test_probability_below_of_many(network):
    shares = torch.rand(4, 7, BINS).softmax(-1)
    heights = torch.rand(4, 7, 3) * 0.13
    found = below(shares, heights)
    assert found.shape == (4, 7, 3)
    for i in range(4):
        torch.testing.assert_close(found[i, 2], below(shares[i, 2], heights[i, 2]))


@torch.inference_mode()
def test_shapes_of_what_is_told(network):
    windows, lean = torch.rand(3, 3, SIDE, SIDE), torch.tensor([0.0, 0.1, 0.3])
    told, things, spots = network.learned(windows, lean)
    assert told.shape == (3, len(REACHES), BINS)
    assert things.shape == (3, SIDE // 4, SIDE // 4)
    assert spots.shape == (3, BINS + 1, SIDE // 8, SIDE // 8)
    assert torch.equal(network(windows, lean), told)


@torch.inference_mode()
def test_brighter_light_is_not_another_height(network):
    """Light multiplies what surfaces reflect; only what is nearly black is seen differently."""
    windows, lean = 0.3 + 0.2 * torch.rand(4, 3, SIDE, SIDE), torch.full((4,), 0.2)
    torch.testing.assert_close(network(1.5 * windows, lean), network(windows, lean), atol=0.05, rtol=0.05)


@torch.inference_mode()
def test_where_a_window_lies_matters(network):
    windows = torch.rand(1, 3, SIDE, SIDE)
    assert not torch.allclose(network(windows, torch.tensor([0.0])), network(windows, torch.tensor([0.3])))
