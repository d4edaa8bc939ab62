"""What episodes amount to: the metrics of published work on pushing to grasp, and policies in pairs."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from shared.rates import rate_with_interval
from sim_worker.benchmark.statistics import Interval, sign_test

DRAWS = 2000
"""Of the bootstrap."""
Row = dict[str, Any]
HIDDEN = "hidden_at_start"


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of one policy. completion: episodes in which the goal was lifted. grasp_success: of all attempts at the goal, and
    as mean over completed episodes. motions: of completed episodes. action_efficiency: goals lifted over motions of all
    episodes. Episodes whose goal is hidden from the start are counted apart."""
    seen = [row for row in rows if row["ended"] != HIDDEN]
    done = [row for row in seen if row["ended"] == "done"]
    attempts, failures = sum(row["attempts"] for row in seen), sum(row["failures"] for row in seen)
    return {
        "episodes": len(seen),
        "hidden": len(rows) - len(seen),
        "completion": rate_with_interval(len(done), len(seen)),
        "grasp_success": rate_with_interval(attempts - failures, attempts),
        "grasp_success_per_episode": _mean([1 - row["failures"] / row["attempts"] for row in done if row["attempts"]]),
        "motions": _mean([row["motions"] for row in done]),
        "action_efficiency": _mean(
            [row["ended"] == "done" for row in seen], lambda picked: _efficiency([seen[i] for i in picked]) if seen else 0.0
        ),
        "ended": dict(Counter(row["ended"] for row in seen)),
        "kinds": dict(Counter(kind for row in seen for kind in row["kinds"])),
    }


def _efficiency(rows: Sequence[Row]) -> float:
    motions = sum(row["motions"] for row in rows)
    return sum(row["ended"] == "done" for row in rows) / motions if motions else 0.0


def _mean(values: Sequence[float], figure: Callable[[np.ndarray], float] | None = None) -> dict[str, float]:
    """The mean, or a figure of the episodes at some places, with its percentile interval over redrawn episodes."""
    if not len(values):
        return asdict(Interval(0.0, 0.0, 0.0))
    array, random = np.asarray(values, dtype=float), np.random.default_rng(0)
    figure = figure or (lambda picked: float(array[picked].mean()))
    drawn = [figure(random.integers(len(array), size=len(array))) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return asdict(Interval(figure(np.arange(len(array))), float(low), float(high)))


def compare(rows: dict[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """Each pair of policies on the scenes that both have had: which completed, and which needed fewer motions (an episode that
    was not completed counts as the most there can be). Raises RuntimeError where they met different scenes."""
    compared = []
    for first, second in combinations(rows, 2):
        one, two = ({row["number"]: row for row in rows[name] if row["ended"] != HIDDEN} for name in (first, second))
        both = sorted(set(one) & set(two))
        if any(one[number]["hash"] != two[number]["hash"] for number in both):
            raise RuntimeError(f"{first} and {second} met different scenes: the simulation is not repeatable here")
        done = [[float(each[number]["ended"] == "done") for number in both] for each in (one, two)]
        motions = [[-_motions(each[number]) for number in both] for each in (one, two)]
        compared.append(
            {
                "policies": [first, second],
                "scenes": len(both),
                "completed": asdict(sign_test(*done)),
                "fewer_motions": asdict(sign_test(*motions)),
            }
        )
    return compared


def _motions(row: Row) -> float:
    return float(row["motions"]) if row["ended"] == "done" else math.inf


def print_results(console: Console, title: str, figures: dict[str, dict[str, Any]], compared: list[dict[str, Any]]) -> None:
    """The table that people read, and the comparisons below it."""
    table = Table(title=title, caption="95 % intervals; motions of completed episodes")
    for column in ("policy", "completion", "goal grasps", "motions", "action efficiency", "ended"):
        table.add_column(column, justify="left" if column in ("policy", "ended") else "right")
    for policy, each in figures.items():
        ended = ", ".join(f"{count} {how}" for how, count in sorted(each["ended"].items()) if how != "done") or "all done"
        hidden = f"; {each['hidden']} hidden from the start" if each["hidden"] else ""
        table.add_row(
            policy,
            f"{_rate(each['completion'])} of {each['episodes']}",
            f"{_rate(each['grasp_success'])} of {each['grasp_success']['attempts']}",
            str(Interval(**each["motions"])),
            str(Interval(**each["action_efficiency"])),
            ended + hidden,
        )
    console.print(table)
    for row in compared:
        first, second = row["policies"]
        done, fewer = row["completed"], row["fewer_motions"]
        console.print(
            f"{first} alone completed {done['first_only']} scenes, {second} {done['second_only']} of {row['scenes']} "
            f"(p = {done['p_value']:.2g}); fewer motions: {fewer['first_only']} to {fewer['second_only']} "
            f"(p = {fewer['p_value']:.2g})",
            highlight=False,
        )


def _rate(figure: dict[str, float]) -> str:
    return f"{figure['rate']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
