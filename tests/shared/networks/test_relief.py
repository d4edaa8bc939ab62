import pytest
import torch

from shared.networks import build_network
from shared.networks.relief import BOUNDS, EDGES, Relief, below, bins, median

OURS = {"rotations": 4, "tip_heights": [0.01, 0.06], "decoder_width": 8, "squeeze": False, "rays": True, "image_size": 64}


def certain(height):
    """All probability in the bin of a height."""
    shares = torch.zeros(len(EDGES) + 1)
    shares[bins(torch.tensor(height))] = 1.0
    return shares


@torch.inference_mode()
def test_every_pixel_gets_a_share_of_every_bin():
    relief = Relief(600.0).eval()
    assert relief(torch.rand(2, 5, 48, 64)).shape == (2, len(EDGES) + 1, 48, 64)


def test_bins_lie_between_their_edges():
    assert bins(torch.tensor([-0.01, 0.0, 0.0039, 0.005, 0.0999, 0.3])).tolist() == [0, 0, 0, 1, 13, 15]


@pytest.mark.parametrize("height", [0.006, 0.03, 0.07, 0.105])
def test_a_certain_height_is_its_own_median_up_to_a_bin(height):
    low, high = (BOUNDS[bins(torch.tensor(height)) + step] for step in (0, 1))
    assert low <= float(median(certain(height))) <= high
    assert below(certain(height), torch.tensor([low, high])).tolist() == [0.0, 1.0]


def test_half_of_the_probability_lies_below_the_median_whatever_the_table_has():
    shares = torch.rand(50, len(EDGES) + 1, generator=torch.Generator().manual_seed(0))
    shares[:, 0] *= 9
    assert below(shares, median(shares)[:, None])[:, 0] == pytest.approx(0.5, abs=1e-5)
    rising = below(shares, torch.linspace(0, 0.2, 40).expand(50, -1))
    assert (rising.diff(dim=1) >= -1e-6).all()
    assert rising[:, 0].max() == 0
    assert rising[:, -1].min() == pytest.approx(1.0)


@torch.inference_mode()
def test_maps_are_the_same_with_a_relief_beside_them():
    torch.manual_seed(0)
    plain, beside = build_network("mobileunet", OURS).eval(), build_network("mobileunet", OURS | {"relief": 600}).eval()
    missing, unknown = beside.load_state_dict(plain.state_dict(), strict=False)
    assert not unknown
    assert all(name.startswith("relief.") for name in missing)
    assert torch.equal(plain(*plain.golden_batch()), beside(*beside.golden_batch()))


def test_what_is_learned_from_outcomes_leaves_the_relief_alone():
    network = build_network("mobileunet", OURS | {"relief": 600}).train()
    before = {name: value.clone() for name, value in network.relief.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), 0.1)
    network(torch.rand(2, 5, 64, 64)).mean().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in network.relief.state_dict().items())
