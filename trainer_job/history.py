"""What the loop has learned so far: a table of versions, and a plot of success against version and outcomes.

python -m trainer_job.history [--models data/models] [--name dense] [--plot history.png] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.registry import ModelCard, Registry

COLUMNS = (
    "version",
    "parent",
    "created",
    "outcomes",
    "AP",
    "Brier",
    "ECE",
    "base rate",
    "simulated success (95 %)",
    "decision",
)


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
        **metrics,
        "simulated": card.simulated,
        "decisions": card.decisions,
    }


def table(cards: Sequence[ModelCard]) -> str:
    lines = [COLUMNS, *(_line(summary(card)) for card in cards)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def _line(version: dict[str, Any]) -> tuple[str, ...]:
    metrics = ["-" if version[name] is None else f"{version[name]:.3f}" for name in ("ap", "brier", "ece", "base_rate")]
    decision = version["decisions"][-1] if version["decisions"] else {"action": "-"}
    said = ": ".join(part for part in (decision["action"], decision.get("reason", "")) if part)
    parent = "-" if version["parent"] is None else str(version["parent"])
    return (
        str(version["version"]),
        parent,
        version["created"][:16],
        str(version["outcomes"]),
        *metrics,
        _rate(version["simulated"]),
        said,
    )


def _rate(simulated: dict[str, Any] | None) -> str:
    if not simulated or not simulated.get("attempts"):
        return "-"
    return f"{simulated['rate']:.1%} [{simulated['low']:.1%}, {simulated['high']:.1%}] n={simulated['attempts']}"


def plot(cards: dict[str, list[ModelCard]], path: Path) -> None:
    """Simulated success with its interval against version and against outcomes."""
    from trainer_job.evaluation.figures import new_figure

    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    for name, its in cards.items():
        measured = [s for s in map(summary, its) if s["simulated"] and s["simulated"].get("attempts")]
        rates = [s["simulated"]["rate"] for s in measured]
        errors = [
            [rate - s["simulated"]["low"] for rate, s in zip(rates, measured, strict=True)],
            [s["simulated"]["high"] - rate for rate, s in zip(rates, measured, strict=True)],
        ]
        left.errorbar([s["version"] for s in measured], rates, errors, marker="o", capsize=3, label=name)
        right.errorbar([s["outcomes"] for s in measured], rates, errors, marker="o", capsize=3, label=name)
    left.set(xlabel="version", ylabel="simulated success, 95 % interval", ylim=(0, 1.02))
    right.set(xlabel="stored outcomes when it was trained")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
