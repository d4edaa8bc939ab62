"""Models that learn in turn: first each for some rounds, then one round each, while the others stand exactly still.

So a goal can be grasped before pushes are judged by its grasps, and grasps learn from what pushes have uncovered (Xu et al.,
RA-L 2021, train a grasp, then a push, then both in alternation).
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from itertools import chain, cycle, repeat

from shared.registry import Registry
from shared.settings import TrainerSettings
from trainer_job.training.recipe import recipe_of_model

log = logging.getLogger(__name__)

Stage = tuple[str, int]
"""A model, and the rounds that it learns before the next one."""


def stages_of(text: str) -> list[Stage]:
    """`dense:3,push-value:5`; none of an empty text. Raises ValueError for what is none, and for a model without rounds."""
    found = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, rounds = part.partition(":")
        if not rounds.isdecimal():
            raise ValueError(f"expected a model and its rounds, as in dense:3,push-value:5, got {part!r}")
        recipe_of_model(name)
        found.append((name, int(rounds)))
    if len({name for name, _ in found}) < len(found):
        raise ValueError(f"expected each model once, got {text!r}: after the last stage they learn one round each in turn")
    return found


def next_model(stages: list[Stage], done: Mapping[str, int]) -> str:
    """Who learns next. done: rounds that each model has learned."""
    left = dict(done)
    for name in _order(stages):
        if not left.get(name):
            return name
        left[name] -= 1
    raise ValueError("expected a stage")


def rounds_of(registry: Registry, name: str) -> int:
    """Rounds that have published a version of a model."""
    return sum(bool(card.outcomes.get("total")) for card in registry.cards(name))


def turns(settings: TrainerSettings, stopping: threading.Event) -> Iterator[TrainerSettings]:
    """The settings once; of stages those of every round, whose model changes, until told to stop or after all `rounds`."""
    try:
        stages = stages_of(settings.stages)
    except ValueError as error:
        raise SystemExit(f"STAGES or --stages: {error}") from None
    if not stages:
        yield settings
        return
    registry, made = Registry(settings.models_dir), 0
    while not stopping.is_set() and not 0 < settings.rounds <= made:
        model = next_model(stages, {name: rounds_of(registry, name) for name, _ in stages})
        log.info("stage", extra={"model": model})
        yield settings.model_copy(update={"model": model, "rounds": 1})
        made += 1


def _order(stages: list[Stage]) -> Iterator[str]:
    return chain(*(repeat(*stage) for stage in stages), cycle([name for name, _ in stages]))
