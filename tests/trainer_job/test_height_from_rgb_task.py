import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from shared.maps.open_hand import AROUND
from shared.networks import build_network
from shared.networks.height_from_rgb import COARSE, COARSER, REACHES, SIDE
from shared.registry import ModelCard, Registry
from shared.rgb_windows import CELL, UNTRIED, RgbWindows, TriedGrasp, write
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS
from trainer_job.data.height_targets import turned_radially
from trainer_job.data.rgb_window_folders import held_apart
from trainer_job.promotion.publish import load_network, weights_of
from trainer_job.tasks import task_of
from trainer_job.train import main as train
from trainer_job.training.recipe import load

torch.set_num_threads(1)
CPU = torch.device("cpu")
MAPS = {
    "rotations": 2,
    "image_size": 96,
    "tip_heights": list(TIP_HEIGHTS),
    "decoder_width": 8,
    "squeeze": False,
    "rays": True,
}
PARAMETERS = MAPS | {"height_from_rgb": True}
LOW, TALL = 20, 80


def towers(count, seed):
    """Red low and blue tall blocks, in grey looks of 96 pixels; a hand fits at the first height over low ones, at the third
    over tall ones, and best at the image angle whose number is the place of the look. One grasp was tried on each, the tips
    high: it held on tall ones."""
    rng = np.random.default_rng(seed)
    colours = np.full((count, 96, 96, 3), 120, np.uint8)
    heights = np.zeros((count, 96, 96), np.uint8)
    fits = np.zeros((count, len(TIP_HEIGHTS), ROTATIONS, 24, 24), np.uint8)
    tried = np.zeros((count, 1, len(TriedGrasp)), np.float32)
    for index, tall in enumerate(rng.random(count) < 0.5):
        u, v = rng.integers(40, 52, 2)
        colours[index, v - 8 : v + 8, u - 12 : u + 12] = (20, 20, 220) if tall else (220, 20, 20)
        heights[index, v - 8 : v + 8, u - 12 : u + 12] = TALL if tall else LOW
        fits[index, 2 if tall else 0, index % ROTATIONS] = AROUND
        tried[index, 0] = u, v, index % ROTATIONS * math.pi / ROTATIONS, 2, tall
    lenses = np.concatenate([rng.uniform(-60, 150, (count, 2)), np.full((count, 1), 420)], 1).astype(np.float32)
    return RgbWindows(colours, heights, lenses, fits.reshape(count, -1, 24, 24), tried)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looks")
    for number in range(3):
        write(folder, number, towers(48, number))
    return folder


def recipe(**changes):
    return load("height-from-rgb").model_copy(update={"parameters": PARAMETERS, "batch": 16, **changes})


def task(**changes):
    return task_of(recipe(**changes))


def test_whole_parts_are_held_out(folder, tmp_path):
    learned, held = held_apart([folder])
    assert (len(learned), len(held)) == (96, 48)
    some = learned.batch(np.array([50, 3]))
    np.testing.assert_array_equal(some.heights[0], towers(48, 2).heights[2])
    np.testing.assert_array_equal(some.colours[1], towers(48, 1).colours[3])
    write(tmp_path, 0, towers(4, 0))
    with pytest.raises(ValueError, match="at least two parts"):
        held_apart([tmp_path])


def test_folders_with_more_and_fewer_tries_are_not_mixed_and_some_are_needed(folder, tmp_path):
    some = towers(4, 0)
    for name, times in (("more", 2), ("none", 0)):
        write(tmp_path / name, 0, replace(some, tried=np.repeat(some.tried, times, 1)))
    with pytest.raises(ValueError, match="1, 2 tried grasps"):
        held_apart([folder, tmp_path / "more"])
    write(tmp_path / "none", 1, replace(some, tried=some.tried[:, :0]))
    with pytest.raises(ValueError, match="with 0 tried grasps"):
        held_apart([tmp_path / "none"])


def test_windows_of_other_heights_than_the_recipe_has_are_refused(folder, tmp_path):
    other = recipe(parameters=PARAMETERS | {"tip_heights": [0.01, 0.035]})
    with pytest.raises(ValueError, match="5 heights of the tips, and the recipe names 2"):
        task_of(other).read([folder], [], tmp_path, 10)


