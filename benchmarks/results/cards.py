"""The same figures in the cards of the models that were measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.registry import Registry


def write_simulated(models: Path, results: Mapping[str, dict[str, Any]]) -> None:
    """Into each measured version's `simulated`: attempts, successes, rate and interval by row."""
    registry = Registry(models)
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, result in results.items():
        for planner, figures in result["planners"].items():
            if len(figures["models"]) == 1:
                found[figures["models"][0]][f"{name} ({planner})"] = {
                    **figures["attempts"],
                    **({"gsr": figures["gsr"], "dr": figures["dr"]} if result["protocol"]["kind"] != "single" else {}),
                }
    for spec, rows in found.items():
        name, _, version = spec.rpartition(":")
        if name in registry.names() and int(version) in registry.versions(name):
            registry.update(name, int(version), simulated={"protocols": dict(rows)})
