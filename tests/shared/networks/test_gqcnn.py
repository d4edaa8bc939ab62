from functools import cache

import pytest
import torch

from shared.networks import build_network
from shared.networks.fc_gqcnn import convert, crop_form

torch.set_num_threads(1)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@cache
def pair(**options):
    """The same weights as crop network and fully convolutional, at both resolutions; of no use to who changes them."""
    torch.manual_seed(0)
    crop = build_network("gqcnn", options).eval()
    maps = []
    for high_resolution in (False, True):
        network = build_network("fc-gqcnn", options | {"high_resolution": high_resolution}).eval()
        network.load_state_dict(convert(crop.state_dict()))
        maps.append(network)
    maps[1].conv5 = maps[0].conv5  # of the same weights: their spectrum is made once
    assert all(torch.equal(value, crop.state_dict()[name]) for name, value in crop_form(maps[0].state_dict()).items())
    return crop, *maps


def image(height, width, seed=1):
    noise = torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    return 0.70004099 + 0.00400076 * noise


def windows(depth, rows, columns):
    return torch.stack([depth[0, :, r : r + 32, c : c + 32] for r in rows for c in columns])


def test_has_the_published_size_and_names():
    network = build_network("gqcnn", {})
    assert parameters(network) == 18_008_385
    layers = {name.split(".")[0] for name in network.state_dict()}
    assert layers == {"conv1", "conv2", "conv3", "conv4", "fc", "fc2", "fc3"}
    assert network.state_dict()["fc.weight"].shape == (1024, 16384)


@pytest.mark.parametrize(("height", "width"), [(34, 34), (35, 33)])
@torch.inference_mode()
def test_dense_map_equals_every_crop_with_valid_padding(height, width):
    crop, coarse, fine = pair(padding="valid")
    depth = image(height, width)
    expected = crop(windows(depth, range(height - 31), range(width - 31))).reshape(height - 31, width - 31)
    assert torch.allclose(fine(depth)[0], expected, atol=1e-5)
    assert torch.allclose(coarse(depth)[0], expected[::2, ::2][: height // 2 - 15, : width // 2 - 15], atol=1e-5)


@torch.inference_mode()
def test_same_padding_agrees_on_one_window_and_differs_beyond():
    crop, coarse, fine = pair()
    depth = image(32, 32)
    assert torch.allclose(coarse(depth)[0, 0], crop(depth), atol=1e-5)
    assert torch.allclose(fine(depth)[0, 0], crop(depth), atol=1e-5)
    larger = image(34, 34)
    gap = (coarse(larger)[0] - crop(windows(larger, (0, 2), (0, 2))).reshape(2, 2)).abs()
    assert gap.max() > 1e-4  # a crop's rim sees zeros where the image goes on


@torch.inference_mode()
def test_output_sizes_at_70_pixels():
    _, coarse, fine = pair(padding="valid")
    assert coarse(image(70, 70)).shape == (1, 20, 20)
    assert fine(image(70, 70)).shape == (1, 39, 39)


@torch.inference_mode()
def test_gripper_depth_stream_matters_and_survives_conversion():
    crop, coarse, _ = pair(gripper_depth=True, padding="valid")
    depth, tip = image(32, 32), torch.tensor([0.68])
    assert torch.allclose(coarse(depth, tip)[0, 0], crop(depth, tip), atol=1e-5)
    assert not torch.allclose(crop(depth, tip), crop(depth, tip + 0.05), atol=1e-6)
    with pytest.raises(ValueError, match="gripper_depth"):
        crop(depth)


def test_wrong_input_and_parameters_are_explained():
    _, coarse, _ = pair(padding="valid")
    with pytest.raises(ValueError, match="at least 32x32"):
        coarse(torch.zeros(1, 1, 31, 40))
    with pytest.raises(ValueError, match="'same' or 'valid'"):
        build_network("gqcnn", {"padding": "reflect"})
    with pytest.raises(ValueError, match="do not fit"):
        build_network("gqcnn", {"layers": 3})
    with pytest.raises(ValueError, match="unknown architecture"):
        build_network("gqcnn5", {})
