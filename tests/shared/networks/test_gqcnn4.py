import pytest
import torch

from shared.networks import build_network

torch.set_num_threads(1)


def network(**parameters):
    torch.manual_seed(0)
    return build_network("gqcnn4", parameters).eval()


def image(height, width):
    return 0.77 + 0.05 * torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(2))


def test_sizes_are_the_published_ones():
    assert sum(p.numel() for p in network(depth_mode="im_depth_sub", angular_bins=16).parameters()) == 633_200
    assert sum(p.numel() for p in network().parameters()) == 631_410
    assert network().stride == 4


@pytest.mark.parametrize("parameters", [{}, {"depth_mode": "im_depth_sub", "angular_bins": 16}, {"depth_mode": "im_only"}])
@torch.inference_mode()
def test_dense_map_equals_every_crop(parameters):
    model = network(**parameters)
    depth, tip = image(105, 102), torch.tensor([0.71])
    dense = model.dense(depth, tip)[0]
    assert dense.shape[1:] == (3, 2)
    crops = torch.stack([depth[0, :, 4 * i : 4 * i + 96, 4 * j : 4 * j + 96] for i in range(3) for j in range(2)])
    expected = model(crops, tip.expand(6)).reshape(3, 2, -1).permute(2, 0, 1)
    assert torch.allclose(dense, expected, atol=1e-5)


@torch.inference_mode()
def test_image_stream_is_shared_by_depth_bins():
    model = network()
    depth, tips = image(96, 96), torch.tensor([0.65, 0.7, 0.75])
    shared = model.merge(model.features(depth), tips)[:, 0, 0, 0]
    assert torch.allclose(shared, model(depth.expand(3, -1, -1, -1), tips), atol=1e-6)
    assert shared.unique().numel() == 3


@torch.inference_mode()
def test_one_output_per_angular_bin():
    model = network(depth_mode="im_depth_sub", angular_bins=16)
    assert model(image(96, 96), torch.tensor([0.7])).shape == (1, 16)


def test_what_does_not_fit_is_explained():
    with pytest.raises(ValueError, match="needs gripper_depth"):
        network()(image(96, 96))
    with pytest.raises(ValueError, match=r"expected crops \(N, 1, 96, 96\)"):
        network()(image(100, 100), torch.tensor([0.7]))
    layers = {"im_stream": {"conv1": {"type": "conv", "filt_dim": 5, "num_filt": 4, "pad": "SAME"}}}
    with pytest.raises(ValueError, match="VALID"):
        network(architecture=layers, depth_mode="im_only")
    with pytest.raises(ValueError, match="does not fit an architecture"):
        network(architecture={"im_stream": {"fc": {"type": "fc", "out_size": 2}}})
