"""Trains a network of the loop from collected shards alone, without a queue, and publishes it.

    python -m trainer_job.fit --shards data/collected [more ...] --models models [--test-shards data/unseen] [--epochs 8]

The network starts from a random initialisation, or with --warm from the champion in the registry. It is tested on held-out
scenes, or on --test-shards, and becomes the champion unless it is worse than the present one on the same outcomes.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from shared.logs import setup
from shared.registry import Registry
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.evaluation.assessment import assess, draw
from trainer_job.promotion.publish import (
    REPOSITORY,
    Trained,
    load_network,
    offline_decision,
    promote,
    publish_candidate,
    reject,
    seed_registry,
)
from trainer_job.tasks.base import Learner
from trainer_job.tasks.registry import LEARNERS
from trainer_job.training import distributed
from trainer_job.training.distributed import DistContext
from trainer_job.training.loop import Examples, Schedule, train
from trainer_job.training.round import FRESH, WARM, blend_with, learner_of

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    setup("trainer_job.fit", "info", options.log_format)
    ranks = distributed.join(options.torch_threads)
    try:
        fit(options, ranks)
    finally:
        distributed.leave()


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser("python -m trainer_job.fit", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--shards", type=Path, nargs="+", required=True, help="folders of shards to learn from")
    add("--test-shards", type=Path, nargs="+", help="folders of shards to test on; none: held-out scenes of --shards")
    add("--models", type=Path, required=True, help="registry to publish into")
    add("--name", default="dense", choices=sorted(LEARNERS), help="which network")
    add("--epochs", type=int, default=8, help="passes over the outcomes")
    add("--batch", type=int, default=128, help="outcomes per step")
    add("--learning-rate", type=float, help=f"peak; default {FRESH.learning_rate}, with --warm {WARM.learning_rate}")
    add("--warm", action="store_true", help="start from the champion, or else from the weights that ship")
    add("--most", type=int, default=2**31, help="learn from at most so many outcomes of each folder, the newest")
    add("--seed", type=int, default=0)
    add("--torch-threads", type=int, default=0, help="threads of the network on the CPU; 0: one less than there are cores")
    add("--cache", type=Path, default=Path("data/fit"), help="where views and curves are kept")
    add("--log-format", default="auto", choices=("auto", "json", "text"))
    return parser


def fit(options: argparse.Namespace, ranks: DistContext) -> int | None:
    """Trains, publishes and decides; the version, or None on ranks other than 0."""
    registry = Registry(options.models)
    if options.warm and ranks.first:
        seed_registry(registry, REPOSITORY / "models", LEARNERS[options.name], options.seed)
    ranks.broadcast("there is a champion to start from")
    champion = registry.champion(options.name)
    start = champion if options.warm else None
    learner = learner_of(registry, options.name, start)
    if learner_of(registry, options.name, champion).view_name != learner.view_name:
        raise SystemExit(
            f"the champion of {options.name} in {options.models} sees the world in another way than a new one: nothing would "
            "tell which is better. Publish into an empty registry, or start from the champion with --warm"
        )
    if ranks.first:  # computes the views of all shards; the others then find them
        data = load(options, learner)
    ranks.broadcast("all is prepared")
    if not ranks.first:
        data = load(options, learner)
    learned, test, outcomes = data
    torch.manual_seed(options.seed)
    network = learner.build() if start is None else load_network(registry, learner.name, start)
    base = FRESH if start is None else WARM
    schedule = Schedule(options.epochs, options.batch, options.learning_rate or base.learning_rate)
    started = time.monotonic()
    curves = train(network, learner, learned, schedule, options.seed, ranks, on_progress=Progress())
    if not ranks.first:
        return None
    if start is not None:
        blend_with(registry, learner.name, start, network, len(learned))
    rival = None if champion is None else load_network(registry, learner.name, champion)
    assessment = assess(network, rival, learner, test, ranks.device)
    training = {
        "epochs": options.epochs,
        "steps": curves.steps[-1],
        "loss": curves.loss[-1],
        "started_from": start,
        "seconds": round(time.monotonic() - started),
        "machine": machine(ranks.device),
    }
    version = publish_candidate(
        registry,
        Trained(network, learner, champion, assessment, outcomes, options.seed, training),
    )
    draw(options.cache / "runs" / f"{learner.name}-{version:04d}", curves, assessment)
    settle(registry, learner.name, version, champion)
    log.info("published", extra={"version": version, **{name: round(value, 4) for name, value in assessment.metrics.items()}})
    return version


def machine(device: torch.device) -> str:
    """What trained, for the card."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {device.type}"


def settle(registry: Registry, name: str, version: int, champion: int | None) -> None:
    if champion is None:
        promote(registry, name, version, {"action": "promoted", "reason": "the first version"})
        return
    decision = offline_decision(registry, name, version)
    (promote if decision.promote else reject)(registry, name, version, decision.as_json())


def load(options: argparse.Namespace, learner: Learner) -> tuple[Examples, Examples, dict]:
    """(examples to learn from, examples to test on, what the card says of them)."""
    libraries = [open_library(folder, options.cache, learner) for folder in options.shards]
    learned = [(library, library.training(options.most, 0, options.seed)) for library in libraries]
    test = [(library, library.held_out()) for library in libraries]
    if options.test_shards:
        unseen = [open_library(folder, options.cache, learner) for folder in options.test_shards]
        learned = [(library, np.arange(len(library))[-options.most :]) for library in libraries]
        test = [(library, np.arange(len(library))) for library in unseen]
    if sum(len(places) for _, places in learned) < 2:
        raise SystemExit(
            f"no outcomes to learn from in {', '.join(map(str, options.shards))}: expected folders that hold shard-*/"
        )
    ids = [library.records[place].id for library, places in learned for place in places[[0, -1]] if len(places)]
    outcomes = {"first": ids[0], "last": ids[-1], "count": sum(len(places) for _, places in learned), "total": 0}
    outcomes |= {"held_out": sum(len(places) for _, places in test), "test_shards": bool(options.test_shards)}
    return gather(learned), gather(test), outcomes


def open_library(folder: Path, cache: Path, learner: Learner) -> ReplayBuffer:
    library = ReplayBuffer(
        OutcomeIndex(folder), FeatureCache(cache / "views" / folder.resolve().as_posix().replace("/", "_"), learner)
    )
    library.refresh()
    log.info("outcomes", extra={"folder": str(folder), "learnable": len(library), "stored": len(library.dataset)})
    return library


def gather(parts: Sequence[tuple[ReplayBuffer, np.ndarray]]) -> Examples:
    examples = [library.examples(places) for library, places in parts]
    arrays = zip(*((each.views, each.labels, each.facts) for each in examples), strict=True)
    return Examples(*(np.concatenate(parts) for parts in arrays))


class Progress:
    """Logs the training loss every few seconds."""

    def __init__(self) -> None:
        self._logged = time.monotonic()

    def __call__(self, step: int, steps: int, loss: float) -> None:
        if time.monotonic() - self._logged > PROGRESS_SECONDS or step == steps:
            self._logged = time.monotonic()
            log.info("training", extra={"step": step, "steps": steps, "loss": round(loss, 4)})


if __name__ == "__main__":
    main()
