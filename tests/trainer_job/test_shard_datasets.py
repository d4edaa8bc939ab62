import numpy as np
import pytest
from block_world import CAMERA, block_outcome

from shared.contract import ImageSpec
from shared.networks.crops import View
from shared.shards import ShardWriter
from trainer_job.datasets import shard_crops, shard_pictures

VIEW = View(focal_px=120.0, near=0.5, far=0.7)


def coloured(episode):
    """The block in red, with the same attempt recorded."""
    outcome = block_outcome(episode)
    depth = outcome.images["depth"]
    rgb = np.full((*depth.shape, 3), 200, np.uint8)
    rgb[depth < 0.6] = (255, 0, 0)
    outcome.images["rgb"] = rgb
    outcome.meta.images["rgb"] = ImageSpec(shape=list(rgb.shape), dtype="uint8")
    return outcome


@pytest.fixture
def shards(tmp_path):
    outcomes = [coloured(episode) for episode in range(60)]
    outcomes.append(block_outcome(99, contact_rule="allowed"))
    outcomes.append(block_outcome(98, success=False, failure="unreachable"))
    ShardWriter(tmp_path / "shards").write(outcomes)
    return tmp_path / "shards", outcomes[:60]


def test_crops_are_centred_on_the_executed_grasps(shards):
    folder, outcomes = shards
    data = shard_crops.read([folder], "parallel_jaw", VIEW, 16)
    assert data.images.shape == (60, 16, 16)
    assert data.labels.tolist() == [outcome.meta.success for outcome in outcomes]
    for image, depth, outcome in zip(data.images, data.depths, outcomes, strict=True):
        u, v = (round(value) for value in outcome.meta.grasp.center_px)
        assert np.allclose(image, outcome.images["depth"][v - 8 : v + 8, u - 8 : u + 8], atol=1e-4)
        assert depth == pytest.approx(outcome.meta.grasp.depth)
    training, validation = data.split("random", 0.2, 0)
    assert not set(data.groups[training]) & set(data.groups[validation])


def test_another_camera_is_brought_to_the_view_of_the_network(shards):
    folder, outcomes = shards
    near = View(focal_px=2 * CAMERA.fx, near=0.3, far=0.35)
    data = shard_crops.read([folder], "parallel_jaw", near, 16)
    assert data.depths == pytest.approx(0.35)
    depth = outcomes[0].meta.grasp.depth
    middle = outcomes[0].images["depth"][tuple(round(x) for x in outcomes[0].meta.grasp.center_px[::-1])]
    assert data.images[0, 8, 8] == pytest.approx(middle - depth + 0.35, abs=1e-3)


def test_pictures_hold_the_tried_cell_and_its_outcome(shards):
    folder, _ = shards
    training, held_out = shard_pictures.read([folder], "parallel_jaw", 48, [np.pi / 2, 0.0])
    assert len(training) + len(held_out) == 60
    assert training.images.shape[1:] == (48, 48, 3)
    assert set(training.cells[:, 2]) == {1}
    by_cell = {tuple(cell): success for cell, success in zip(training.cells.tolist(), training.success, strict=True)}
    for which, (row, column, _), success in zip(training.which, training.cells, training.success, strict=True):
        if success:  # the tried pixel lies on the red block
            assert training.images[which, row, column, 1] < 150
    assert len(by_cell) > 10


def test_nothing_to_use_is_explained(tmp_path):
    ShardWriter(tmp_path / "shards").write([block_outcome(0)])
    with pytest.raises(ValueError, match="colour images"):
        shard_pictures.read([tmp_path / "shards"], "parallel_jaw", 48, [0.0, 1.0])
    with pytest.raises(ValueError, match="no suction outcomes"):
        shard_crops.read([tmp_path / "shards"], "suction", VIEW, 16)
