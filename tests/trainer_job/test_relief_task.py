import json

import numpy as np
import pytest
import torch
import yaml
from block_world import CAMERA, TABLE_DEPTH, block_outcome

from shared.contract import ImageSpec
from shared.networks import build_network
from shared.registry import ModelCard, Registry
from shared.shards import ShardWriter
from trainer_job.datasets import relief_pictures
from trainer_job.datasets.relief_pictures import UNIT, UNKNOWN
from trainer_job.publish import load_network, weights_of
from trainer_job.recipe import load
from trainer_job.relief_task import ReliefTask
from trainer_job.train import main as train

torch.set_num_threads(1)
CPU = torch.device("cpu")
MAPS = {"rotations": 2, "image_size": 96, "decoder_width": 8, "squeeze": False, "rays": True}
PARAMETERS = MAPS | {"relief": CAMERA.fx / TABLE_DEPTH}


def outcome(episode):
    """A red block seen from above by a camera whose place is known; one corner without a reading."""
    made = block_outcome(episode)
    depth = np.asarray(made.images["depth"]).copy()
    rgb = np.full((*depth.shape, 3), 200, np.uint8)
    rgb[depth < TABLE_DEPTH - 0.01] = (255, 0, 0)
    depth[:4, :4] = 0
    made.images |= {"rgb": rgb, "depth": depth}
    made.meta.images["rgb"] = ImageSpec(shape=list(rgb.shape), dtype="uint8")
    pose = np.diag([1.0, -1, -1, 1])
    pose[2, 3] = TABLE_DEPTH
    made.meta.camera_pose = pose.tolist()
    return made


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relief") / "shards"
    ShardWriter(folder).write([outcome(episode) for episode in range(60)])
    return folder


def recipe(**changes):
    return load("heatmap-relief").model_copy(update={"parameters": PARAMETERS, "batch": 4, **changes})


def test_heights_are_those_above_the_table(shards):
    network = build_network("mobileunet", PARAMETERS)
    training, held_out = relief_pictures.read([shards], network)
    assert 50 < len(training) + len(held_out) <= 60  # equal pictures are kept once
    assert len(held_out) > 0
    red = training.images[..., 1] < 100
    known = training.heights != UNKNOWN
    assert not known[:, :4, :4].any()
    assert training.heights[red & known].min() * UNIT > 0.02
    assert np.abs(training.heights[~red & known]).max() * UNIT < 0.005
    with pytest.raises(ValueError, match="relief"):
        relief_pictures.read([shards], build_network("mobileunet", MAPS))


def test_heights_move_with_the_colours(shards):
    network = build_network("mobileunet", PARAMETERS)
    augment = recipe().augment.model_copy(update={"window": 48, "colour": 0.0, "grey": 0.0})
    task = ReliefTask(*relief_pictures.read([shards], network), recipe(augment=augment), network)
    (images,), heights = task.batch(task.epoch()[:16], CPU)
    assert images.shape == (16, 5, 48, 48)
    known = ~torch.isnan(heights)
    red = images[:, 1] < 0.4
    assert red.any((1, 2)).all()  # each window shows its thing
    assert (red == (heights > 0.02))[known].float().mean() > 0.97


def test_a_relief_is_added_to_the_champion_and_its_maps_stay(shards, tmp_path, capsys):
    registry = Registry(tmp_path / "models")
    torch.manual_seed(0)
    maps = build_network("mobileunet", MAPS)
    values = {
        "name": "heatmap",
        "architecture": "mobileunet",
        "parameters": MAPS,
        "calibration": {"kind": "temperature", "value": 2.0},
    }
    card = ModelCard.model_validate(values | {"metrics": {"ap": 0.5}, "training": {"seconds": 10, "examples": 7}})
    changed = recipe(epochs=4, augment=recipe().augment.model_copy(update={"window": 48}))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(json.loads(changed.model_dump_json())))
    command = ["--recipe", str(tmp_path / "r.yaml"), "--data", str(shards), "--models-dir", str(registry.root), "--promote"]
    assert train([*command, "--out", str(tmp_path / "early")]) == 1
    assert "train its maps first" in capsys.readouterr().err
    registry.promote("heatmap", registry.publish("heatmap", weights_of(maps), card))
    assert train([*command, "--out", str(tmp_path / "run")]) == 0
    assert registry.champion("heatmap") == 2
    found = registry.card("heatmap", 2)
    assert found.calibration == card.calibration
    assert found.metrics["ap"] == 0.5
    assert found.metrics["relief_iou"] > 0.4
    assert found.model_extra["training"]["examples"] == 7
    assert found.model_extra["training"]["relief"]["examples"] > 40
    both = load_network(registry, "heatmap", 2).state_dict()
    assert all(torch.equal(both[name], value) for name, value in maps.state_dict().items() if value.is_floating_point())
    assert (tmp_path / "run" / "predictions.png").read_bytes().startswith(b"\x89PNG")
