"""One training round: from the champion and the stored outcomes to a published candidate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.registry import ModelCard, Registry
from shared.settings import TrainerSettings
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.replay_buffer import ReplayBuffer, SampleRefs, examples
from trainer_job.evaluation.assessment import assess, draw
from trainer_job.evaluation.calibration import corrected
from trainer_job.promotion.publish import Trained, is_trained, load_network, publish
from trainer_job.tasks import AnyTask, task_of_model
from trainer_job.training.distributed import SINGLE, DistContext
from trainer_job.training.history import TrainingHistory
from trainer_job.training.loop import blend, new_share, train
from trainer_job.training.recipe import OptimizerRecipe, RateRecipe
from trainer_job.training.schedule import Schedule

_ADAMW = OptimizerRecipe(name="adamw", learning_rate=1e-3, weight_decay=1e-2)
_CYCLE = RateRecipe(name="one_cycle", rise=0.2)
FRESH = Schedule(_ADAMW, _CYCLE, epochs=4, batch=64)
"""Of a round from a random initialisation."""
WARM = Schedule(_ADAMW, _CYCLE, epochs=8, batch=128, min_steps=60)
"""From a trained champion, with which the result is blended."""
WARM_STEPS = 0.4
"""Share of the fewest steps from random weights that a trained champion needs."""


def task_of_version(registry: Registry, name: str, version: int | None) -> AnyTask:
    """The task for a version's network; without a version, for a new one. Raises ValueError for one that cannot be trained."""
    task = task_of_model(name)
    return task if version is None else task.of(registry.card(name, version))


@dataclass(frozen=True)
class RoundPlan:
    """All that every rank needs to train the same network."""

    name: str
    parent: int
    seed: int
    schedule: Schedule
    selection: SampleRefs


def plan_round(replay: ReplayBuffer, registry: Registry, settings: TrainerSettings, name: str) -> RoundPlan:
    """The next round; the same again after a kill as long as no outcome is added, since its seed is the next version's."""
    parent = registry.champion(name)
    if parent is None:
        raise ValueError(f"the registry has no champion of {name} to start from")
    trained = is_trained(registry.card(name, parent))
    task = task_of_version(registry, name, parent)
    next_version = registry.versions(name)[-1] + 1
    seed = int(np.random.default_rng([settings.seed, next_version]).integers(2**31))
    chosen = replay.training(settings.replay_outcomes, trained_on(registry, name, replay), seed)
    if task.own_schedule:
        schedule = Schedule.of(task.recipe)
    else:
        fewest = max(1, int(WARM_STEPS * settings.min_steps)) if trained else settings.min_steps
        schedule = replace(WARM if trained else FRESH, epochs=settings.epochs, min_steps=fewest)
    return RoundPlan(name, parent, seed, schedule, replay.select(chosen))


def trained_on(registry: Registry, name: str, replay: ReplayBuffer) -> int:
    """How many of the stored outcomes the rounds so far have had before them: the card of the last round tells up to which
    shard, one of before how many. 0 where it tells of more than there is: the registry was kept while the outcomes were not."""
    last = next((card.outcomes for card in registry.cards(name) if card.outcomes.get("total")), {})
    shard, total = last.get("shard"), last.get("total", 0)
    if isinstance(shard, int):
        return replay.position(shard) if shard <= replay.newest_shard else 0
    return total if total <= len(replay) else 0


def train_round(
    plan: RoundPlan,
    registry: Registry,
    cache: FeatureCache,
    shards: Path,
    ranks: DistContext = SINGLE,
    stopping: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> tuple[Any, TrainingHistory]:
    """The part that all ranks run: (network, history). Raises Interrupted."""
    network, task = load_network(registry, plan.name, plan.parent), task_of_version(registry, plan.name, plan.parent)
    if task.spec.name != cache.task.spec.name:
        raise ValueError(
            f"{plan.name} version {plan.parent} sees the world in another way than the version that this trainer began with: "
            "start the trainer again"
        )
    data = task.from_records(examples(plan.selection, cache, shards))
    if not is_trained(registry.card(plan.name, plan.parent)):
        task.standardize(network, data)
    history = train(network, task, data, plan.schedule, plan.seed, ranks, stopping, on_progress)
    blend_with(registry, task, plan.parent, network, len(plan.selection.labels))
    return network, history


def blend_with(registry: Registry, task: AnyTask, champion: int, network: Any, outcomes: int) -> None:
    """Blends what was learned from so many outcomes with the champion that it began from, if that is trained."""
    name = task.recipe.name
    card = registry.card(name, champion)
    if is_trained(card) and task.blended:
        share = new_share(outcomes, int(card.outcomes.get("count") or 0))
        blend(network, load_network(registry, name, champion), share)


def kept_promise(parent: ModelCard, replay: ReplayBuffer, held_out: np.ndarray) -> ModelCard:
    """The champion's card with its promise as it was kept, by those of the held-out outcomes that it planned."""
    if not parent.promise:
        return parent
    records = [replay.records[place] for place in held_out]
    own = [record for record in records if record.told_of(parent.name) == parent.version and not record.revisit]
    qualities, labels = np.array([record.quality or 0.0 for record in own]), np.array([record.label for record in own])
    return parent.model_copy(update={"promise": corrected(parent.promise, qualities, labels)})


def finish_round(
    plan: RoundPlan,
    network: Any,
    history: TrainingHistory,
    replay: ReplayBuffer,
    registry: Registry,
    runs: Path,
    ranks: DistContext = SINGLE,
    patiently: Callable[[Callable[[], Any]], Any] = lambda write: write(),
) -> int:
    """Rank 0's part: test against the champion on held-out scenes, draw, publish. Returns the candidate's version.

    patiently: does what writes; it may wait until there is room.
    """
    held_out = replay.held_out()
    outcomes = {
        "first": plan.selection.ids[0],
        "last": plan.selection.ids[1],
        "count": len(plan.selection.labels),
        "held_out": len(held_out),
        "sources": plan.selection.sources,
        "total": len(replay) + replay.dataset.removed,
        "removed": replay.dataset.removed,
        "shard": replay.newest_shard,
        "refused": dict(replay.refused),
    }
    parent, task = registry.card(plan.name, plan.parent), task_of_version(registry, plan.name, plan.parent)
    champion = load_network(registry, plan.name, plan.parent)
    examples_held_out = task.from_records(replay.examples(held_out))
    assessment = assess(task, network, champion, examples_held_out, ranks.device, kept_promise(parent, replay, held_out))
    training = {"steps": history.steps[-1], "loss": history.loss[-1], "world": ranks.world}
    trained = Trained(network, task, plan.parent, assessment, outcomes, plan.seed, training)
    version: int = patiently(lambda: publish(registry, trained, parent.simulated))
    folder = runs / f"{plan.name}-{version:04d}"
    patiently(lambda: draw(folder, history, assessment, parent.calibration))
    return version
