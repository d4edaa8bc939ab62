"""Trains a network from a recipe on outcomes in shards or on published data, and publishes it.

    python -m trainer_job.train --recipe gqcnn-jaw-dexnet2 --data FOLDER --models-dir data/models
    python -m trainer_job.train --name dense --shards data/collected [more ...] [--warm]
    torchrun --standalone --nproc-per-node=2 -m trainer_job.train ...
    grasploop train closed-loop --help     a policy that acts step by step, in simulation
    grasploop train closed-loop-any --help the same with any objects
    grasploop train refine --help          a critic that corrects a planner's grasps, in simulation
    grasploop train coordinates --help     a minute's check of what such policies see with

The network starts from a random initialisation, or with --warm from the champion. It is tested on held-out examples, and
becomes the champion unless it is worse than the present one on the same examples. In the run folder: loss.png, reliability.png,
predictions.png, TensorBoard events, history.json, the recipe, and a checkpoint from which the same command goes on.
"""

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared.logs import setup
from shared.registry import Registry
from shared.store import folder_or_url
from trainer_job.data.replay_buffer import TrainingData
from trainer_job.evaluation.assessment import assess, draw
from trainer_job.promotion.publish import (
    REPOSITORY,
    Trained,
    load_network,
    offline_decision,
    promote,
    publish,
    reject,
    seed_registry,
)
from trainer_job.tasks import AnyTask, task_of
from trainer_job.training import distributed
from trainer_job.training.distributed import DistContext
from trainer_job.training.loop import train
from trainer_job.training.recipe import TrainingRecipe, load, recipe_of_model, shipped
from trainer_job.training.round import WARM, blend_with
from trainer_job.training.run_folder import RunFolder
from trainer_job.training.schedule import Schedule

log = logging.getLogger(__name__)

OTHERS = {
    "closed-loop": "trainer_job.rl.train",
    "closed-loop-any": "trainer_job.rl.train",
    "coordinates": "trainer_job.rl.coordinates",
    "refine": "trainer_job.rl.refine",
}
"""What is learned otherwise than by a recipe; the first word of the command line says so."""
PROGRESS_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in OTHERS:
        other: int = import_module(OTHERS[arguments[0]]).main(arguments)
        return other
    options = parser().parse_args(arguments)
    setup("trainer_job.train", "info", options.log_format)
    ranks = distributed.join(options.torch_threads)
    try:
        return run(options, ranks)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        distributed.leave()


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m trainer_job.train", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--recipe", help=f"YAML file, or one of {', '.join(shipped())}")
    which.add_argument("--name", help="model that the trainer's rounds train, by its recipe")
    add(
        "--data",
        "--shards",
        type=folder_or_url,
        nargs="+",
        required=True,
        help="folders (or URLs) of shards, or data as the recipe has it",
    )
    validation = "what to validate on; none: a tenth of the scenes of shards, or the recipe's share"
    add("--validation", "--test-shards", type=folder_or_url, nargs="+", default=[], help=validation)
    models = "registry to publish into (default: %(default)s)"
    add("--models-dir", "--models", type=Path, default=Path("data/models"), help=models)
    add("--warm", action="store_true", help="start from the champion, or else from the weights that ship, and blend with it")
    kept = "whatever the champion is worth, make it the champion or not; default: unless it is worse"
    add("--promote", action=argparse.BooleanOptionalAction, help=kept)
    add("--max-outcomes", type=int, default=2**31, help="learn from at most so many outcomes of each folder, the newest")
    add("--epochs", type=int, help="instead of the recipe's")
    add("--batch", type=int, help="instead of the recipe's")
    add("--learning-rate", type=float, help="peak, instead of the recipe's")
    add("--seed", type=int, help="instead of the recipe's")
    add("--out", type=Path, help="run folder; none: <cache>/runs/<name>-<time>")
    add("--cache", type=Path, default=Path("data/cache"), help="where features and unpacked tensors are kept")
    add("--device", help="default: a GPU where there is one")
    add("--torch-threads", type=int, default=0, help="threads on the CPU; 0: one less than there are cores")
    add("--log-format", default="auto", choices=("auto", "json", "text"))
    return parser


