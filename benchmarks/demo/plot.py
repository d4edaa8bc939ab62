"""The curve of a demo: what was lifted, attempt by attempt, and both versions in the scenes of the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.running import stored
from shared.rates import wilson
from trainer_job.evaluation.figures import new_figure

WINDOW = 40
"""Best grasps of a version that a point of the curve counts."""


def served(data: Path) -> dict[int, list[tuple[int, bool]]]:
    """{version: (number of the attempt, success) of its best grasps, in order}, as the loop stored them."""
    found: dict[int, list[tuple[int, bool]]] = {}
    for number, (_, meta) in enumerate(stored(data)):
        if not meta.get("exploration") and meta.get("model"):
            found.setdefault(int(meta["model"]["version"]), []).append((number, bool(meta["success"])))
    return found


def curve(attempts: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Success of the last WINDOW attempts of one version: number (N,), rate (N,), 95 % interval (N, 2)."""
    results = [success for _, success in attempts]
    ends = range(max(1, min(WINDOW // 2, len(results))), len(results) + 1)
    sums = [(sum(results[max(0, end - WINDOW) : end]), min(end, WINDOW)) for end in ends]
    numbers = np.array([attempts[end - 1][0] for end in ends])
    rates = np.array([successes / count for successes, count in sums])
    return numbers, rates, np.array([wilson(successes, count) for successes, count in sums]).reshape(-1, 2)


def draw(data: Path, report: dict[str, Any], path: Path) -> None:
    """PNG of the curve, and of before and after."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    names = {report["before"]["version"]: "shipped version", report["after"]["version"]: "learned version"}
    for version, attempts in sorted(served(data).items()):
        numbers, rates, bounds = curve(attempts)
        line = left.plot(numbers, rates, label=f"{names.get(version, 'version')} ({version})")[0]
        left.fill_between(numbers, bounds[:, 0], bounds[:, 1], alpha=0.15, color=line.get_color(), linewidth=0)
    left.axvline(report["attempts_until_served"], color="grey", linewidth=0.8, linestyle="--")
    left.set(xlabel="attempts of the loop", ylabel=f"lifted, of the last {WINDOW} of each version", ylim=(0, 1.02))
    left.legend(loc="lower right")
    for place, when in enumerate(("before", "after")):
        its = report[when]
        error = [[its["rate"] - its["low"]], [its["high"] - its["rate"]]]
        right.bar(place, its["rate"], yerr=error, capsize=4, color=f"C{place}")
    right.set(xticks=[0, 1], xticklabels=["before", "after"], title=f"other hammers, n = {report['gain']['n']}")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
