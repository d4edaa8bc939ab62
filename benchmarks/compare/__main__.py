"""`python -m benchmarks.compare --base COMMIT` (`make bench-compare BASE=COMMIT`): is this tree slower than that commit?

Plan times of every planner, of `tilted` (beside `dense`, where a tree has no `tilted`), what a decision towards one wanted
thing takes (beside the plan of `dense`, where a tree has no actions), what a request costs beside its plan (time of its client,
CPU time of the server), and grasps per second of the whole loop. Both trees are measured in turn, A B A B, in one run on one
machine: what the machine does meanwhile falls on both, and the ratios mean more than the figures. A ratio is of two neighbours;
above 1, this tree takes longer, or its loop makes more attempts.
"""

from __future__ import annotations

import math
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from benchmarks.compare.loop import attempts_per_second
from benchmarks.compare.speed import OVERHEADS, REQUESTS, cpu_ms, decision_ms, overhead_ms, plan_ms, serving, tilted_ms
from benchmarks.compare.trees import HERE, Tree, revision, tree_of
from benchmarks.tables import keep

Part = Literal["plan", "tilted", "action", "overhead", "loop"]
Measure = Callable[[Any], float]
"""A quantity of one arm: of its running server, or of its tree."""
SHORT = {"rounds": 2, "seconds": 0.3, "longest": 0.0, "loop_rounds": 1, "loop_seconds": 8.0}


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True, cli_implicit_flags=True)
    base: str = Field(description="commit to compare with")
    head: str = Field(HERE, description=f"commit that is compared; {HERE}: this tree as it lies, committed or not")
    parts: list[Part] = Field(["plan", "tilted", "action", "overhead", "loop"], description="what to measure")
    planners: list[str] = Field(list(REQUESTS), description="whose plan times to measure")
    rounds: int = Field(15, ge=1, description="turns of each tree for plan times and overhead")
    longest: float = Field(90.0, ge=0, description="no third or later turn begins after so many seconds of one of these")
    seconds: float = Field(1.0, gt=0, description="length of one turn")
    loop_rounds: int = Field(3, ge=1, description="turns of each tree for the loop")
    loop_seconds: float = Field(45.0, gt=0, description="length of one turn of the loop, after its first attempt")
    workers: int = Field(1, ge=1, description="workers of the loop")
    short: bool = Field(False, description=f"a look in a minute or two: {SHORT}")
    json_file: Path = Field(Path("runs/compare.json"), description="where the figures go")


@dataclass
class Figure:
    """One quantity of both trees, a value per turn."""

    name: str
    unit: str
    base: list[float] = field(default_factory=list)
    head: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [head / base for base, head in zip(self.base, self.head, strict=True)]

    def row(self) -> dict[str, Any]:
        least, median, most = np.percentile(self.ratios, (0, 50, 100)).tolist()
        return {
            "name": self.name, "unit": self.unit, "base": float(np.median(self.base)), "head": float(np.median(self.head)),
            "turns": len(self.base), "least": least, "median": median, "most": most,
            "base_turns": self.base, "head_turns": self.head,
        }  # fmt: skip


def main(settings: Settings) -> dict[str, Any]:
    """Measure, print and write; returns what is written."""
    if settings.short:
        settings = settings.model_copy(update=SHORT)
    with tree_of(settings.base) as base, tree_of(settings.head) as head:
        figures = [*served(settings, (base, head)), *looped(settings, (base, head))]
    rows = [figure.row() for figure in figures]
    show(Console(width=max(120, Console().width)), rows)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    report = {"base": revision(settings.base), "head": revision(settings.head), "machine": machine, "figures": rows}
    keep(settings.json_file, report)
    return report


def served(settings: Settings, trees: Sequence[Tree]) -> Iterator[Figure]:
    """Plan times and overheads; both servers stay up, and the one whose turn it is not does nothing."""
    measures: list[tuple[Figure, Measure]] = []
    if "plan" in settings.parts:
        measures += [(Figure(f"plan {name}", "ms"), _bound(plan_ms, name, settings.seconds)) for name in settings.planners]
    if "tilted" in settings.parts:
        measures.append((Figure("plan tilted", "ms"), _bound(tilted_ms, settings.seconds)))
    if "action" in settings.parts:
        measures.append((Figure("action", "ms"), _bound(decision_ms, settings.seconds)))
    if "overhead" in settings.parts:
        for name, function in (("overhead", overhead_ms), ("CPU per request", cpu_ms)):
            measures += [(Figure(f"{name} {size}", "ms"), _bound(function, size, settings.seconds)) for size in OVERHEADS]
    if not measures:
        return
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(tree)) for tree in trees]
        for figure, measure in measures:
            for server in servers:  # the first answer of a planner is no turn: caches fill
                measure(server)
            take_turns(figure, measure, servers, settings.rounds, settings.longest)
            yield figure


def looped(settings: Settings, trees: Sequence[Tree]) -> Iterator[Figure]:
    if "loop" in settings.parts:
        figure = Figure("loop", "attempts/s")
        measure = _bound(attempts_per_second, settings.loop_seconds, settings.workers)
        take_turns(figure, measure, trees, settings.loop_rounds)
        yield figure


def take_turns(figure: Figure, measure: Measure, arms: Sequence[Any], rounds: int, longest: float = math.inf) -> None:
    """Measure the arms alternately; longest: seconds after which only the first two turns still begin."""
    base, head = arms
    started = time.monotonic()
    for turn in range(rounds):
        if turn >= 2 and time.monotonic() - started > longest:
            return
        figure.base.append(measure(base))
        figure.head.append(measure(head))


def show(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    table = Table("", "base", "head", "", "turns", "head / base: least", "median", "most")
    for row in rows:
        values = [f"{row[name]:.4g}" for name in ("base", "head")]
        ratios = [f"{row[name]:.3f}" for name in ("least", "median", "most")]
        table.add_row(row["name"], *values, row["unit"], str(row["turns"]), *ratios)
    console.print(table)


def _bound(function: Callable[..., float], *arguments: Any) -> Measure:
    """The function of an arm alone."""
    return lambda arm: function(arm, *arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end with it
    main(CliApp.run(Settings))
