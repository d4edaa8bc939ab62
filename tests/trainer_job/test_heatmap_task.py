import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from published_formats import heat_file

from shared.features.rgb_input import RAY_SCALE
from trainer_job.data.pictures import PictureBatch, Pictures
from trainer_job.tasks import task_of
from trainer_job.tasks.heatmap import FITS
from trainer_job.training.augmentation import Labels, at
from trainer_job.training.recipe import AugmentRecipe, load

CPU = torch.device("cpu")


class Counting(torch.nn.Module):
    """Maps that rise along the rows and differ by index; counts the pictures it was asked for."""

    rays = False

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.images = images
        self.seen += len(images)
        rows = torch.arange(16.0)[None, None, :, None] + 100 * torch.arange(4.0)[None, :, None, None]
        return rows.expand(len(images), 4, 16, 16)


def pictures(count=20, per_picture=7):
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(count), per_picture)
    images = np.repeat(np.arange(count, dtype=np.uint8)[:, None, None, None], 64, 1).repeat(64, 2).repeat(3, 3)
    places = np.stack([which, rng.integers(0, 64, len(which))], 1).astype(np.float32)  # the row tells the picture
    return Pictures(images, which, places, rng.integers(0, 4, len(which)), rng.random(len(which)) < 0.5)


def task(**changes):
    changes = {"augment": AugmentRecipe(), "parameters": {}, **changes}
    return task_of(load("heatmap16").model_copy(update=changes))


def test_a_batch_holds_pictures_with_all_their_labels():
    data = pictures()
    assert len(data) == 20
    batch = data.batch(np.array([4, 9, 2, 0, 19]))
    assert batch.images.shape == (5, 3, 64, 64)
    assert torch.bincount(batch.labels.picture).tolist() == [7] * 5
    own = (batch.images[:, 0, 0, 0] * 255).round()
    assert own.tolist() == [4, 9, 2, 0, 19]
    assert torch.equal(batch.labels.place[:, 0], own[batch.labels.picture])


def test_held_out_pictures_are_seen_once():
    network = Counting()
    found = task().evaluate(network, pictures(4), CPU)
    assert found.metrics()["n"] == 4 * 7
    assert network.seen == 4


def test_the_last_share_of_a_file_is_held_out(tmp_path):
    learned = task(data=load("mobileunet").data)
    data = learned.read([heat_file(tmp_path / "some.npz", 20)], [], tmp_path, 1000)
    assert (data.training.pictures.tolist(), data.held_out.pictures.tolist()) == (list(range(16)), list(range(16, 20)))


def test_rays_go_with_the_pictures_of_a_network_that_asks_for_them():
    network = Counting()
    network.rays = True
    data = pictures()
    with pytest.raises(ValueError, match="camera is known"):
        task().maps_of(network, data.batch(np.arange(2)))
    data = replace(data, lenses=np.tile([31.5, 20.0, 100.0], (20, 1)))
    task().maps_of(network, data.batch(np.arange(2)))
    assert network.images.shape == (2, 5, 64, 64)
    assert network.images[0, 3, 0, 63] == pytest.approx(RAY_SCALE * 0.315)
    assert network.images[0, 4, 20, 0] == 0


def test_logits_are_read_between_the_cells():
    outputs = Counting()(torch.zeros(2, 3, 64, 64))
    place = torch.tensor([[1.5, 1.5], [3.5, 60.0], [63.0, 0.0], [0.0, 0.0]])
    labels = Labels(torch.tensor([0, 0, 1, 1]), place, torch.tensor([0, 1, 0, 3]), torch.ones(4), (64, 64))
    assert at(outputs, labels).tolist() == pytest.approx([0.0, 100.5, 15.0, 300.0])


class Saying(torch.nn.Module):
    """Says the same maps of every picture."""

    rays = False

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, images):
        return self.maps


def test_what_geometry_says_of_every_cell_is_learned_beside_the_outcomes():
    learned = task(geometry_weight=2.0)
    one = torch.zeros(1, dtype=torch.long)
    labels = Labels(one, torch.zeros(1, 2), one, torch.ones(1), (64, 64))
    with_fits = replace(labels, fits=torch.rand(1, 4, 16, 16))

    def loss(maps, labels):
        return float(learned.loss(Saying(maps), PictureBatch(torch.zeros(1, 3, 64, 64), labels)))

    nothing = torch.zeros(1, 4, 16, 16)
    assert loss(nothing, with_fits) == pytest.approx(loss(nothing, labels) + 2.0 * math.log(2))
    knowing = torch.logit(FITS[0] + (FITS[1] - FITS[0]) * with_fits.fits)
    assert loss(knowing, with_fits) - loss(knowing, labels) < 2.0 * math.log(2)
