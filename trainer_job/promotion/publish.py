"""Into the registry: the first version of an empty one, and each round's candidate with what became of it."""

import logging
import os
import subprocess
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from shared.durable import replace_file
from shared.networks import build_network
from shared.registry import ModelCard, Registry, RegistryError
from trainer_job.evaluation.assessment import Assessment
from trainer_job.promotion.offline_gate import GateComparison, GateDecision
from trainer_job.tasks import AnyTask

log = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_PENDING = 3
"""Only the newest versions can be undecided: each is decided on before the next is made."""
_COMPARISON = TypeAdapter(GateComparison)
OFFERED = "ships with this release: offered beside the champion of a registry that was there before"
SHIPPED = "shipped"
"""File beside a model's versions: sha256 of the weights that shipped when they were last looked at."""
UNTRAINED = "random initialisation: nothing has been learned yet, version 2 is the first that has"


@dataclass(frozen=True)
class Trained:
    """What a run made, before it is known whether it is any good. task: of this network. parent: the champion that it is
    compared with. training: how it was trained, for the card."""

    network: nn.Module
    task: AnyTask
    parent: int | None
    assessment: Assessment
    outcomes: dict[str, Any]
    seed: int
    training: dict[str, Any]


def weights_of(network: nn.Module) -> bytes:
    """safetensors bytes of a network, whatever device it is on."""
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})


def load_network(registry: Registry, name: str, version: int) -> nn.Module:
    """A version's network on the CPU, in evaluation mode. Raises RegistryError when its weights cannot be trusted."""
    card = registry.card(name, version)
    network = build_network(card.architecture, card.parameters)
    network.load_state_dict(safetensors.torch.load(registry.read_weights(name, version)))
    return network.eval()


def is_trained(card: ModelCard) -> bool:
    """False only for a random initialisation."""
    return card.note != UNTRAINED


def git_commit() -> str | None:
    """Commit of this program: GIT_COMMIT where it was built in, else what git says, else unknown."""
    if commit := os.environ.get("GIT_COMMIT"):
        return commit
    try:
        reply = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return reply.stdout.strip() or None


def seed_registry(registry: Registry, shipped: Path, task: AnyTask, seed: int) -> None:
    """Replaces champions that cannot be read by older versions, and fills what is missing: the shipped champions of all models,
    and for the model of `task` at least a random initialisation."""
    for name in registry.names():
        for done in registry.repair(name):
            log.error("registry repaired", extra={"done": done})
    source = Registry(shipped)
    for name in source.names():
        version = source.champion(name)
        if version is not None and _lacks_champion(registry, name):
            card = source.card(name, version).model_copy(update={"decisions": []})  # they were taken in another registry
            _first_version(registry, name, source.read_weights(name, version), card)
            log.info("registry starts from shipped weights", extra={"model": name, "shipped_version": version})
    name = task.recipe.name
    if _lacks_champion(registry, name):
        torch.manual_seed(seed)
        network = task.build()
        task.prepare(network, registry)
        weights = weights_of(network)
        outcomes = {"first": None, "last": None, "count": 0, "total": 0}
        fields = {"seeds": {"initialisation": seed}, "outcomes": outcomes, "note": UNTRAINED}
        _first_version(registry, name, weights, ModelCard.model_validate({**_identity(task), **fields}))
        log.info("registry starts from a random initialisation", extra={"model": name})


def offer_shipped(registry: Registry, shipped: Path) -> list[str]:
    """Offers weights that ship and that this registry has never had: as a new version, and as the candidate where there is
    none. The trainer puts the candidate of the model that it trains into an A/B test; others are promoted by hand. Returns what
    was offered. A champion whose weights ship with a promise gets that at once."""
    source, offered = Registry(shipped), []
    for name in source.names():
        version, champion = source.champion(name), registry.champion(name)
        if version is None or champion is None:
            continue
        card, seen = source.card(name, version), registry.root / name / SHIPPED
        had = {seen.read_text().strip()} if seen.is_file() else {each.sha256 for each in registry.cards(name)}
        if card.sha256 not in had:
            fresh = card.model_copy(
                update={"parent": None, "outcomes": {**card.outcomes, "total": 0}, "note": OFFERED, "decisions": []}
            )
            new = registry.publish(name, source.read_weights(name, version), fresh)
            if registry.candidate(name) is None:
                registry.set_candidate(name, new)
            offered.append(f"{name} version {new}")
        if not seen.is_file() or card.sha256 not in had:
            replace_file(seen, card.sha256.encode())
        own = registry.card(name, champion)
        if own.sha256 == card.sha256 and card.promise and not own.promise:
            promise_anew(registry, name, card.promise, f"version {champion} with the promise that ships")
    return offered


