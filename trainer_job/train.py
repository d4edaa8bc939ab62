"""Trains a network from a recipe on a published data set or on our own shards, and publishes the best epoch.

    python -m trainer_job.train --recipe gqcnn-jaw-dexnet2 --data FOLDER --models-dir data/models [--promote]
    python -m trainer_job.train --recipe mobileunet --data train.npz --validation val.npz

In the run folder: loss.png, predictions.png, TensorBoard events, history.json and the recipe that was used.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from shared.logs import setup
from shared.networks import build_network
from shared.networks.crops import CropView
from shared.networks.mobileunet import MobileUNet
from shared.registry import ModelCard, Registry
from trainer_job.data import dexnet, heatmap_labels, shard_crops, shard_images
from trainer_job.data.grasp_crops import GraspCrops
from trainer_job.data.rgb_window_folders import held_apart
from trainer_job.evaluation.figures import draw_losses
from trainer_job.evaluation.metrics import fit_temperature
from trainer_job.fit import machine
from trainer_job.promotion.publish import git_commit
from trainer_job.tasks.crop_task import CropTask
from trainer_job.tasks.heatmap_task import HeatmapTask
from trainer_job.tasks.height_from_rgb import HeightFromRgbTask, beside_maps, take_maps
from trainer_job.training.recipe import TrainingRecipe, load, shipped

log = logging.getLogger(__name__)

Task = CropTask | HeatmapTask | HeightFromRgbTask
CHECKPOINT = "checkpoint.pt"
PROGRESS_SECONDS = 10.0


def read_crops(recipe: TrainingRecipe, folders: list[Path], cache: Path) -> GraspCrops:
    """The data of a recipe on crops. Raises ValueError when they are not there or not of that format."""
    if recipe.architecture == "mobileunet" or recipe.data.format == "mobileunet":
        raise ValueError(f"{recipe.architecture!r} on {recipe.data.format!r} data: expected a network and data of depth crops")
    if recipe.data.format == "shards":
        size = recipe.parameters.get("crop_size", 96 if recipe.architecture == "gqcnn4" else 32)
        return shard_crops.read(folders, recipe.kind, CropView(**recipe.view), size)
    if len(folders) != 1:
        raise ValueError(f"--data: expected one {recipe.data.format} folder, got {len(folders)}")
    return dexnet.read(folders[0], recipe.data.format, cache)


def open_task(recipe: TrainingRecipe, network: nn.Module, options: argparse.Namespace) -> Task:
    if not isinstance(network, MobileUNet):
        return CropTask(read_crops(recipe, options.data, options.cache), recipe)
    if recipe.part == "stature":
        take_maps(network, Registry(options.models_dir), recipe.name)
        return HeightFromRgbTask(*held_apart(options.data), recipe, network)
    if recipe.data.format == "shards":
        labels = shard_images.read(options.data, recipe.kind, network, recipe.view.get("pixels_per_metre"), recipe.fits > 0)
        return HeatmapTask(*labels, recipe, network.angles)
    training = heatmap_labels.read(options.data[0], network.rotations)
    validation = heatmap_labels.read(options.validation, network.rotations) if options.validation else None
    return HeatmapTask(training, validation, recipe, network.angles)


def make_optimizer(network: nn.Module, recipe: TrainingRecipe, steps_per_epoch: int) -> tuple[torch.optim.Optimizer, Any]:
    """The optimizer and a schedule that is stepped after every batch."""
    chosen, plan = recipe.optimizer, recipe.schedule
    optimizer: torch.optim.Optimizer
    if chosen.name == "sgd":
        optimizer = torch.optim.SGD(
            network.parameters(), chosen.learning_rate, momentum=chosen.momentum, weight_decay=chosen.weight_decay
        )
    else:
        kind = torch.optim.Adam if chosen.name == "adam" else torch.optim.AdamW
        optimizer = kind(network.parameters(), chosen.learning_rate, weight_decay=chosen.weight_decay)
    if plan.name == "one_cycle":
        total = max(2, recipe.epochs * steps_per_epoch)
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, chosen.learning_rate, total_steps=total)
    every = max(1, round(plan.every_epochs * steps_per_epoch))
    gamma = plan.gamma if plan.name == "exponential" else 1.0
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: gamma ** (step // every))


def train(network: nn.Module, task: Task, recipe: TrainingRecipe, device: torch.device, folder: Path) -> list[dict[str, float]]:
    """Trains in place, leaves the weights of the epoch with the least validation loss, and returns the history.

    A run that was interrupted goes on after its last whole epoch: the folder's checkpoint says where that was.
    """
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = max(1, len(task.training) // recipe.batch)
    optimizer, schedule = make_optimizer(network, recipe, steps)
    history: list[dict[str, float]] = []
    best, kept = float("inf"), copy.deepcopy(network.state_dict())
    made = {"recipe": recipe.model_dump_json(), "examples": len(task.training)}
    if state := _checkpoint(folder, made, device):
        history, best, kept = state["history"], state["best"], state["kept"]
        for part, name in ((network, "network"), (optimizer, "optimizer"), (schedule, "schedule")):
            part.load_state_dict(state[name])
        for _ in history:
            task.epoch()  # draws what the interrupted run drew
        log.info("goes on", extra={"after_epoch": len(history), "of": recipe.epochs})
    with SummaryWriter(str(folder)) as writer:
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            started = time.monotonic()
            progress, losses = Progress(epoch, steps), []
            for rows in _batches(task, recipe.batch):
                losses.append(_step(network, task, rows, optimizer, schedule, device))
                progress(losses)
            network.eval()
            history.append({"training_loss": float(np.mean(losses)), **task.evaluate(network, device)})
            history[-1]["seconds"] = round(time.monotonic() - started, 1)
            for name, value in history[-1].items():
                writer.add_scalar(name, value, epoch)
            draw_losses(history, folder / "loss.png")
            if history[-1]["loss"] < best:
                best, kept = history[-1]["loss"], copy.deepcopy(network.state_dict())
                task.picture(network, device, folder / "predictions.png")
            log.info("epoch", extra={"epoch": epoch, "of": recipe.epochs, **_rounded(history[-1])})
            (folder / "history.json").write_text(json.dumps(history, indent=1))
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            state |= {"history": history, "best": best, "kept": kept, "made": made}
            torch.save(state, folder / f"{CHECKPOINT}.part")
            os.replace(folder / f"{CHECKPOINT}.part", folder / CHECKPOINT)
    network.load_state_dict(kept)
    network.eval()
    return history


class Progress:
    """Logs the training loss every few seconds."""

    def __init__(self, epoch: int, steps: int):
        self._place, self._logged = {"epoch": epoch, "of": steps}, time.monotonic()

    def __call__(self, losses: list[float]) -> None:
        if time.monotonic() - self._logged > PROGRESS_SECONDS:
            self._logged = time.monotonic()
            log.info("training", extra={"step": len(losses), **self._place, "loss": round(float(np.mean(losses)), 4)})


def _checkpoint(folder: Path, made: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    """What an earlier run of the same recipe on as many examples left in the folder, if any."""
    path = folder / CHECKPOINT
    state = torch.load(path, map_location=device, weights_only=True) if path.is_file() else None
    return state if state and state.get("made") == made else None


def _batches(task: Task, size: int) -> list[np.ndarray]:
    """Rows of each batch of one pass; a last, smaller one is left out (batch normalisation needs company)."""
    rows = task.epoch()
    size = min(size, len(rows))
    return [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]


def _step(
    network: nn.Module, task: Task, rows: np.ndarray, optimizer: torch.optim.Optimizer, schedule: Any, device: torch.device
) -> float:
    network.train()
    targets: Any  # what only the task itself understands
    inputs, targets = task.batch(rows, device)
    outputs: Any = task.forward(network, inputs)
    loss = task.loss(outputs, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    schedule.step()
    return float(loss.detach())


def publish(
    network: nn.Module,
    task: Task,
    recipe: TrainingRecipe,
    history: list[dict[str, float]],
    registry: Registry,
    device: torch.device,
) -> int:
    """The best epoch as the next version; the card holds its validation metrics, its calibration and the whole recipe."""
    best = min(range(len(history)), key=lambda index: history[index]["loss"])
    card = ModelCard.model_validate(
        {
            "name": recipe.name,
            "architecture": recipe.architecture,
            "parameters": recipe.parameters,
            "parent": registry.champion(recipe.name),
            "seeds": {"training": recipe.seed},
            "metrics": {name: value for name, value in history[best].items() if name not in ("training_loss", "seconds")},
            "calibration": calibration(network, task, recipe, device),
            "git_commit": git_commit(),
            "kind": recipe.kind,
            "view": recipe.view,
            "training": {
                "recipe": recipe.model_dump(),
                "epoch": best + 1,
                "examples": len(task.training),
                "seconds": round(sum(each["seconds"] for each in history)),
                "machine": machine(device),
            },
        }
    )
    if isinstance(task, HeightFromRgbTask):
        card = beside_maps(card, registry)
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    return registry.publish(recipe.name, save(state), card)


def calibration(network: nn.Module, task: Task, recipe: TrainingRecipe, device: torch.device) -> dict[str, Any]:
    """A temperature fitted on held-out grasps; none where no probabilities of success are learned."""
    if recipe.loss == "cells" or isinstance(task, HeightFromRgbTask):
        return {}
    return {"kind": "temperature", "value": fit_temperature(*task.held_out_logits(network, device))}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m trainer_job.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--recipe", required=True, help=f"YAML file, or one of {', '.join(shipped())}")
    add("--data", type=Path, nargs="+", required=True, help="tensor folder, npz, or folders of shards or looks")
    add("--validation", type=Path, help="npz to validate on (MobileUNet data); none: the last share of --data")
    add("--models-dir", type=Path, default=Path("data/models"), help="registry to publish into (default: %(default)s)")
    add("--out", type=Path, help="run folder; none: data/runs/<name>-<time>")
    add("--cache", type=Path, default=Path("data/cache"), help="where compressed tensors are unpacked (default: %(default)s)")
    add("--epochs", type=int, help="instead of the recipe's")
    add("--batch", type=int, help="instead of the recipe's")
    add("--seed", type=int, help="instead of the recipe's")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--promote", action="store_true", help="make it the champion")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    setup("trainer_job.train", "info", "auto")
    try:
        recipe = load(options.recipe)
        changes = {name: getattr(options, name) for name in ("epochs", "batch", "seed") if getattr(options, name) is not None}
        recipe = TrainingRecipe.model_validate(recipe.model_dump() | changes)
        torch.manual_seed(recipe.seed)
        network = build_network(recipe.architecture, recipe.parameters)
        task = open_task(recipe, network, options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    folder = options.out or Path("data/runs") / f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    device = torch.device(options.device)
    history = train(network, task, recipe, device, folder)
    registry = Registry(options.models_dir)
    version = publish(network, task, recipe, history, registry, device)
    if options.promote:
        registry.promote(recipe.name, version)
    best = min(history, key=lambda each: each["loss"])
    print(f"{recipe.name} version {version}: {_rounded(best)}; pictures and events in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
