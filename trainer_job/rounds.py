"""One training round: from the champion and the stored outcomes to a published candidate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.rates import rate_with_interval
from shared.registry import Registry
from shared.settings import TrainerSettings
from trainer_job.dataset import on_policy_counts
from trainer_job.distributed import SINGLE, Ranks
from trainer_job.gate import compare
from trainer_job.learner import LEARNERS
from trainer_job.library import Library, Selection, examples
from trainer_job.metrics import binary_metrics, fit_temperature, sigmoid
from trainer_job.plots import draw_loss, draw_reliability, write_tensorboard
from trainer_job.publish import Trained, is_trained, load_network, publish_candidate
from trainer_job.training import Curves, Examples, Schedule, predict, train
from trainer_job.views import ViewCache

log = logging.getLogger(__name__)

FRESH = Schedule(batch=64, learning_rate=1e-3, least_steps=300)
"""From a random initialisation."""
WARM = Schedule(batch=128, learning_rate=3e-4, least_steps=60)
"""From a trained champion: gently, so that what it knows is refined and not replaced."""


@dataclass(frozen=True)
class RoundPlan:
    """All that every rank needs to train the same network."""

    name: str
    parent: int
    seed: int
    schedule: Schedule
    selection: Selection


def plan_round(library: Library, registry: Registry, settings: TrainerSettings, name: str) -> RoundPlan:
    """The next round; the same again after a kill as long as no outcome is added, since its seed is the next version's."""
    parent = registry.champion(name)
    if parent is None:
        raise ValueError(f"the registry has no champion of {name} to start from")
    base = WARM if is_trained(registry.card(name, parent)) else FRESH
    next_version = registry.versions(name)[-1] + 1
    seed = int(np.random.default_rng([settings.seed, next_version]).integers(2**31))
    chosen = library.training(settings.replay_outcomes, trained_on(registry, name, len(library)), seed)
    schedule = Schedule(settings.epochs, base.batch, base.learning_rate, base.weight_decay, base.least_steps)
    return RoundPlan(name, parent, seed, schedule, library.select(chosen))


def trained_on(registry: Registry, name: str, known: int) -> int:
    """How many of the `known` stored outcomes the rounds so far have had before them: the newest version's card tells."""
    total = int(registry.card(name, registry.versions(name)[-1]).outcomes.get("total", 0))
    return total if total <= known else 0  # a registry that was kept while the outcomes were not


def train_round(
    plan: RoundPlan,
    registry: Registry,
    cache: ViewCache,
    shards: Path,
    ranks: Ranks = SINGLE,
    stopping: Callable[[], bool] = lambda: False,
) -> tuple[Any, Curves]:
    """The part that all ranks run: (network, curves). Raises Interrupted."""
    network = load_network(registry, plan.name, plan.parent)
    curves = train(
        network,
        LEARNERS[plan.name],
        examples(plan.selection, cache, shards),
        plan.schedule,
        plan.seed,
        ranks,
        stopping,
        lambda step, steps, loss: log.debug("training", extra={"step": step, "steps": steps, "loss": round(loss, 4)}),
    )
    return network, curves


def finish_round(
    plan: RoundPlan, network: Any, curves: Curves, library: Library, registry: Registry, runs: Path, ranks: Ranks = SINGLE
) -> int:
    """Rank 0's part: test against the champion on held-out scenes, draw, publish. Returns the candidate's version."""
    held_out = library.held_out()
    test = library.examples(held_out)
    champion = predict(load_network(registry, plan.name, plan.parent), test, ranks.device)
    logits = predict(network, test, ranks.device)
    temperature = fit_temperature(test.labels, logits)
    metrics = binary_metrics(test.labels, logits, temperature)
    trained = Trained(
        network=network,
        parent=plan.parent,
        temperature=temperature,
        metrics=metrics,
        comparison=compare(test.labels, champion, logits),
        outcomes={
            "first": plan.selection.ids[0],
            "last": plan.selection.ids[1],
            "count": len(plan.selection.labels),
            "held_out": len(held_out),
            "total": len(library),
        },
        seeds={"round": plan.seed},
        training={"steps": plan.schedule.steps(len(plan.selection.labels)), "world": ranks.world, "loss": curves.loss[-1]},
    )
    version = publish_candidate(registry, plan.name, trained, simulated(library, plan.name, plan.parent))
    champion_temperature = float(registry.card(plan.name, plan.parent).calibration.get("value", 1.0))
    served = {f"version {plan.parent}": (champion, champion_temperature), f"version {version}": (logits, temperature)}
    draw_round(runs / f"{plan.name}-{version:04d}", curves, test, served)
    return version


def draw_round(folder: Path, curves: Curves, test: Examples, served: dict[str, tuple[np.ndarray, float]]) -> None:
    """loss.png, reliability.png and TensorBoard events. served: logits and temperature by version."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_loss(curves, folder / "loss.png")
    if len(test):
        probabilities = {who: sigmoid(logits, temperature) for who, (logits, temperature) in served.items()}
        draw_reliability(test.labels, probabilities, folder / "reliability.png")
    metrics = {who: binary_metrics(test.labels, logits, temperature) for who, (logits, temperature) in served.items()}
    write_tensorboard(folder, curves, metrics)


def simulated(library: Library, name: str, version: int) -> dict[str, Any] | None:
    """How a version's best grasps have done in simulated scenes of the loop; None before the first."""
    successes, attempts = on_policy_counts(library.dataset.records, name, version)
    if not attempts:
        return None
    rate = rate_with_interval(successes, attempts)
    return {**rate, "protocol": "best grasp of each plan in the trainer's scene tickets, strict contact rule"}
