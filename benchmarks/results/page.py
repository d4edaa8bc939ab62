"""The results as a page that people read. Pure: results in, Markdown out."""

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
TOLD_NOTE = """Told what failed: each request names the grasps that failed in the round where nothing was taken away since
([how](reference/planners.md#after-a-failure)); the scenes are those of the rows without."""
CURVE = """Success of `dense` on single unseen objects, and how well it ranks held-out attempts, against the attempts that it
learned from, each time from random weights (`python -m benchmarks.results.curve`, figures in [curve.json](results/curve.json)):

![success against attempts](results/curve.png)"""


def page(
    rows: Sequence[Row],
    results: Mapping[str, dict[str, Any]],
    selected: Mapping[tuple[str, str], Mapping[str, float]],
    models: Path,
    curve: bool = False,
) -> str:
    """docs/results.md. curve: whether results/curve.png lies beside it."""
    parts = [
        HEAD,
        _earlier(results, Registry(models)),
        _single([row for row in rows if row.measure == "success"], results),
        _clearing([row for row in rows if row.measure == "gsr_dr"], results),
        _paired(results),
        _calibration(selected),
        _models(models, curve),
        _again(rows, results),
    ]
    return "\n".join(part for part in parts if part)


def _table(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]], note: str = "") -> str:
    """A section with one table; nothing when it has no line."""
    if not lines:
        return ""
    cells = [columns, ["---"] * len(columns), *lines]
    table = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return f"## {title}\n\n{table}\n" + (f"\n{note}\n" if note else "")


def _single(rows: Sequence[Row], results: Mapping[str, dict[str, Any]]) -> str:
    lines = []
    for row, planner, figures in _measured(rows, results):
        first = figures["first_attempt"]
        rate = f"{first['rate']:.3f} [{first['low']:.3f}, {first['high']:.3f}]"
        goal = _goal(row, planner)
        lines.append([row.title, row.profile, f"`{planner}`", rate, str(first["attempts"]), goal, _failures(figures)])
    return _table("One attempt per scene", ["protocol", "profile", "planner", "success", "n", "goal", "failures"], lines)


def _clearing(rows: Sequence[Row], results: Mapping[str, dict[str, Any]]) -> str:
    lines = []
    for row, planner, figures in _measured(rows, results):
        gsr, dr = (f"{f['value']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in (figures["gsr"], figures["dr"]))
        attempts = str(figures["attempts"]["attempts"])
        lines.append([row.title, row.profile, f"`{planner}`", gsr, dr, attempts, _goal(row, planner), _failures(figures)])
    columns = ["protocol", "profile", "planner", "GSR", "DR", "attempts", "goal", "failures"]
    told = any("failures" in results[row.name]["protocol"]["inputs"] for row in rows)
    return _table("Clearing", columns, lines, TOLD_NOTE if told else "")


def _measured(rows: Sequence[Row], results: Mapping[str, dict[str, Any]]) -> Iterator[tuple[Row, str, dict[str, Any]]]:
    for row in rows:
        for planner, figures in results[row.name]["planners"].items():
            yield row, planner, figures


def _earlier(results: Mapping[str, dict[str, Any]], registry: Registry) -> str:
    """Says which rows were measured with other versions than ship; nothing when none was."""
    ships = {f"{name}:{registry.champion(name)}" for name in registry.names()}
    planners = ((row, figures) for row, result in results.items() for figures in result["planners"].values())
    rows = [f"`{row}` ({', '.join(figures['models'])})" for row, figures in planners if set(figures["models"]) - ships]
    return f"Measured with other versions than those that ship now: {', '.join(rows)}.\n" if rows else ""


def _goal(row: Row, planner: str) -> str:
    return " / ".join(f"{value:.2f}" for value in row.goal) if planner == row.planners[0] else ""


def _failures(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {cause}" for cause, count in sorted(figures["failures"].items())) or "none"


def _paired(results: Mapping[str, dict[str, Any]]) -> str:
    lines = []
    for name, result in results.items():
        clearing = result["protocol"]["kind"] != "single"
        for pair in result["comparisons"]:
            if set(pair["planners"]) & set(BASELINES):
                continue
            figure = pair["removed"] if clearing else pair["first_attempt"]
            planners = ", ".join(f"`{planner}`" for planner in pair["planners"])
            counts = [str(figure[key]) for key in ("first_only", "second_only", "ties")]
            lines.append([name, planners, *counts, f"{figure['p_value']:.2g}"])
    note = "Scenes in which only one of the two succeeded (where scenes are cleared: removed more), exact sign test."
    return _table("Paired comparisons", ["row", "planners", "only the first", "only the second", "ties", "p"], lines, note)


def _calibration(selected: Mapping[tuple[str, str], Mapping[str, float]]) -> str:
    lines = [
        [name, f"`{planner}`", f"{of['n']:.0f}", *(f"{of[key]:.3f}" for key in ("predicted", "achieved", "ece"))]
        for (name, planner), of in selected.items()
    ]
    note = (
        "Of the grasps that were chosen and executed: an argmax is optimistic, so this asks more than calibration on all grasps"
        " does.\n\n![predicted and achieved](results/calibration.png)"
    )
    return _table("Calibration", ["row", "planner", "n", "predicted", "achieved", "ECE"], lines, note)


def _models(models: Path, curve: bool) -> str:
    registry = Registry(models)
    lines = []
    for name in registry.names():
        version = registry.champion(name)
        if version is not None:
            size = registry.weights_path(name, version).stat().st_size / 1e6
            lines.append(_model(registry.card(name, version), size))
    columns = ["model", "architecture", "learned from", "held out", "AP", "AUC", "Brier", "ECE", "size", "training", "on"]
    return _table("How the models were made", columns, lines, MADE + ("\n\n" + CURVE if curve else ""))


def _model(card: ModelCard, megabytes: float) -> list[str]:
    training: dict[str, Any] = getattr(card, "training", {})
    learned = card.outcomes.get("count") or training.get("examples", "")
    metrics = [f"{card.metrics[key]:.3f}" if key in card.metrics else "" for key in ("ap", "auc", "brier", "ece")]
    held_out = f"{card.metrics['n']:.0f}" if "n" in card.metrics else ""
    taken = f"{training['seconds'] / 60:.0f} min" if "seconds" in training else ""
    made = [taken, training.get("machine", "")]
    return [f"`{card.name}`", card.architecture, str(learned), held_out, *metrics, f"{megabytes:.1f} MB", *made]


def _again(rows: Sequence[Row], results: Mapping[str, dict[str, Any]]) -> str:
    lines = ["## Measure again", "", "`make evaluate`, or row by row with `python -m sim_worker.benchmark`:", "", "```"]
    for row in rows:
        lines.append(f"{shlex.join(row.arguments(row.rounds))}    # {results[row.name].get('seconds', 0):.0f} s")
    return "\n".join([*lines, "```", ""])