def run(options: argparse.Namespace, ranks: DistContext) -> int:
    """Trains, publishes and decides."""
    if options.device:
        ranks = replace(ranks, device=torch.device(options.device))
    recipe = recipe_of(options)
    registry, task = Registry(options.models_dir), task_of(recipe)
    if options.warm and ranks.first and registry.champion(recipe.name) is None:
        seed_registry(registry, REPOSITORY / "models", task, recipe.seed)
    ranks.broadcast("there is a champion to start from")
    champion = registry.champion(recipe.name)
    start = champion if options.warm else None
    if start is not None:
        task = task.of(registry.card(recipe.name, start))
    rival = comparable_champion(task, registry, champion, options.promote is None)
    data = read(task, options, ranks)
    torch.manual_seed(recipe.seed)
    network = task.build() if start is None else load_network(registry, recipe.name, start)
    task.prepare(network, registry)
    if start is None:
        task.standardize(network, data.training)
    opened = open_folder(options, task, data, ranks, start)
    started = time.monotonic()
    history = train(
        network, task, data.training, Schedule.of(recipe), recipe.seed, ranks, on_progress=Progress(), folder=opened
    )
    if not ranks.first:
        return 0
    if start is not None:
        blend_with(registry, task, start, network, len(data.training))
    card = registry.card(recipe.name, champion) if rival is not None and champion is not None else None
    assessment = assess(task, network, rival, data.held_out, ranks.device, card)
    training = {
        "recipe": task.recipe.model_dump(),
        "examples": len(data.training),
        "epoch": history.best() + 1,
        "steps": history.steps[-1],
        "loss": history.loss[-1],
        "started_from": start,
        "seconds": round(time.monotonic() - started),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {ranks.device.type}",
    }
    version = publish(registry, Trained(network, task, champion, assessment, data.outcomes, recipe.seed, training))
    draw(opened.folder, history, assessment)
    if len(data.held_out):
        task.picture(network, data.held_out, ranks.device, opened.folder / "predictions.png")
    settle(registry, task, version, champion, options.promote)
    shown = {name: round(value, 4) for name, value in registry.card(recipe.name, version).metrics.items()}
    print(f"{recipe.name} version {version}: {shown}; pictures and events in {opened.folder}")
    return 0


def recipe_of(options: argparse.Namespace) -> TrainingRecipe:
    """The recipe with what the command line changes of it. From a champion it learns as the rounds do."""
    recipe = load(options.recipe) if options.recipe else recipe_of_model(options.name)
    if options.warm:
        warm = {"optimizer": WARM.optimizer, "schedule": WARM.rate, "keep": "last"}
        warm |= {name: getattr(WARM, name) for name in ("epochs", "batch", "min_steps")}
        recipe = recipe.model_copy(update=warm)
    changes = {name: getattr(options, name) for name in ("epochs", "batch", "seed") if getattr(options, name) is not None}
    if options.learning_rate:
        changes["optimizer"] = recipe.optimizer.model_dump() | {"learning_rate": options.learning_rate}
    return TrainingRecipe.model_validate(recipe.model_dump() | changes)


def comparable_champion(task: AnyTask, registry: Registry, version: int | None, needed: bool) -> nn.Module | None:
    """The champion, if it can be tested on the same examples. Raises ValueError for one that cannot, where it is `needed`."""
    if version is None:
        return None
    name = task.recipe.name
    if task.comparable(registry.card(name, version)):
        return load_network(registry, name, version)
    if needed:
        raise ValueError(
            f"the champion of {name} in {registry.root} sees the world in another way than a new one: nothing would tell which "
            "is better. Say --promote or --no-promote, publish into an empty registry, or start from the champion with --warm"
        )
    return None


def read(task: AnyTask, options: argparse.Namespace, ranks: DistContext) -> TrainingData[Any]:
    """The data on every rank; rank 0 first, which computes what is cached. A warm start sees outcomes as the rounds do."""
    as_rounds = options.warm and task.recipe.data.format == "shards"
    how = task.read_records if as_rounds else task.read
    if not ranks.first:
        ranks.broadcast("all is prepared")
    data = how(options.data, options.validation, options.cache, options.max_outcomes)
    if ranks.first:
        ranks.broadcast("all is prepared")
    return data


def open_folder(
    options: argparse.Namespace, task: AnyTask, data: TrainingData[Any], ranks: DistContext, start: int | None
) -> RunFolder:
    """The run folder, which validates each epoch where the best one is to be kept."""
    recipe = task.recipe
    folder = ranks.broadcast(options.out or options.cache / "runs" / f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}")

    def validate(network: nn.Module) -> dict[str, float]:
        evaluation = task.evaluate(network, data.held_out, ranks.device)
        return {"loss": evaluation.loss, **evaluation.metrics()}

    made = {"recipe": recipe.model_dump_json(), "examples": len(data.training), "outcomes": data.outcomes, "start": start}
    opened = RunFolder(folder, made, validate if recipe.keep == "best" else None)
    if ranks.first:
        (folder / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    return opened


def settle(registry: Registry, task: AnyTask, version: int, champion: int | None, wanted: bool | None) -> None:
    """Makes the version the champion or not, and writes down why."""
    name = task.recipe.name
    if wanted is not None:
        action, reason = ("promoted", "--promote") if wanted else ("rejected", "--no-promote")
        (promote if wanted else reject)(registry, name, version, {"action": action, "reason": f"by command: {reason}"})
    elif champion is None:
        promote(registry, name, version, {"action": "promoted", "reason": "the first version"})
    else:
        decision = offline_decision(registry, task, version)
        (promote if decision.promote else reject)(registry, name, version, decision.as_json())


class Progress:
    """Logs the training loss every few seconds."""

    def __init__(self) -> None:
        self._logged = time.monotonic()

    def __call__(self, step: int, steps: int, loss: float) -> None:
        if time.monotonic() - self._logged > PROGRESS_SECONDS or step == steps:
            self._logged = time.monotonic()
            log.info("training", extra={"step": step, "steps": steps, "loss": round(loss, 4)})


if __name__ == "__main__":
    sys.exit(main())