def promise_anew(registry: Registry, name: str, promise: dict[str, Any], reason: str) -> int:
    """Publishes and promotes the champion's weights with another promise; returns the version. There must be a champion.

    Plans stay as they are, so that there is nothing to compare.
    """
    champion = registry.champion(name)
    assert champion is not None
    fresh: dict[str, Any] = {
        "promise": promise,
        "created": "",
        "git_commit": git_commit(),
        "parent": None,
        "comparison": None,
        "decisions": [],
    }
    card = registry.card(name, champion).model_copy(update=fresh)
    version = registry.publish(name, registry.read_weights(name, champion), card)
    promote(registry, name, version, {"action": "promoted", "reason": reason})
    return version


def _lacks_champion(registry: Registry, name: str) -> bool:
    return registry.champion(name) is None or registry.fault(name) is not None


def _first_version(registry: Registry, name: str, weights: bytes, card: ModelCard) -> None:
    """Publishes unless an earlier start was killed between publishing and pointing."""
    version = next(registry.fallbacks(name), None)
    if version is None:
        fresh = card.model_copy(update={"parent": None, "outcomes": {**card.outcomes, "total": 0}})
        version = registry.publish(name, weights, fresh)
    registry.promote(name, version)


def publish(registry: Registry, trained: Trained, simulated: dict[str, Any] | None = None) -> int:
    """Stores a trained network as the next version. simulated: how the champion has done so far, to be compared with."""
    task, assessment = trained.task, trained.assessment
    fields = {
        "parent": trained.parent,
        "seeds": {"training": trained.seed},
        "outcomes": trained.outcomes,
        "metrics": assessment.served.metrics(),
        "calibration": assessment.calibration,
        "promise": assessment.promise,
        "comparison": assessment.comparison and assessment.comparison.as_json(),
        "champion_simulated": simulated,
        "training": trained.training,
    }
    card = task.complete(ModelCard.model_validate({**_identity(task), **fields}), registry)
    return registry.publish(task.recipe.name, weights_of(trained.network), card)


def _identity(task: AnyTask) -> dict[str, Any]:
    """What the card says of the network and of how it sees the world, which whoever serves it needs; and of this program."""
    recipe = task.recipe
    seen = {"kind": recipe.kind, "view": recipe.view} if recipe.view else {}
    names = {"name": recipe.name, "architecture": recipe.architecture, "parameters": recipe.parameters}
    return {**names, "git_commit": git_commit(), **seen}


def pending_versions(registry: Registry, name: str) -> list[int]:
    """Versions of which nothing was decided because the trainer died in between; their cards hold all that is needed."""
    newest = reversed(list(islice(registry.cards(name), MAX_PENDING)))
    return [card.version for card in newest if card.parent and getattr(card, "comparison", None) and not card.decisions]


def offline_decision(registry: Registry, task: AnyTask, version: int) -> GateDecision:
    """What the offline gate says to a published candidate, from its card alone."""
    name = task.recipe.name
    card = registry.card(name, version)
    comparison = (card.model_extra or {}).get("comparison")
    if card.parent is None or comparison is None:
        raise ValueError(f"{name} version {version} was not made beside a champion: there is nothing to compare it with")
    try:
        return task.gate(_COMPARISON.validate_python(comparison), is_trained(registry.card(name, card.parent)))
    except (ValidationError, RegistryError) as error:
        return GateDecision(False, f"cannot be compared: {' '.join(str(error).split())}")


def promote(registry: Registry, name: str, version: int, record: dict[str, Any]) -> None:
    """Makes a version the champion and writes down why. The pointer first: a record of what did not happen would be a lie."""
    registry.promote(name, version)
    registry.record(name, version, record)
    log.info("promoted", extra={"model": name, "version": version, "reason": record.get("reason")})


def reject(registry: Registry, name: str, version: int, record: dict[str, Any]) -> None:
    registry.record(name, version, record)
    if registry.candidate(name) == version:
        registry.set_candidate(name, None)
    log.info("rejected", extra={"model": name, "version": version, "reason": record.get("reason")})
