import math

import pytest
import torch

from shared.networks import architectures, build_network

torch.set_num_threads(1)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("rotations", [2, 7, 16])
@torch.inference_mode()
def test_mobileunet_gives_a_map_per_rotation_in_the_size_of_the_image(rotations):
    network = build_network("mobileunet", {"rotations": rotations}).eval()
    assert network(torch.rand(1, 3, 96, 64)).shape == (1, rotations, 96, 64)
    assert network.angles[1] == pytest.approx(math.pi / rotations)


@torch.inference_mode()
def test_mobileunet_maps_heights_on_a_finer_grid_and_sees_only_what_is_near():
    options = {"rotations": 16, "tip_heights": [0.01, 0.03, 0.06], "decoder_width": 8, "squeeze": False}
    network = build_network("mobileunet", options).eval()
    image = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
    whole = network(image)
    assert whole.shape == (1, 48, 80, 80)
    # A window says the same of its middle: what lies further away than the receptive field does not matter.
    window = network(image[:, :, 16:304, 16:304])
    assert torch.allclose(window[:, :, 34:38, 34:38], whole[:, :, 38:42, 38:42], atol=1e-5)


@torch.inference_mode()
def test_mobileunet_with_rays_takes_two_more_channels():
    network = build_network("mobileunet", {"rays": True, "decoder_width": 8, "rotations": 4}).eval()
    (image,) = network.golden_batch()
    assert image.shape == (1, 5, 64, 64)
    assert network(image).shape == (1, 4, 16, 16)


def test_mobileunet_with_two_rotations_has_the_published_size():
    network = build_network("mobileunet", {})
    assert parameters(network) == 87_362
    assert len(network.state_dict()) == 110


@torch.inference_mode()
def test_mobileunet_output_is_signed_unless_the_relu_is_asked_for():
    torch.manual_seed(0)
    network = build_network("mobileunet", {}).eval()
    (image,) = network.golden_batch()
    free = network(image)
    network.output_relu = True  # type: ignore[assignment]
    assert free.min() < 0 <= network(image).min()


def test_mobileunet_says_what_it_cannot_take():
    with pytest.raises(ValueError, match="2 to 16"):
        build_network("mobileunet", {"rotations": 17})
    with pytest.raises(ValueError, match="multiples of 16"):
        build_network("mobileunet", {})(torch.rand(1, 3, 70, 64))
    with pytest.raises(ValueError, match="one per rotation"):
        build_network("mobileunet", {"rotations": 2, "angles": [0.0]})


@torch.inference_mode()
def test_efficientnet_has_the_published_size_and_names():
    network = build_network("efficientnet", {}).eval()
    assert parameters(network) == 5_290_550
    names = network.state_dict()
    assert names["efficient_net.features.5.0.block.1.0.weight"].shape == (480, 1, 5, 5)
    assert names["efficient_net.features.2.0.block.2.fc1.weight"].shape == (4, 96, 1, 1)
    assert names["efficient_net.features.8.0.weight"].shape == (1280, 320, 1, 1)
    assert names["efficient_net.classifier.1.weight"].shape == (1000, 1280)
    assert network(*network.golden_batch()).shape == (1,)


def test_stochastic_depth_trains_and_is_off_in_evaluation():
    network = build_network("efficientnet", {})
    depth = network.golden_batch()[0].expand(2, -1, -1, -1)
    network.train()(depth).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.inference_mode():
        network.eval()
        assert torch.equal(network(depth), network(depth))


@pytest.mark.parametrize("architecture", sorted(set(architectures()) - {"dense"}))
@torch.inference_mode()
def test_golden_batch_runs_and_repeats(architecture):
    few_turns = {"rotations": 2} if architecture == "push-grasp-qmap" else {}  # each is a pass of its own
    network = build_network(architecture, few_turns).eval()
    first = network(*network.golden_batch())
    assert first.isfinite().all()
    assert torch.equal(first, network(*network.golden_batch()))
