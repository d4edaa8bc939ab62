import math

import numpy as np
import pytest
import torch

from trainer_job.tasks.gqcnn import augment_crops
from trainer_job.training.augmentation import Labels, augment_images
from trainer_job.training.recipe import AugmentRecipe

PUBLISHED = torch.tensor([math.pi / 2, 0.0])


def labels_of(rows, size):
    """One label per picture: rows (N, 3) of row, column, map."""
    rows = torch.as_tensor(rows)
    return Labels(torch.arange(len(rows)), rows[:, :2].float(), rows[:, 2], torch.ones(len(rows)), size)


def generator():
    return torch.Generator().manual_seed(1)


def test_quarter_turns_move_corner_labels_as_the_published_rule_says():
    labels = labels_of([[0, 63, 0]] * 400, (64, 64))
    _, turned = augment_images(torch.zeros(400, 3, 64, 64), labels, PUBLISHED, AugmentRecipe(turn=True), generator())
    seen = {(*place, which) for place, which in zip(map(tuple, turned.place.tolist()), turned.map.tolist(), strict=True)}
    assert seen == {(0, 63, 0), (0, 0, 1), (63, 0, 0), (63, 63, 1)}


@pytest.mark.parametrize(
    "options",
    [
        {"turn": True},
        {"mirror": True},
        {"shift": 0.2},
        {"turn": True, "mirror": True, "shift": 0.1},
        {"turn": True, "mirror": True, "shift": 0.2, "window": 48},
    ],
)
@pytest.mark.parametrize("rotations", [2, 16])
def test_the_picture_turns_with_its_labels(options, rotations):
    """Short lines through the labels, along their axes, are still there after any change; heights of tips stay."""
    height, width, count = 65, 81, 100
    angles = PUBLISHED if rotations == 2 else torch.arange(16) * math.pi / 16
    rng = np.random.default_rng(0)
    images, rows = torch.zeros(count, 3, height, width), torch.zeros(2 * count, 3, dtype=torch.int64)
    v, u = np.mgrid[:height, :width]
    for index in range(2 * count):  # two labels per picture, one at each of two heights
        row, column, rotation = rng.integers(8, height - 8), rng.integers(8, width - 8), rng.integers(rotations)
        angle = float(angles[rotation])
        along = (u - column) * math.cos(angle) + (v - row) * math.sin(angle)
        across = (v - row) * math.cos(angle) - (u - column) * math.sin(angle)
        images[index // 2] += torch.from_numpy(((np.abs(along) <= 8) & (np.abs(across) <= 1.5)).astype(np.float32))
        rows[index] = torch.tensor([row, column, rotations * (index % 2) + rotation])
    picture = torch.arange(2 * count) // 2
    labels = Labels(picture, rows[:, :2].float(), rows[:, 2], torch.ones(2 * count), (height, width))
    moved, found = augment_images(images, labels, angles, AugmentRecipe(**options), generator())
    assert moved.shape[2:] == found.size == ((48, 48) if "window" in options else (height, width))
    assert count <= len(found.map) <= 2 * count
    assert len(found.map) == 2 * count or not torch.equal(found.place, labels.place)
    assert set((found.map // rotations).tolist()) == {0, 1}
    for image, (row, column), which in zip(moved[found.picture], found.place.tolist(), found.map.tolist(), strict=True):
        angle = float(angles[which % rotations])
        for step in (-4, 0, 4):
            at = round(row + step * math.sin(angle)), round(column + step * math.cos(angle))
            if 0 <= at[0] < found.size[0] and 0 <= at[1] < found.size[1]:
                assert image[0, at[0], at[1]] > 0.4, (options, row, column, which, step)


def test_places_on_a_coarser_grid_keep_their_place_in_the_picture():
    labels = Labels(
        torch.zeros(2, dtype=torch.long), torch.tensor([[0.0, 63.0], [1.5, 1.5]]), torch.zeros(2), torch.ones(2), (64, 64)
    )
    assert labels.place_on((16, 16)).tolist() == [[-0.375, 15.375], [0.0, 0.0]]


@pytest.mark.parametrize(
    "options", [{"turn": True, "mirror": True}, {"turn": True, "mirror": True, "shift": 0.1, "window": 48}]
)
def test_what_geometry_says_of_every_cell_moves_with_the_labels(options):
    """A disc of cells round each label, in its own map, is still round it and in its map."""
    count, angles = 100, torch.arange(16) * math.pi / 16
    rng = np.random.default_rng(0)
    rows = [[int(rng.integers(16, 64)), int(rng.integers(16, 64)), int(rng.integers(32))] for _ in range(count)]
    labels = labels_of(rows, (80, 80))
    v, u = torch.meshgrid(torch.arange(20) * 4 + 1.5, torch.arange(20) * 4 + 1.5, indexing="ij")
    fits = torch.zeros(count, 32, 20, 20)
    for each, (row, column, which) in zip(fits, rows, strict=True):
        each[which] = (torch.hypot(u - column, v - row) < 7).float()
    labels = Labels(labels.picture, labels.place, labels.map, labels.success, labels.size, fits)
    moved, found = augment_images(torch.zeros(count, 3, 80, 80), labels, angles, AugmentRecipe(**options), generator())
    side = moved.shape[2] // 4
    assert found.fits.shape == (count, 32, side, side)
    assert not torch.equal(found.map, labels.map)
    rows_columns = found.place_on((side, side)).round().long().clamp(0, side - 1)
    assert found.fits[found.picture, found.map, rows_columns[:, 0], rows_columns[:, 1]].min() > 0.9
    assert (found.fits.sum((2, 3)) > 0).sum(1).max() == 1  # in no other map


@pytest.mark.parametrize("options", [{"turn": True, "mirror": True}, {"turn": True, "shift": 0.1, "window": 48}])
def test_the_camera_turns_with_its_picture(options):
    """A label is seen as far from the optical axis as before, at the angle to its closing axis that it had."""
    count, angles = 100, torch.arange(16) * math.pi / 16
    rng = np.random.default_rng(0)
    rows = [[int(rng.integers(16, 64)), int(rng.integers(16, 64)), int(rng.integers(16))] for _ in range(count)]
    labels = labels_of(rows, (80, 80))
    lenses = torch.tensor([[35.0, 50.0, 300.0]]).repeat(count, 1)
    labels = Labels(labels.picture, labels.place, labels.map, labels.success, labels.size, None, lenses)
    _, found = augment_images(torch.zeros(count, 3, 80, 80), labels, angles, AugmentRecipe(**options), generator())
    assert found.lenses[:, 2].tolist() == [300.0] * count

    def seen(of):
        away = of.place.flip(1) - of.lenses[of.picture, :2]
        axis = torch.stack([angles[of.map].cos(), angles[of.map].sin()], 1)
        return away.norm(dim=1), (away * axis).sum(1).abs()

    kept = labels.pick(found.picture)
    for before, after in zip(seen(kept), seen(found), strict=True):
        assert torch.allclose(before, after, atol=1e-2)
    assert not torch.allclose(found.lenses[:, :2], lenses[:, :2])


def test_grey_pictures_have_equal_channels():
    images = torch.rand(50, 3, 16, 16, generator=generator())
    labels = labels_of([[3, 4, 1]] * 50, (16, 16))
    grey, same = augment_images(images, labels, PUBLISHED, AugmentRecipe(grey=0.5), generator())
    equal = torch.isclose(grey[:, :1], grey, atol=1e-6).flatten(1).all(1)
    assert 10 < int(equal.sum()) < 40
    assert torch.equal(same.place, labels.place)


def test_other_colours_keep_what_is_alike_alike_and_what_differs_different():
    images = torch.zeros(200, 3, 4, 4)
    images[:, 0, :2], images[:, 1, 2:] = 0.8, 0.8  # red above green
    moved, _ = augment_images(images, labels_of([[0, 0, 0]] * 200, (4, 4)), PUBLISHED, AugmentRecipe(colour=0.4), generator())
    assert moved.min() >= 0
    assert moved.max() <= 1
    for half in (moved[:, :, :2], moved[:, :, 2:]):
        assert torch.allclose(half, half[:, :, :1, :1].expand_as(half))
    assert (moved[:, :, 0, 0] - moved[:, :, 3, 0]).abs().amax(1).min() > 0.05
    strongest = moved[:, :, 0, 0].argmax(1)
    assert set(strongest.tolist()) == {0, 1, 2}  # any hue


def test_noise_is_in_metres_smooth_and_only_where_there_is_a_reading():
    images = torch.full((400, 1, 32, 32), 0.7)
    images[:, :, :4] = 0
    noisy = augment_crops(images, AugmentRecipe(noise=0.005, noise_share=0.5), torch.Generator().manual_seed(0))
    assert (noisy[:, :, :4] == 0).all()
    augment_images = (noisy - images)[:, 0, 4:]
    touched = augment_images.abs().amax((1, 2)) > 0
    assert 0.4 < touched.float().mean() < 0.6
    assert augment_images[touched].std().item() == pytest.approx(0.005, rel=0.35)
    neighbours = augment_images[touched][:, 1:] - augment_images[touched][:, :-1]
    assert neighbours.std() < 0.6 * augment_images[touched].std()


def test_gamma_noise_scales_whole_crops():
    images = torch.full((2000, 1, 2, 2), 0.7)
    noisy = augment_crops(images, AugmentRecipe(gamma_shape=1000), torch.Generator().manual_seed(0))
    assert torch.allclose(noisy[:, :, :1, :1].expand_as(noisy), noisy)
    assert (noisy.mean() / 0.7).item() == pytest.approx(1, abs=0.005)
    assert (noisy / 0.7).std().item() == pytest.approx(1000**-0.5, rel=0.1)


def test_mirrors_leave_the_grasp_where_it_is():
    images = torch.zeros(64, 1, 32, 32)
    images[:, 0, 16, 16] = 0.5
    images[:, 0, 20, 18] = 0.3
    mirrored = augment_crops(images, AugmentRecipe(mirror=True), torch.Generator().manual_seed(0))
    assert (mirrored[:, 0, 16, 16] == 0.5).all()
    places = {tuple(np.argwhere(image.numpy() == np.float32(0.3))[0]) for image in mirrored[:, 0]}
    assert places == {(20, 18), (12, 18), (20, 14), (12, 14)}
