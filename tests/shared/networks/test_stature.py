import pytest
import torch

from shared.networks.stature import BINS, BOUNDS, REACHES, SIDE, Stature, bins
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Stature().eval()


def test_heights_fall_into_the_bins_that_hold_them():
    bounds = torch.tensor(BOUNDS)
    assert bins((bounds[1:] + bounds[:-1]) / 2).tolist() == list(range(BINS))
    assert bins(torch.tensor([[0.0, 0.5]])).tolist() == [[0, BINS - 1]]


@torch.inference_mode()
def test_shapes_of_what_is_told(network):
    windows, lean = torch.rand(3, 3, SIDE, SIDE), torch.tensor([0.0, 0.1, 0.3])
    told = network.told(windows, lean)
    assert told.fits.shape == (3, len(TIP_HEIGHTS), ROTATIONS)
    assert told.highest.shape == (3, len(REACHES), BINS)
    assert told.things.shape == (3, SIDE // 4, SIDE // 4)
    assert told.spots.shape == (3, BINS + 1, SIDE // 8, SIDE // 8)
    assert torch.equal(network(windows, lean), told.fits)


@torch.inference_mode()
def test_brighter_light_is_not_another_height(network):
    """Light multiplies what surfaces reflect; only what is nearly black is seen differently."""
    windows, lean = 0.3 + 0.2 * torch.rand(4, 3, SIDE, SIDE), torch.full((4,), 0.2)
    torch.testing.assert_close(network(1.5 * windows, lean), network(windows, lean), atol=0.05, rtol=0.05)


@torch.inference_mode()
def test_where_a_window_lies_matters(network):
    windows = torch.rand(1, 3, SIDE, SIDE)
    assert not torch.allclose(network(windows, torch.tensor([0.0])), network(windows, torch.tensor([0.3])))
