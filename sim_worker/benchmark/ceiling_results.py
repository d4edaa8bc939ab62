"""What ceilings amount to: rates of the best poses and of the planners' own, and how much of the distance is closed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from shared.rates import wilson
from sim_worker.benchmark.ceiling import CeilingState, Search
from sim_worker.benchmark.trials import Protocol


def ceiling_json(protocol: Protocol, search: Search, specs: Sequence[str], states: Sequence[CeilingState]) -> dict[str, Any]:
    """All of it. closed: of the distance from the last planner to the ceiling, the share that another one has closed; None
    where there is no other, or no distance."""
    top = _rate([state.best for state in states])
    own = {spec: _rate([[failure is None for failure in state.own[spec]] for state in states]) for spec in specs}
    start = own[specs[-1]]["rate"]
    planners = {}
    for spec in specs:
        failures = Counter(failure for state in states for failure in state.own[spec] if failure)
        distance = top["rate"] - start
        closed = (own[spec]["rate"] - start) / distance if distance > 0 and spec != specs[-1] else None
        promised = [quality for state in states if (quality := state.quality[spec]) is not None]
        planners[spec] = {
            **own[spec],
            "closed": closed,
            "failures": dict(failures),
            "promised": sum(promised) / len(promised) if promised else None,
        }
    return {
        "protocol": protocol.model_dump(mode="json"),
        "search": asdict(search),
        "states": len(states),
        "ceiling": top,
        "none_held": sum(state.held == 0 for state in states),
        "poses": min((state.poses for state in states), default=0),
        "planners": planners,
        "rows": [asdict(state) for state in states],
    }


def _rate(outcomes: Sequence[Sequence[bool]]) -> dict[str, float]:
    """Mean over states and draws, with a Wilson interval as if each state had been tried once: its draws are related."""
    count = len(outcomes)
    rate = sum(sum(each) / len(each) for each in outcomes) / count if count else 0.0
    low, high = wilson(round(rate * count), count)
    return {"rate": rate, "low": low, "high": high}


def print_ceiling(console: Console, result: dict[str, Any]) -> None:
    """The table that people read."""
    protocol, search = result["protocol"], result["search"]
    picks = (
        "the first pick" if search["picks"] == 1 else f"the first {search['picks']} picks, the best pose's thing taken away,"
    )
    title = (
        f"{protocol['kind']}, objects {protocol['objects_dir'] or protocol['object_set']}, profile {protocol['profile']}, "
        f"{protocol['hand']} hand: {result['states']} states, {picks}"
    )
    caption = (
        f"best of {result['poses']} poses, chosen under {search['draws'] // 2} draws of the pose error; all "
        f"scored under {search['draws'] // 2} others; no pose held in {result['none_held']} states; 95 % intervals"
    )
    table = Table(title=title, caption=caption)
    for column in ("planner", "its best grasp", "closed", "promised", "failures"):
        table.add_column(column, justify="left" if column in ("planner", "failures") else "right")
    table.add_row("best pose", _interval(result["ceiling"]), "", "", "")
    for spec, figures in result["planners"].items():
        failures = ", ".join(f"{count} {cause}" for cause, count in sorted(figures["failures"].items())) or "none"
        closed, promised = (f"{value:.2f}" if value is not None else "" for value in (figures["closed"], figures["promised"]))
        table.add_row(spec, _interval(figures), closed, promised, failures)
    console.print(table)


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['rate']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
