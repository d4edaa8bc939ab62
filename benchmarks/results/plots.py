"""Success of every row and planner with its interval, and the goal beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.results.rows import Row


def draw_success(rows: Sequence[Row], results: Mapping[str, dict[str, Any]], path: Path) -> None:
    """Success rate of an attempt (GSR where a scene is cleared), 95 % intervals, one line per row and planner."""
    lines = [(row, planner) for row in rows for planner in results[row.name]["planners"]]
    figure = Figure(figsize=(9, 0.32 * len(lines) + 1.2), layout="constrained")
    axes = figure.add_subplot(xlabel="success of an attempt", xlim=(0, 1.01))
    for place, (row, planner) in enumerate(lines):
        figures = results[row.name]["planners"][planner]
        rate = figures["first_attempt"] if row.measure == "success" else {**figures["gsr"], "rate": figures["gsr"]["value"]}
        own = planner == row.planners[0]
        span = [[rate["rate"] - rate["low"]], [rate["high"] - rate["rate"]]]
        axes.errorbar(
            [rate["rate"]], [place], xerr=span, fmt="o" if own else "x", color="tab:blue" if own else "grey", capsize=3
        )
        if own and row.goal:
            axes.plot([row.goal[0]] * 2, [place - 0.4, place + 0.4], color="tab:red")
    axes.set_yticks(range(len(lines)), [f"{row.title}, {row.profile}: {planner}" for row, planner in lines], fontsize=7)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_title("95 % intervals; red: what is asked of the planner of the row", fontsize=8)
    figure.savefig(path, dpi=110)
