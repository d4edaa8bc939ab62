"""The results as a page that people read. Pure: figures in, Markdown out.

The figures are what lies beside the page as JSON, so that the page can be made again from it, and by a later version too.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results.rows import Row
from shared.registry import ModelCard, Registry

BASELINES = ("random", "centroid")
HEAD = """# Results

What the planners and the models that ship achieve in simulation, measured by `make evaluate`. Objects `test`: random shapes
900–999 and procedural objects of other seeds, of which nothing was learned and to which nothing was tuned; the household
things are no part of what is learned either. The strict contact rule unless said otherwise: whatever the open hand touches on
its way in is a failure. With `--hand mesh` the Panda hand's own meshes execute. In a row all planners meet identical scenes and
pose errors. Intervals are 95 %: Wilson for single attempts, bootstrap over rounds for GSR and DR
([what they mean](explanation/simulation.md)).

![success of every planner](results/success.png)
"""


MADE = """By the steps of `make pretrain`; each card (`models/<name>/<version>/card.json`) holds the full record. Learned from
and held out: simulated attempts; of `heatmap`, pictures with 20 or 60 attempts each were learned from, and by the network
beside its maps 59,648 windows with true heights, of other scenes, and 116,520 grasps tried in 21,840 more, in 98 of the
minutes. Training: wall clock, while the machine had other work, too. `dense` and `suction-dense` learned from the first part
of what their steps collect: 8,339 attempts of a jaw, then 24,609, a share of them proposed by the version that had learned from
the first, and 20,818 of cups; hands, cups, cameras and bins were drawn for every scene.

Collecting, one process on the same machine, wall clock from the first shard to the last: 56,000 over the table for `heatmap` in
71 min and its 66,000 windows in 17 min, where hands fit over them in 11 more, 126,000 grasps tried in windows in 54."""
PAIR_COLUMNS = ["row", "planners", "only the first", "only the second", "ties", "p"]
PAIR_NOTE = "Scenes in which only one of the two succeeded (where scenes are cleared: removed more), exact sign test."
MODEL_COLUMNS = ["model", "architecture", "learned from", "held out", "AP", "AUC", "Brier", "ECE", "size", "training", "on"]
TOLD_NOTE = """Told what failed: each request names the grasps that failed in the round where nothing was taken away since
([how](reference/planners.md#after-a-failure)); the scenes are those of the rows without."""
CURVE = """Success of `dense` on single unseen objects, and how well it ranks held-out attempts, against the attempts that it
learned from, each time from random weights (`python -m benchmarks.results.curve`, figures in [curve.json](results/curve.json)):

![success against attempts](results/curve.png)"""


def figures_of(
    rows: Sequence[Row],
    results: Mapping[str, dict[str, Any]],
    selected: Mapping[tuple[str, str], Mapping[str, float]],
    models: Path,
    curve: bool = False,
) -> dict[str, Any]:
    """All that the page shows, as JSON. curve: whether results/curve.png lies beside the page."""
    kept = ("first_attempt", "gsr", "dr", "attempts", "failures", "models")
    measured = [
        {
            "name": row.name,
            "title": row.title,
            "profile": row.profile,
            "measure": row.measure,
            "goal": list(row.goal),
            "command": shlex.join(row.arguments(row.rounds)),
            "seconds": results[row.name].get("seconds", 0),
            "told": "failures" in results[row.name]["protocol"]["inputs"],
            "planners": {
                planner: {key: its[key] for key in kept if key in its} for planner, its in results[row.name]["planners"].items()
            },
            "pairs": list(_pairs(results[row.name])),
        }
        for row in rows
    ]
    calibration = [{"row": row, "planner": planner, **of} for (row, planner), of in selected.items()]
    return {"note": "", "rows": measured, "calibration": calibration, "models": _models(models), "made": MADE, "curve": curve}


def page(figures: Mapping[str, Any], models: Path) -> str:
    """docs/results.md. models: the registry that ships now."""
    rows = figures["rows"]
    parts = [
        HEAD,
        figures["note"],
        _earlier(rows, Registry(models)),
        _single([row for row in rows if row["measure"] == "success"]),
        _clearing([row for row in rows if row["measure"] == "gsr_dr"]),
        _table("Paired comparisons", PAIR_COLUMNS, [[row["name"], *pair] for row in rows for pair in row["pairs"]], PAIR_NOTE),
        _calibration(figures["calibration"]),
        _table(
            "How the models were made",
            MODEL_COLUMNS,
            figures["models"],
            figures["made"] + ("\n\n" + CURVE if figures["curve"] else ""),
        ),
        _again(rows),
    ]
    return "\n".join(part for part in parts if part)


def _table(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]], note: str = "") -> str:
    """A section with one table; nothing when it has no line."""
    if not lines:
        return ""
    cells = [columns, ["---"] * len(columns), *lines]
    table = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return f"## {title}\n\n{table}\n" + (f"\n{note}\n" if note else "")


