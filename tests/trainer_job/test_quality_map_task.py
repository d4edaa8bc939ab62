"""A U-Net learns the quality at every pixel, from executed grasps and from given maps, and is published."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from block_world import CAMERA, TABLE_DEPTH, block_outcome
from records import store

from shared.networks import build_network
from shared.registry import Registry
from trainer_job.data.pictures import PictureBatch
from trainer_job.promotion.publish import load_network
from trainer_job.tasks import task_of
from trainer_job.train import main as train
from trainer_job.training.augmentation import Labels
from trainer_job.training.recipe import load

SMALL = {"rotations": 4, "widths": [8, 12, 16], "std": 0.02}
VIEW = {"pixels_per_metre": CAMERA.fx / TABLE_DEPTH, "window": 48}


def recipe_file(folder: Path, name: str, **changes: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(load(name).model_dump() | changes))
    return path


def command(recipe: Path, data: Path, folder: Path) -> list[str]:
    where = ["--models-dir", str(folder / "models"), "--cache", str(folder / "cache"), "--out", str(folder / "run")]
    return ["--recipe", str(recipe), "--data", str(data), "--torch-threads", "1", *where]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards, and a registry with what was learned from them."""
    folder = tmp_path_factory.mktemp("quality-map")
    for first in range(0, 400, 100):
        store(folder / "shards", [block_outcome(episode) for episode in range(first, first + 100)])
    store(folder / "shards", [block_outcome(900, contact_rule="allowed"), block_outcome(901, camera=None)])
    recipe = recipe_file(folder, "quality-map", parameters=SMALL, view=VIEW, epochs=5, batch=16)
    assert train(command(recipe, folder / "shards", folder)) == 0
    return folder


def test_it_learns_from_executed_grasps_and_is_published(learned: Path) -> None:
    registry = Registry(learned / "models")
    card = registry.card("quality-map", 1)
    assert registry.champion("quality-map") == 1
    assert card.metrics["auc"] > 0.9
    assert card.outcomes["refused"] == {"contact_rule": 1, "no_camera": 1}
    assert card.calibration["kind"] == "temperature"
    network = load_network(registry, "quality-map", 1)
    whole = torch.zeros(1, 1, 96, 96)
    whole[:, :, 40:49, 40:49] = -0.04  # a block that is nearer than the table
    with torch.inference_mode():
        quality = network(whole)[0, 0].sigmoid()
    assert quality[44, 44] > 0.5 > quality[54, 54]
    assert (learned / "run" / "predictions.png").read_bytes().startswith(b"\x89PNG")


def test_a_candidate_that_is_worse_is_rejected_by_its_gate(learned: Path, tmp_path: Path) -> None:
    shutil.copytree(learned / "models", tmp_path / "models")
    shutil.copytree(learned / "cache", tmp_path / "cache")
    backwards = recipe_file(
        tmp_path, "quality-map", parameters=SMALL, view=VIEW, epochs=1, batch=256, optimizer={"learning_rate": 1e-9}
    )
    assert train(command(backwards, learned / "shards", tmp_path)) == 0
    registry = Registry(tmp_path / "models")
    assert registry.champion("quality-map") == 1
    assert registry.card("quality-map", 2).decisions[0]["action"] == "rejected"


def test_features_show_depth_round_the_grasp_and_say_where_it_is() -> None:
    task = task_of(load("quality-map").model_copy(update={"parameters": SMALL, "view": VIEW}))
    for outcome in (block_outcome(episode) for episode in range(8)):
        features, aux = task.features([outcome])
        assert features.shape == (1, *task.spec.shape) == (1, 1, 48, 48)
        row, column, which = aux[0]
        assert (row, column) == pytest.approx((23.5, 23.5), abs=0.51)
        assert which == 0
        u, v = (round(value) for value in outcome.meta.grasp.center_px)
        assert features[0, 0, round(row), round(column)] == pytest.approx(outcome.images["depth"][v, u] - TABLE_DEPTH, abs=1e-3)


def test_turned_windows_keep_their_label() -> None:
    task = task_of(load("quality-map"))
    images = torch.zeros(40, 1, 128, 128)
    images[:, :, 60:68, 60:68] = -0.05
    every, middle = torch.arange(40), torch.full((40, 2), 63.5)
    batch = PictureBatch(images, Labels(every, middle, torch.full((40,), 3), torch.ones(40), (128, 128)), 96)
    moved = task.augment(batch, torch.Generator().manual_seed(0))
    assert moved.images.shape == (40, 1, 96, 96)
    assert len(moved.labels.map.unique()) > 8
    places = moved.labels.place.round().long()
    assert (moved.images[every, 0, places[:, 0], places[:, 1]] < -0.03).all()
    assert 0.0002 < float(moved.images[:, :, :8, :8].std()) < 0.01  # the camera's noise
    assert task.augment(batch, None) is batch


def test_it_learns_given_maps(tmp_path: Path) -> None:
    """Dark squares are good to grasp at, whichever way images are mirrored."""
    rng = np.random.default_rng(0)
    for name in ("X", "Y"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for number in range(40):
        image, quality = np.full((32, 32), 200, np.uint8), np.zeros((32, 32), np.float32)
        row, column = rng.integers(4, 24, 2)
        image[row : row + 6, column : column + 6] = 40
        quality[row + 1 : row + 5, column + 1 : column + 5] = 0.9
        cv2.imwrite(str(tmp_path / "set" / "X" / f"{number:03d}.png"), image)
        np.save(tmp_path / "set" / "Y" / f"{number:03d}.npy", quality)
    parameters = {"widths": [8, 16], "mean": 0.7, "std": 0.2}
    recipe = recipe_file(tmp_path, "quality-map-published", parameters=parameters, epochs=25, optimizer={"name": "adam"})
    assert train(command(recipe, tmp_path / "set", tmp_path)) == 0
    card = Registry(tmp_path / "models").card("quality-map", 1)
    assert card.metrics["n"] == 4
    assert card.metrics["loss"] < 0.01  # the mean map alone leaves 0.03
    assert card.calibration == {}


def test_wrong_folders_and_sides_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set" / "X").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "set" / "X" / "a.png"), np.zeros((32, 32), np.uint8))
    assert train(command(recipe_file(tmp_path, "quality-map-published"), tmp_path / "set", tmp_path)) == 1
    assert "in pairs, got 1 and 0" in capsys.readouterr().err
    with pytest.raises(ValueError, match="multiples of 16, got 40x48"):
        build_network("unet-quality-map", {})(torch.zeros(1, 1, 40, 48))


def test_the_published_size_has_31_million_numbers() -> None:
    network = build_network("unet-quality-map", {})
    assert sum(value.numel() for value in network.parameters()) == 31_036_481
