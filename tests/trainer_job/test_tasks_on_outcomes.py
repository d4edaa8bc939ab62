"""Networks on crops and heat maps learn from outcomes in shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from block_world import CAMERA, TABLE_DEPTH, block_outcome
from records import store

from grasp_client.contract import ImageSpec, Outcome
from shared.features.crops import CropView
from shared.networks import build_network
from shared.registry import ModelCard, Registry
from shared.settings import TrainerSettings
from trainer_job.data import shard_images
from trainer_job.data.examples import Examples, FeatureBatch
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.pictures import Windows
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.promotion.publish import UNTRAINED, load_network, weights_of
from trainer_job.tasks import task_of_model
from trainer_job.tasks.gqcnn import CropTask, crop_of
from trainer_job.tasks.heatmap import HeatmapTask
from trainer_job.train import main as train
from trainer_job.training.round import finish_round, plan_round, task_of_version, train_round

LAYERS = {
    "conv1": {"type": "conv", "filt_dim": 5, "num_filt": 8, "pool_size": 2, "pool_stride": 2, "pad": "VALID"},
    "fc2": {"type": "fc", "out_size": 16},
    "fc3": {"type": "fc", "out_size": 2},
}
SMALL_CROPS = (
    "gqcnn4",
    {"architecture": {"im_stream": LAYERS}, "depth_mode": "im_depth_sub", "mean": 0.0, "std": 0.02, "crop_size": 32},
    {"focal_px": CAMERA.fx, "near": 0.5, "far": 0.7},
)
PUBLISHED_CROPS = ("gqcnn", {"mean": 0.6, "std": 0.05}, SMALL_CROPS[2])
SMALL_MAPS = (
    "mobileunet",
    {"rotations": 2, "image_size": 96, "decoder_width": 8, "squeeze": False, "rays": True},
    {"focal_px": 100.0},
)


def coloured(episode: int) -> Outcome:
    """A red block on a light table, seen from above; the grasp holds near its middle."""
    outcome = block_outcome(episode)
    rgb = np.full((96, 96, 3), 200, np.uint8)
    rgb[outcome.images["depth"] < TABLE_DEPTH - 0.01] = (255, 0, 0)
    outcome.images["rgb"] = rgb
    outcome.meta.images["rgb"] = ImageSpec(shape=list(rgb.shape), dtype="uint8")
    return outcome


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [coloured(episode) for episode in range(200)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome]) -> Path:
    folder = tmp_path_factory.mktemp("coloured") / "shards"
    store(folder, outcomes)
    return folder


def with_champion(folder: Path, name: str, made: tuple) -> Registry:
    """A registry with an untrained version of a small network."""
    registry, (architecture, parameters, view) = Registry(folder / "models"), made
    torch.manual_seed(0)
    weights = weights_of(build_network(architecture, parameters))
    card = ModelCard.model_validate(
        {"name": name, "architecture": architecture, "parameters": parameters, "view": view, "note": UNTRAINED}
    )
    registry.promote(name, registry.publish(name, weights, card))
    return registry


def library_of(shards: Path, folder: Path, registry: Registry, name: str) -> ReplayBuffer:
    library = ReplayBuffer(OutcomeIndex(shards), FeatureCache(folder / "features", task_of_version(registry, name, 1)))
    library.refresh()
    return library


@pytest.mark.parametrize(("name", "made"), [("gqcnn-jaw", SMALL_CROPS), ("heatmap", SMALL_MAPS)])
def test_rounds_learn_and_go_on_from_what_was_learned(shards: Path, tmp_path: Path, name: str, made: tuple) -> None:
    registry = with_champion(tmp_path, name, made)
    library = library_of(shards, tmp_path, registry, name)
    assert len(library) == 200
    for parent, steps in ((1, 40), (2, 10)):
        settings = TrainerSettings(epochs=1, min_steps=steps)
        plan = plan_round(library, registry, settings, name)
        network, history = train_round(plan, registry, library.cache, shards)
        version = finish_round(plan, network, history, library, registry, tmp_path / "runs")
        card = registry.card(name, version)
        assert (card.parent, card.architecture, card.view) == (parent, made[0], made[2])  # type: ignore[attr-defined]
        compared = card.comparison  # type: ignore[attr-defined]
        if parent == 1:
            assert history.loss[-1] < 0.8 * history.loss[0]
            assert compared["candidate"]["log_loss"] < compared["champion"]["log_loss"] - 0.05
            assert card.metrics["auc"] > 0.8
        registry.promote(name, version)
    assert history.loss[-1] < np.log(2)
    again, _ = train_round(plan, registry, library.cache, shards)  # as after a kill
    for one, other in zip(again.parameters(), load_network(registry, name, version).parameters(), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-4)


@pytest.mark.parametrize(("name", "made"), [("gqcnn-jaw", SMALL_CROPS), ("heatmap", SMALL_MAPS)])
def test_training_goes_on_from_their_champions(
    outcomes: list[Outcome], tmp_path: Path, capsys: pytest.CaptureFixture, name: str, made: tuple
) -> None:
    registry = with_champion(tmp_path, name, made)
    store(tmp_path / "shards", outcomes[:40])
    where = ["--shards", str(tmp_path / "shards"), "--models", str(registry.root), "--cache", str(tmp_path / "fit")]
    assert train([*where, "--name", name, "--warm", "--epochs", "1", "--torch-threads", "1"]) == 0
    card = registry.card(name, 2)
    assert (card.parent, card.view, card.training["started_from"]) == (1, made[2], 1)  # type: ignore[attr-defined]
    assert train([*where, "--name", name]) == 1
    assert "sees the world in another way" in capsys.readouterr().err


def test_features_are_crops_relative_to_the_tips(outcomes: list[Outcome], tmp_path: Path) -> None:
    registry = with_champion(tmp_path, "gqcnn-jaw", SMALL_CROPS)
    task = task_of_version(registry, "gqcnn-jaw", 1)
    image, pose = crop_of(torch.from_numpy(outcomes[3].images["depth"]), outcomes[3].meta, CropView(**SMALL_CROPS[2]), 32)
    features, aux = task.features([outcomes[3]])
    assert features.shape == (1, *task.spec.shape) == (1, 1, 32, 32)
    np.testing.assert_allclose(features[0, 0] + aux[0, 0], image, atol=1e-5)
    assert aux[0] == pytest.approx(pose)


def test_windows_hold_the_grasp_where_aux_says(outcomes: list[Outcome], shards: Path, tmp_path: Path) -> None:
    registry = with_champion(tmp_path, "heatmap", SMALL_MAPS)
    task = task_of_version(registry, "heatmap", 1)
    assert isinstance(task, HeatmapTask)
    training, held_out = shard_images.read([shards], task.refusal, task.maps)
    assert {int(k) for k in (*training.maps, *held_out.maps)} == {0}
    for outcome in outcomes[:10]:
        features, aux = task.features([outcome])
        assert features.dtype == np.uint8
        (row, column, which, u, v, focal), side = aux[0], task.spec.shape[1]
        assert which == 0
        assert (row, column) == pytest.approx(((side - 1) / 2, (side - 1) / 2), abs=1)
        place = outcome.meta.grasp.center_px
        assert (place[0] - column, place[1] - row) == pytest.approx((CAMERA.cx - u, CAMERA.cy - v))
        assert focal == pytest.approx(CAMERA.fx)
        here = outcome.images["rgb"][round(place[1]), round(place[0])]
        assert features[0, :, round(float(row)), round(float(column))].tolist() == here.tolist()


def test_turned_windows_keep_their_grasp() -> None:
    task = task_of_model("heatmap")
    side = task.spec.shape[1]
    pictures = np.zeros((64, 3, side, side), np.uint8)
    pictures[:, :, side // 2 - 3 : side // 2 + 3, side // 2 - 3 : side // 2 + 3] = 255
    middle = (side - 1) / 2
    aux = np.tile(np.float32([middle, middle, 5.0, middle, middle, 336.0]), (64, 1))
    batch = Windows(Examples(pictures, np.zeros(64, np.float32), aux)).batch(np.arange(64))
    assert batch.window * np.sqrt(2) < side + 8
    moved = task.augment(batch, torch.Generator().manual_seed(0))
    assert moved.images.shape == (64, 3, batch.window, batch.window)
    assert len(moved.labels.map.unique()) > 5
    assert moved.labels.map.max() < 16  # the same height of the tips
    places = moved.labels.place.round().long().tolist()
    middle_of = [image[:, row, column] for image, (row, column) in zip(moved.images, places, strict=True)]
    edges = [image[:, 0, 0] for image in moved.images]
    assert all((inside - outside).abs().sum() > 0.08 for inside, outside in zip(middle_of, edges, strict=True))


def test_a_network_with_heights_learns_only_from_what_it_can_propose(outcomes: list[Outcome]) -> None:
    task, meta = task_of_model("heatmap"), outcomes[0].meta.model_dump(mode="json")
    assert task.refusal(meta) == "no_map"  # no pose in the base frame
    down = [[1.0, 0, 0, 0.1], [0, -1.0, 0, 0.0], [0, 0, -1.0, 0.010 + meta["gripper"]["tcp_offset"]], [0, 0, 0, 1.0]]
    wide = {**meta, "grasp": {**meta["grasp"], "pose_base": down, "width": meta["gripper"]["max_width"]}}
    assert task.refusal(wide) is None
    assert task.refusal({**wide, "contact_rule": "allowed"}) == "contact_rule"
    assert task.refusal({**wide, "grasp": {**wide["grasp"], "width": 0.03}}) == "no_map"
    assert task.refusal({**wide, "grasp": {**wide["grasp"], "center_px": [500.0, 3.0]}}) == "outside_picture"
    high = [*down[:2], [0, 0, -1.0, 0.028 + meta["gripper"]["tcp_offset"]], down[3]]
    assert task.refusal({**wide, "grasp": {**wide["grasp"], "pose_base": high}}) == "no_map"


def test_noise_on_crops_is_of_millimetres(outcomes: list[Outcome]) -> None:
    task = task_of_model("gqcnn-jaw")
    features, aux = (torch.from_numpy(array).expand(64, *array.shape[1:]) for array in task.features(outcomes[:1]))
    disturbed = task.augment(FeatureBatch(features, aux, torch.zeros(64)), torch.Generator().manual_seed(0))
    assert torch.equal(disturbed.aux, aux)
    assert 0.0003 < float((disturbed.features - disturbed.features.mean(0)).std()) < 0.02


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    registry = with_champion(tmp_path, "heatmap", PUBLISHED_CROPS)
    with pytest.raises(ValueError, match=r"heatmap version 1: .* is a network 'gqcnn': expected mobileunet"):
        task_of_version(registry, "heatmap", 1)
    published = task_of_version(with_champion(tmp_path, "gqcnn-jaw", PUBLISHED_CROPS), "gqcnn-jaw", 1)
    assert isinstance(published, CropTask)
    assert published.spec.shape == (1, 32, 32)
