"""What the loop has learned so far: a table of versions, and a plot of success against version and outcomes.

python -m trainer_job.history [--models data/models] [--name dense] [--plot history.png] [--json]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.registry import ModelCard, Registry

COLUMNS = "version parent created outcomes AP Brier ECE base_rate simulated_success_(95_%) robots_success_(95_%) decision"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    registry = Registry(options.models)
    names = [options.name] if options.name else registry.names()
    if not names or not registry.versions(names[0]):
        raise SystemExit(
            f"no versions of {options.name or 'any model'} in {options.models}: is --models the registry's folder?"
        )
    cards = {name: [registry.card(name, version) for version in registry.versions(name)] for name in names}
    if options.json:
        print(json.dumps({name: [summary(card) for card in its] for name, its in cards.items()}, indent=2))
    else:
        for name, its in cards.items():
            print(f"{name}: champion {registry.champion(name)}, candidate {registry.candidate(name) or 'none'}")
            if test := registry.ab_test(name):
                print(test.text)
            print(table(its))
    if options.plot:
        plot(cards, options.plot)


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser("python -m trainer_job.history", description=__doc__, formatter_class=raw)
    parser.add_argument("--models", type=Path, default=Path("data/models"), help="registry")
    parser.add_argument("--name", help="only this model")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="where to draw success against version and outcomes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def summary(card: ModelCard) -> dict[str, Any]:
    """What a line of the table and a point of the plot need."""
    metrics = {name: card.metrics.get(name) for name in ("ap", "brier", "ece", "base_rate")}
    return {
        "version": card.version,
        "parent": card.parent,
        "created": card.created,
        "outcomes": card.outcomes.get("total") or card.outcomes.get("count") or 0,
        "removed": card.outcomes.get("removed") or 0,
        **metrics,
        "simulated": card.simulated,
        "robots": card.robots,
        "decisions": card.decisions,
    }


def table(cards: Sequence[ModelCard]) -> str:
    header = tuple(column.replace("_", " ") for column in COLUMNS.split())
    lines = [header, *(_line(summary(card)) for card in cards)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _line(version: dict[str, Any]) -> tuple[str, ...]:
    metrics = ["-" if version[name] is None else f"{version[name]:.3f}" for name in ("ap", "brier", "ece", "base_rate")]
    decision = version["decisions"][-1] if version["decisions"] else {"action": "-"}
    said = ": ".join(part for part in (decision["action"], decision.get("reason", "")) if part)
    rates = [_rate(version[where] or {}) for where in ("simulated", "robots")]
    outcomes = f"{version['outcomes']} ({version['removed']} removed)" if version["removed"] else str(version["outcomes"])
    numbers = (str(version["version"]), str(version["parent"] or "-"), version["created"][:16], outcomes)
    return (*numbers, *metrics, *rates, said)


def _rate(found: dict[str, Any]) -> str:
    if not found.get("attempts"):
        return "-"
    return f"{found['rate']:.1%} [{found['low']:.1%}, {found['high']:.1%}] n={found['attempts']}"


def plot(cards: dict[str, list[ModelCard]], path: Path) -> None:
    """Simulated success with its interval against version and against outcomes."""
    from trainer_job.evaluation.figures import new_figure

    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    for name, its in cards.items():
        measured = [s for s in map(summary, its) if s["simulated"] and s["simulated"].get("attempts")]
        rates, low, high = (np.array([s["simulated"][key] for s in measured]) for key in ("rate", "low", "high"))
        for axes, key in ((left, "version"), (right, "outcomes")):
            at = [s[key] for s in measured]
            axes.errorbar(at, rates, [rates - low, high - rates], marker="o", capsize=3, label=name)
    left.set(xlabel="version", ylabel="simulated success, 95 % interval", ylim=(0, 1.02))
    right.set(xlabel="stored outcomes when it was trained")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
