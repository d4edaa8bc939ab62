import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from shared.networks.rgb_input import RAY_SCALE
from trainer_job.data.heatmap_labels import HeatmapLabels
from trainer_job.tasks.heatmap_task import FITS, HeatmapTask, at
from trainer_job.training.augmentation import Labels
from trainer_job.training.recipe import AugmentRecipe, load

CPU = torch.device("cpu")


class Counting(torch.nn.Module):
    """Maps that rise along the rows and differ by index; counts the pictures it was asked for."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        rows = torch.arange(16.0)[None, None, :, None] + 100 * torch.arange(4.0)[None, :, None, None]
        return rows.expand(len(images), 4, 16, 16)


def task(pictures=20, per_picture=7):
    rng = np.random.default_rng(0)
    which = rng.permutation(np.repeat(np.arange(pictures), per_picture))
    images = np.repeat(np.arange(pictures, dtype=np.uint8)[:, None, None, None], 64, 1).repeat(64, 2).repeat(3, 3)
    places = np.stack([which, rng.integers(0, 64, len(which))], 1).astype(np.float32)  # the row tells the picture
    labels = HeatmapLabels(images, which, places, rng.integers(0, 4, len(which)), rng.random(len(which)) < 0.5)
    recipe = load("heatmap16").model_copy(update={"augment": AugmentRecipe(), "parameters": {}})
    return HeatmapTask(labels, None, recipe, [0.0, 1.0])


def test_a_batch_holds_pictures_with_all_their_labels():
    learned = task()
    pictures = learned.epoch()
    assert len(pictures) == 16
    (images,), labels = learned.batch(pictures[:5], CPU)
    assert images.shape == (5, 3, 64, 64)
    assert torch.bincount(labels.picture).tolist() == [7] * 5
    own = (images[:, 0, 0, 0] * 255).round()
    assert torch.equal(labels.place[:, 0], own[labels.picture])


def test_held_out_pictures_are_seen_once_and_never_learned_from():
    learned, network = task(), Counting()
    metrics = learned.evaluate(network, CPU)
    assert metrics["n"] == 4 * 7
    assert network.seen == 4
    held = set(learned.held_out.labels.pictures)
    assert not held & set(learned.training)


def test_rays_go_with_the_pictures_of_a_network_that_asks_for_them():
    learned = task()
    learned.rays = True
    with pytest.raises(ValueError, match="camera is known"):
        learned.batch(learned.epoch()[:2], CPU)
    lenses = np.tile([31.5, 20.0, 100.0], (20, 1))
    learned.data.labels = replace(learned.data.labels, lenses=lenses)
    (images,), _ = learned.batch(learned.epoch()[:2], CPU)
    assert images.shape == (2, 5, 64, 64)
    assert images[0, 3, 0, 63] == pytest.approx(RAY_SCALE * 0.315)
    assert images[0, 4, 20, 0] == 0


def test_logits_are_read_between_the_cells():
    outputs = Counting()(torch.zeros(2, 3, 64, 64))
    place = torch.tensor([[1.5, 1.5], [3.5, 60.0], [63.0, 0.0], [0.0, 0.0]])
    labels = Labels(torch.tensor([0, 0, 1, 1]), place, torch.tensor([0, 1, 0, 3]), torch.ones(4), (64, 64))
    assert at(outputs, labels).tolist() == pytest.approx([0.0, 100.5, 15.0, 300.0])


def test_what_geometry_says_of_every_cell_is_learned_beside_the_outcomes():
    learned = task()
    learned.recipe = learned.recipe.model_copy(update={"fits": 2.0})
    one = torch.zeros(1, dtype=torch.long)
    outputs = torch.zeros(1, 4, 16, 16)
    labels = Labels(one, torch.zeros(1, 2), one, torch.ones(1), (64, 64))
    plain = float(learned.loss(outputs, labels))
    with_fits = replace(labels, fits=torch.rand(1, 4, 16, 16))
    assert float(learned.loss(outputs, with_fits)) == pytest.approx(plain + 2.0 * math.log(2))
    knowing = torch.logit(FITS[0] + (FITS[1] - FITS[0]) * with_fits.fits)
    assert float(learned.loss(knowing, with_fits)) - float(learned.loss(knowing, labels)) < 2.0 * math.log(2)
