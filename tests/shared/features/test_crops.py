import numpy as np
import pytest
import torch

from shared.features.crops import CropView, crop, fill_holes

torch.set_num_threads(1)


def plane(height=120, width=160):
    """Depth 1 + u / 1000 + v / 100: every crop can be predicted."""
    v, u = np.mgrid[:height, :width]
    return torch.from_numpy((1 + u / 1000 + v / 100).astype(np.float32))


def test_an_upright_crop_is_a_slice_of_the_image():
    image = plane()
    (patch,) = crop(image, torch.tensor([[80.0, 60.0]]), torch.zeros(1), torch.ones(1), (32, 32))
    assert torch.allclose(patch[0], image[44:76, 64:96], atol=1e-5)


def test_columns_run_along_the_closing_axis():
    angles = torch.tensor([0.0, 0.3, 1.2, -0.7])
    patches = crop(plane(), torch.tensor([[80.0, 60.0]]).expand(4, 2), angles, torch.full((4,), 1.5), (24, 24))
    slope = (patches[:, 0, 12, 14] - patches[:, 0, 12, 12]) / 2 / 1.5
    assert torch.allclose(slope, angles.cos() / 1000 + angles.sin() / 100, atol=1e-5)
    assert torch.allclose(patches[:, 0, 12, 12], torch.tensor(1 + 0.08 + 0.6), atol=1e-5)


def test_a_crop_may_be_wider_than_high():
    image = plane()
    (patch,) = crop(image, torch.tensor([[80.0, 60.0]]), torch.zeros(1), torch.ones(1), (20, 40))
    assert torch.allclose(patch[0], image[50:70, 60:100], atol=1e-5)


def test_shrinking_averages_and_stays_centred():
    checks = torch.from_numpy((np.indices((200, 200)).sum(0) % 2).astype(np.float32))
    (patch,) = crop(checks, torch.tensor([[100.0, 100.0]]), torch.zeros(1), torch.full((1,), 4.0), (32, 32))
    assert torch.allclose(patch, torch.full_like(patch, 0.5))
    (patch,) = crop(plane(200, 200), torch.tensor([[100.0, 100.0]]), torch.zeros(1), torch.full((1,), 3.0), (32, 32))
    assert patch[0, 16, 16].item() == pytest.approx(1 + 0.1 + 1.0, abs=1e-4)


def test_beyond_the_image_its_rim_is_repeated():
    (patch,) = crop(torch.full((40, 40), 0.7), torch.zeros(1, 2), torch.zeros(1), torch.ones(1), (32, 32))
    assert torch.allclose(patch, torch.full_like(patch, 0.7))


def test_view_leaves_the_training_camera_alone_and_brings_others_to_it():
    view = CropView(focal_px=500, near=0.6, far=0.9)
    scale, shift = view.scale_and_shift(np.array([0.7, 1.8, 0.3]), focal=500)
    assert scale == pytest.approx([1, 0.5, 2])
    assert shift == pytest.approx([0, -0.9, 0.3])
    assert view.scale_and_shift(np.array([0.7]), focal=1000)[0] == pytest.approx([2])
    assert view.scale_and_shift(np.array([0.7]), focal=None)[0] == pytest.approx([1])


def test_a_hole_takes_its_nearest_reading():
    depth = np.full((20, 20), 0.8, np.float32)
    depth[:, 10:] = 0.5
    depth[5:9, 7:9] = 0
    filled = fill_holes(depth)
    assert (filled > 0).all()
    assert filled[6, 7] == np.float32(0.8)
    assert (filled[depth > 0] == depth[depth > 0]).all()
    with pytest.raises(ValueError, match="no reading"):
        fill_holes(np.zeros((4, 4), np.float32))
