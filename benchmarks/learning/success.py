"""Success of a version's best grasps in fixed scenes, the same for all versions; kept, so that nothing is measured twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from shared.durable import replace_file
from shared.rates import rate_with_interval
from sim_worker.benchmark.trials import Protocol, run_round
from sim_worker.planners import load_planner
from sim_worker.world import World


def results(models: Path, versions: Sequence[int], protocol: Protocol, kept: Path) -> dict[int, list[bool]]:
    """{version: success in each scene}, of versions of `dense` in the registry `models`; measures what `kept` does not hold."""
    name = protocol.model_dump_json()
    known: dict[str, dict[str, list[bool]]] = json.loads(kept.read_bytes()) if kept.exists() else {}
    missing = [version for version in versions if str(version) not in known.get(name, {})]
    if missing:
        world, planners = World(), [load_planner(f"dense:{version}", models) for version in missing]
        tried: list[list[bool]] = [[] for _ in missing]
        for seed in protocol.seeds:
            for number in range(protocol.rounds):
                for row, trial in zip(tried, run_round(world, planners, protocol, seed, number), strict=True):
                    row.append(trial.first_success)
        known[name] = {**known.get(name, {}), **{str(v): row for v, row in zip(missing, tried, strict=True)}}
        kept.parent.mkdir(parents=True, exist_ok=True)
        replace_file(kept, json.dumps(known).encode())
    return {version: known[name][str(version)] for version in versions}


def rate(successes: Sequence[bool]) -> dict[str, float]:
    return rate_with_interval(sum(successes), len(successes))


def by_object(models: Path, version: int, protocol: Protocol) -> list[tuple[str, bool]]:
    """(object, success) of each scene of a protocol of single objects."""
    world, planner = World(), load_planner(f"dense:{version}", models)
    found = []
    for seed in protocol.seeds:
        for number in range(protocol.rounds):
            [trial] = run_round(world, [planner], protocol, seed, number)
            found.append((next(iter(trial.log.objects)), trial.first_success))
    return found
