import json

import numpy as np
import pytest
import torch
import yaml
from published_formats import dexnet_folder, heat_file

from shared.registry import Registry
from trainer_job.analyze import main as analyze
from trainer_job.tasks import task_of
from trainer_job.tasks.gqcnn import CropTask
from trainer_job.train import main as train
from trainer_job.training.recipe import load, shipped
from trainer_job.training.schedule import Schedule

torch.set_num_threads(1)

SMALL = {
    "im_stream": {
        "conv1": {"type": "conv", "filt_dim": 5, "num_filt": 8, "pool_size": 2, "pool_stride": 2, "pad": "VALID"},
        "fc2": {"type": "fc", "out_size": 16},
        "fc3": {"type": "fc", "out_size": 2},
    }
}


def recipe_file(tmp_path, **changes):
    recipe = {
        "name": "tiny",
        "task": "gqcnn",
        "architecture": "gqcnn4",
        "parameters": {"architecture": SMALL, "depth_mode": "im_only", "crop_size": 32, "mean": 0.7, "std": 0.02},
        "view": {"focal_px": 175.0, "near": 0.6, "far": 0.8},
        "data": {"format": "dexnet-2.0"},
        "optimizer": {"name": "adamw", "learning_rate": 0.003},
        "schedule": {"name": "one_cycle"},
        "augment": {"noise": 0.001, "mirror": True},
        "epochs": 3,
        "batch": 32,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | changes))
    return path


def folders(tmp_path):
    return ["--models-dir", str(tmp_path / "models"), "--cache", str(tmp_path / "cache")]


def test_a_network_learns_from_tensors_and_is_published_and_analyzed(tmp_path, capsys):
    data, recipe = dexnet_folder(tmp_path / "set", "dexnet-2.0", (250, 150)), recipe_file(tmp_path)
    run = tmp_path / "run"
    where = ["--recipe", str(recipe), "--data", str(data), *folders(tmp_path)]
    assert train([*where, "--out", str(run), "--promote"]) == 0
    registry = Registry(tmp_path / "models")
    card = registry.card("tiny", 1)
    assert registry.champion("tiny") == 1
    assert card.metrics["ap"] > 0.95 > card.metrics["base_rate"]
    assert card.metrics["n"] == 80
    assert card.model_extra["view"] == {"focal_px": 175.0, "near": 0.6, "far": 0.8}
    assert card.model_extra["training"]["recipe"]["optimizer"]["name"] == "adamw"
    assert len(json.loads((run / "history.json").read_text())) == 3
    for picture in ("loss.png", "predictions.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")
    assert list(run.glob("events.out.tfevents.*"))
    capsys.readouterr()
    assert analyze([*where, "--model", "tiny", "--out", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    assert "base_rate" in printed
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["ap"] == pytest.approx(card.metrics["ap"])
    recalls = [row["recall"] for row in metrics["by_threshold"]]
    assert recalls[0] == 1
    assert recalls == sorted(recalls, reverse=True)
    made = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"gallery.png", "mistakes.png", "precision_recall.png", "reliability.png", "statistics.json"} <= made


@pytest.mark.parametrize("loss", ["cells", "success"])
def test_a_heat_map_network_trains(tmp_path, loss):
    data = heat_file(tmp_path / "train.npz", 60)
    validation = heat_file(tmp_path / "val.npz", 12, seed=1)
    recipe = load("mobileunet").model_dump() | {"loss": loss, "epochs": 2}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    options = ["--recipe", str(tmp_path / "r.yaml"), "--data", str(data), "--validation", str(validation)]
    assert train([*options, *folders(tmp_path), "--out", str(tmp_path / "run")]) == 0
    card = Registry(tmp_path / "models").card("heatmap", 1)
    assert card.metrics["n"] == 12
    assert np.isfinite(card.metrics["loss" if loss == "cells" else "log_loss"])
    assert (tmp_path / "run" / "predictions.png").is_file()


def test_gripper_depth_and_oversampling_reach_the_network(tmp_path):
    data = dexnet_folder(tmp_path / "set", "dexnet-4.0", (60,), 96)
    recipe = load("gqcnn4-jaw-dexnet4").model_dump() | {"epochs": 1, "batch": 24}
    recipe["data"]["positive_share"] = 0.5
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    options = ["--recipe", str(tmp_path / "r.yaml"), "--data", str(data), *folders(tmp_path)]
    assert train([*options, "--out", str(tmp_path / "run")]) == 0
    assert Registry(tmp_path / "models").card("gqcnn-jaw", 1).architecture == "gqcnn4"


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_name_real_networks(name):
    recipe = load(name)
    task = task_of(recipe)
    assert isinstance(task.build(), torch.nn.Module)
    optimizer, _ = Schedule.of(recipe).start(torch.nn.Linear(1, 1), 10 * recipe.batch)
    assert optimizer.param_groups[0]["lr"] > 0
    assert not isinstance(task, CropTask) or set(recipe.view) == {"focal_px", "near", "far"}


def test_rates_fall_as_published():
    recipe = load("gqcnn4-jaw-dexnet4")
    optimizer, schedule = Schedule.of(recipe).start(torch.nn.Linear(1, 1), 10 * recipe.batch)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[::5] == pytest.approx([0.01 * 0.95**k for k in range(4)])


def test_wrong_recipes_and_data_are_explained(tmp_path, capsys):
    assert train(["--recipe", "nothing", "--data", str(tmp_path)]) == 1
    assert "expected a YAML file or one of" in capsys.readouterr().err
    wrong = recipe_file(tmp_path, batches=3)
    assert train(["--recipe", str(wrong), "--data", str(tmp_path)]) == 1
    assert "batches" in capsys.readouterr().err
    assert train(["--recipe", str(recipe_file(tmp_path)), "--data", str(tmp_path), *folders(tmp_path)]) == 1
    assert "robust_ferrari_canny" in capsys.readouterr().err
    assert analyze(["--recipe", "mobileunet", "--data", str(tmp_path)]) == 1
    assert "depth crops" in capsys.readouterr().err
    data = dexnet_folder(tmp_path / "set", "dexnet-2.0", (40,))
    options = ["--recipe", str(recipe_file(tmp_path)), "--data", str(data), *folders(tmp_path), "--out", str(tmp_path / "o")]
    assert analyze([*options, "--model", "absent"]) == 1
    assert "absent" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_after_its_last_whole_epoch(tmp_path, monkeypatch):
    data, recipe = dexnet_folder(tmp_path / "set", "dexnet-2.0", (250, 150)), recipe_file(tmp_path)
    command = ["--recipe", str(recipe), "--data", str(data), *folders(tmp_path), "--out", str(tmp_path / "run")]
    whole = CropTask.evaluate
    epochs = []

    def evaluate(self, network, data, device):
        epochs.append(1)
        if len(epochs) == 3:
            raise KeyboardInterrupt
        return whole(self, network, data, device)

    monkeypatch.setattr(CropTask, "evaluate", evaluate)
    with pytest.raises(KeyboardInterrupt):
        train(command)
    before = json.loads((tmp_path / "run" / "history.json").read_text())
    assert train(command) == 0
    after = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(epochs) == 5  # of the third epoch again, and of what is published
    assert after[:2] == before
    assert len(after) == 3
    registry = Registry(tmp_path / "models")
    assert 0.2 <= registry.card("tiny", 1).calibration["value"] <= 10
    assert train([*command[:-1], str(tmp_path / "at once")]) == 0
    assert registry.card("tiny", 2).sha256 == registry.card("tiny", 1).sha256