def _single(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row, planner, figures in _measured(rows):
        first = figures["first_attempt"]
        rate = f"{first['rate']:.3f} [{first['low']:.3f}, {first['high']:.3f}]"
        goal = _goal(row, planner)
        lines.append([row["title"], row["profile"], f"`{planner}`", rate, str(first["attempts"]), goal, _failures(figures)])
    return _table("One attempt per scene", ["protocol", "profile", "planner", "success", "n", "goal", "failures"], lines)


def _clearing(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row, planner, figures in _measured(rows):
        gsr, dr = (f"{f['value']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in (figures["gsr"], figures["dr"]))
        attempts, goal = str(figures["attempts"]["attempts"]), _goal(row, planner)
        lines.append([row["title"], row["profile"], f"`{planner}`", gsr, dr, attempts, goal, _failures(figures)])
    columns = ["protocol", "profile", "planner", "GSR", "DR", "attempts", "goal", "failures"]
    return _table("Clearing", columns, lines, TOLD_NOTE if any(row["told"] for row in rows) else "")


def _measured(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    for row in rows:
        for planner, figures in row["planners"].items():
            yield row, planner, figures


def _earlier(rows: Sequence[dict[str, Any]], registry: Registry) -> str:
    """Says which rows were measured with other versions than ship; nothing when none was."""
    ships = {f"{name}:{registry.champion(name)}" for name in registry.names()}
    found = [
        f"`{row['name']}` ({', '.join(its['models'])})" for row, _, its in _measured(rows) if set(its.get("models", ())) - ships
    ]
    return f"Measured with other versions than those that ship now: {', '.join(found)}.\n" if found else ""


def _goal(row: Mapping[str, Any], planner: str) -> str:
    return " / ".join(f"{value:.2f}" for value in row["goal"]) if planner == next(iter(row["planners"])) else ""


def _failures(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {cause}" for cause, count in sorted(figures["failures"].items())) or "none"


def _pairs(result: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line for each two planners of a row: who succeeded alone how often, ties, p."""
    clearing = result["protocol"]["kind"] != "single"
    for pair in result["comparisons"]:
        if set(pair["planners"]) & set(BASELINES):
            continue
        figure = pair["removed"] if clearing else pair["first_attempt"]
        planners = ", ".join(f"`{planner}`" for planner in pair["planners"])
        yield [planners, *(str(figure[key]) for key in ("first_only", "second_only", "ties")), f"{figure['p_value']:.2g}"]


def _calibration(selected: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        [of["row"], f"`{of['planner']}`", f"{of['n']:.0f}", *(f"{of[key]:.3f}" for key in ("predicted", "achieved", "ece"))]
        for of in selected
    ]
    note = (
        "Of the grasps that were chosen and executed: an argmax is optimistic, so this asks more than calibration on all grasps"
        " does.\n\n![predicted and achieved](results/calibration.png)"
    )
    return _table("Calibration", ["row", "planner", "n", "predicted", "achieved", "ECE"], lines, note)


def _models(models: Path) -> list[list[str]]:
    """A line for each champion of a registry."""
    registry = Registry(models)
    lines = []
    for name in registry.names():
        version = registry.champion(name)
        if version is not None:
            size = registry.weights_path(name, version).stat().st_size / 1e6
            lines.append(_model(registry.card(name, version), size))
    return lines


def _model(card: ModelCard, megabytes: float) -> list[str]:
    training: dict[str, Any] = getattr(card, "training", {})
    learned = card.outcomes.get("count") or training.get("examples", "")
    metrics = [f"{card.metrics[key]:.3f}" if key in card.metrics else "" for key in ("ap", "auc", "brier", "ece")]
    held_out = f"{card.metrics['n']:.0f}" if "n" in card.metrics else ""
    taken = f"{training['seconds'] / 60:.0f} min" if "seconds" in training else ""
    made = [taken, training.get("machine", "")]
    return [f"`{card.name}`", card.architecture, str(learned), held_out, *metrics, f"{megabytes:.1f} MB", *made]


def _again(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## Measure again", "", "`make evaluate`, or row by row with `python -m sim_worker.benchmark`:", "", "```"]
    lines += [f"{row['command']}    # {row['seconds']:.0f} s" for row in rows]
    return "\n".join([*lines, "```", ""])
