import math

import numpy as np
import pytest
import torch

from trainer_job.crop_task import disturb
from trainer_job.heat_task import turn
from trainer_job.recipe import AugmentRecipe

PUBLISHED = torch.tensor([math.pi / 2, 0.0])


def test_quarter_turns_move_corner_labels_as_the_published_rule_says():
    images = torch.zeros(400, 3, 64, 64)
    targets = torch.tensor([[0, 63, 0, 1]]).repeat(400, 1)
    _, turned = turn(images, targets, PUBLISHED, AugmentRecipe(turn=True), torch.Generator().manual_seed(0))
    seen = {tuple(row[:3]) for row in turned.tolist()}
    assert seen == {(0, 63, 0), (0, 0, 1), (63, 0, 0), (63, 63, 1)}


@pytest.mark.parametrize(
    "options", [{"turn": True}, {"mirror": True}, {"shift": 0.2}, {"turn": True, "mirror": True, "shift": 0.1}]
)
@pytest.mark.parametrize("rotations", [2, 16])
def test_the_picture_turns_with_its_label(options, rotations):
    """A short line through the label, along its axis, is still there after any change."""
    size, count = 65, 200
    angles = PUBLISHED if rotations == 2 else torch.arange(16) * math.pi / 16
    rng = np.random.default_rng(0)
    images, targets = torch.zeros(count, 3, size, size), torch.zeros(count, 4, dtype=torch.int64)
    v, u = np.mgrid[:size, :size]
    for image, target in zip(images, targets, strict=True):
        row, column, rotation = *rng.integers(8, size - 8, 2), rng.integers(rotations)
        angle = float(angles[rotation])
        along = (u - column) * math.cos(angle) + (v - row) * math.sin(angle)
        across = (v - row) * math.cos(angle) - (u - column) * math.sin(angle)
        image[:] = torch.from_numpy(((np.abs(along) <= 8) & (np.abs(across) <= 1.5)).astype(np.float32))
        target[:] = torch.tensor([row, column, rotation, 1])
    moved, labels = turn(images, targets, angles, AugmentRecipe(**options), torch.Generator().manual_seed(1))
    assert not torch.equal(labels, targets)
    for image, (row, column, rotation, _) in zip(moved, labels.tolist(), strict=True):
        angle = float(angles[rotation])
        for step in (-4, 0, 4):
            at = round(row + step * math.sin(angle)), round(column + step * math.cos(angle))
            if 0 <= at[0] < size and 0 <= at[1] < size:
                assert image[0, at[0], at[1]] > 0.4, (options, row, column, rotation, step)


def test_grey_pictures_have_equal_channels():
    images = torch.rand(50, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(50, 4, dtype=torch.int64)
    grey, same = turn(images, targets, PUBLISHED, AugmentRecipe(grey=0.5), torch.Generator().manual_seed(0))
    equal = (grey[:, :1] == grey).flatten(1).all(1)
    assert 10 < int(equal.sum()) < 40
    assert torch.equal(same, targets)


def test_noise_is_in_metres_smooth_and_only_where_there_is_a_reading():
    images = torch.full((400, 1, 32, 32), 0.7)
    images[:, :, :4] = 0
    noisy = disturb(images, AugmentRecipe(noise=0.005, noise_share=0.5), torch.Generator().manual_seed(0))
    assert (noisy[:, :, :4] == 0).all()
    change = (noisy - images)[:, 0, 4:]
    touched = change.abs().amax((1, 2)) > 0
    assert 0.4 < touched.float().mean() < 0.6
    assert change[touched].std().item() == pytest.approx(0.005, rel=0.35)
    neighbours = change[touched][:, 1:] - change[touched][:, :-1]
    assert neighbours.std() < 0.6 * change[touched].std()


def test_gamma_noise_scales_whole_crops():
    images = torch.full((2000, 1, 2, 2), 0.7)
    noisy = disturb(images, AugmentRecipe(gamma_shape=1000), torch.Generator().manual_seed(0))
    assert torch.allclose(noisy[:, :, :1, :1].expand_as(noisy), noisy)
    assert (noisy.mean() / 0.7).item() == pytest.approx(1, abs=0.005)
    assert (noisy / 0.7).std().item() == pytest.approx(1000**-0.5, rel=0.1)


def test_mirrors_leave_the_grasp_where_it_is():
    images = torch.zeros(64, 1, 32, 32)
    images[:, 0, 16, 16] = 0.5
    images[:, 0, 20, 18] = 0.3
    mirrored = disturb(images, AugmentRecipe(mirror=True), torch.Generator().manual_seed(0))
    assert (mirrored[:, 0, 16, 16] == 0.5).all()
    places = {tuple(np.argwhere(image.numpy() == np.float32(0.3))[0]) for image in mirrored[:, 0]}
    assert places == {(20, 18), (12, 18), (20, 14), (12, 14)}
