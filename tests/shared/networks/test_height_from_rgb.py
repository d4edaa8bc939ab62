import pytest
import torch

from shared.networks import build_network
from shared.networks.height_from_rgb import BINS, BOUNDS, REACHES, SIDE, HeightFromRgb, at_turns, bins, quantile
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return HeightFromRgb().eval()


def test_heights_fall_into_the_bins_that_hold_them():
    bounds = torch.tensor(BOUNDS)
    assert bins((bounds[1:] + bounds[:-1]) / 2).tolist() == list(range(BINS))
    assert bins(torch.tensor([[0.0, 0.5]])).tolist() == [[0, BINS - 1]]


def test_angles_lie_between_the_nearest_two_and_come_round():
    values = torch.arange(6.0).reshape(1, 2, 3).expand(2, -1, -1)
    found = at_turns(values, torch.tensor([[0.25, -1.0], [2.5, 4.0]]))
    assert found.tolist() == [[[0.25, 2.0], [3.25, 5.0]], [[1.0, 1.0], [4.0, 4.0]]]


def test_quantiles_lie_between_the_bounds_of_bins():
    shares = torch.full((1, BINS), 1e-9)
    shares[0, 2], shares[0, 5] = 0.25, 0.75
    found = [float(quantile(shares.log(), share)) for share in (0.125, 0.25, 0.625)]
    assert found == pytest.approx([0.5 * (BOUNDS[2] + BOUNDS[3]), BOUNDS[3], 0.5 * (BOUNDS[5] + BOUNDS[6])], abs=1e-5)


@torch.inference_mode()
def test_shapes_of_an_estimate(network):
    windows, lean = torch.rand(3, 3, SIDE, SIDE), torch.tensor([0.0, 0.1, 0.3])
    estimate = network.estimate(windows, lean)
    assert estimate.fits.shape == estimate.holds.shape == (3, len(TIP_HEIGHTS), ROTATIONS)
    assert estimate.highest.shape == (3, len(REACHES), BINS)
    assert estimate.things.shape == (3, SIDE // 4, SIDE // 4)
    assert estimate.spots.shape == (3, BINS + 1, SIDE // 8, SIDE // 8)
    holds, fits, highest = network(windows, lean)
    assert torch.equal(holds, estimate.holds)
    assert torch.equal(fits, estimate.fits)
    assert torch.equal(highest, estimate.highest)


@torch.inference_mode()
def test_brighter_light_is_not_another_height(network):
    """Light multiplies what surfaces reflect: twice as bright is less of a change than another picture, by far."""
    torch.manual_seed(1)
    windows, others, lean = *(0.1 + 0.4 * torch.rand(2, 8, 3, SIDE, SIDE)), torch.full((8,), 0.2)
    seen, brighter, other = (network.estimate(each, lean).spots for each in (windows, 2 * windows, others))
    assert (brighter - seen).abs().mean() < 0.1 * (other - seen).abs().mean()


@torch.inference_mode()
def test_where_a_window_lies_matters(network):
    windows = torch.rand(1, 3, SIDE, SIDE)
    here, there = (network(windows, torch.tensor([lean])) for lean in (0.0, 0.3))
    assert not any(torch.allclose(one, other) for one, other in zip(here, there, strict=True))


def test_weights_of_version_0_1_still_load():
    with torch.random.fork_rng():
        now, before = (build_network("mobileunet", {name: True}) for name in ("height_from_rgb", "stature"))
    weights = now.state_dict()
    old = {name.replace("height_from_rgb.", "stature."): value for name, value in weights.items()}
    assert old.keys() != weights.keys()
    before.load_state_dict(old)
    assert all(torch.equal(value, weights[name]) for name, value in before.state_dict().items())