def test_answers_belong_to_what_the_window_shows(folder):
    plain = recipe().augment.model_copy(update={"colour": 0.0, "grey": 0.0})
    data, _ = held_apart([folder])
    answers = task(augment=plain).augment(data.batch(np.arange(0, 96, 3)), torch.Generator().manual_seed(0))
    windows = answers.windows
    assert windows.shape == (32, 3, SIDE, SIDE)
    assert answers.lean.shape == (32,)
    red, blue = windows[:, 0] > 0.6, windows[:, 2] > 0.6
    middle = slice(SIDE // 2 - CELL, SIDE // 2 + CELL)
    assert (red | blue)[:, middle, middle].flatten(1).any(1).all()  # the middle cell shows the block
    tall = blue.flatten(1).any(1)
    expected = torch.where(tall, TALL / 1e3, LOW / 1e3)[:, None].expand(-1, len(REACHES))
    torch.testing.assert_close(answers.highest, expected)
    each = answers.fits.amax(2) > 0
    assert torch.equal(each, torch.stack([~tall, *(level * tall > 0 for level in (0, 1, 0, 0))], 1))
    tried = answers.held != UNTRIED
    assert 5 < int(tried.sum()) < 32
    assert torch.equal(answers.held[tried] > 0, tall[tried])
    assert (answers.levels[tried] == 2).all()
    best = answers.fits[tried].amax(1).argmax(1)  # a grasp was tried where, and at the angle at which, a hand fits best
    assert ((answers.turns[tried] - best + 1) % ROTATIONS <= 2).all()
    assert answers.things.shape == (32, SIDE // COARSE, SIDE // COARSE)
    assert answers.spots.shape == (32, SIDE // COARSER, SIDE // COARSER)
    shown = torch.nn.functional.avg_pool2d((red | blue).float(), COARSE)
    assert (shown - answers.things).abs().mean() < 0.03
    assert (answers.spots.amax((1, 2)) - expected[:, 0]).abs().max() < 0.02


def test_angles_are_counted_from_outward():
    fits = torch.zeros(3, 1, ROTATIONS)
    fits[:, 0, 5] = 1.0  # image angle 5 pi / 16
    step = math.pi / ROTATIONS
    turned = turned_radially(fits, torch.tensor([2 * step, 7 * step - 3 * math.pi, 2.25 * step]))
    assert turned[0, 0].argmax() == 3
    assert turned[1, 0].argmax() == ROTATIONS - 2
    assert turned[2, 0, 2:4].tolist() == pytest.approx([0.25, 0.75], abs=1e-4)
    [mirrored] = turned_radially(fits[:1], torch.tensor([2 * step]), torch.tensor([True]))
    assert mirrored[0].argmax() == ROTATIONS - 3


def test_held_out_windows_are_always_the_same(folder):
    _, held = held_apart([folder])
    network = build_network("mobileunet", PARAMETERS)
    assert task().evaluate(network, held, CPU).metrics() == task().evaluate(network, held, CPU).metrics()


def test_heights_are_learned_beside_the_maps_of_the_champion(folder, tmp_path, capsys):
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
    augment = {"colour": 0.0, "grey": 0.0}
    (tmp_path / "r.yaml").write_text(
        yaml.safe_dump(json.loads(recipe(epochs=4).model_dump_json()) | {"augment": augment, "parameters": PARAMETERS})
    )
    command = ["--recipe", str(tmp_path / "r.yaml"), "--data", str(folder), "--models-dir", str(registry.root), "--promote"]
    assert train([*command, "--out", str(tmp_path / "early")]) == 1
    assert "train its maps first" in capsys.readouterr().err
    registry.promote("heatmap", registry.publish("heatmap", weights_of(maps), card))
    assert train([*command, "--out", str(tmp_path / "run")]) == 0
    assert registry.champion("heatmap") == 2
    found = registry.card("heatmap", 2)
    assert found.calibration == card.calibration
    assert found.metrics["ap"] == 0.5
    assert found.metrics["height_from_rgb_fits_auc"] > 0.7
    assert found.metrics["height_from_rgb_auc"] > 0.7
    assert found.metrics["height_from_rgb_tried"] > 20
    assert found.model_extra["training"]["examples"] == 7
    assert found.model_extra["training"]["height_from_rgb"]["examples"] == 96
    both = load_network(registry, "heatmap", 2).state_dict()
    assert all(torch.equal(both[name], value) for name, value in maps.state_dict().items())
    assert (tmp_path / "run" / "predictions.png").read_bytes().startswith(b"\x89PNG")


def test_maps_of_another_recipe_are_refused(folder, tmp_path, capsys):
    registry = Registry(tmp_path / "models")
    other = MAPS | {"rotations": 4}
    card = ModelCard.model_validate({"name": "heatmap", "architecture": "mobileunet", "parameters": other})
    registry.promote("heatmap", registry.publish("heatmap", weights_of(build_network("mobileunet", other)), card))
    command = ["--recipe", "height-from-rgb", "--data", str(folder), "--models-dir", str(registry.root), "--promote"]
    assert train([*command, "--cache", str(tmp_path)]) == 1
    assert "are not those of the recipe" in capsys.readouterr().err
