"""Outcomes per second of this tree and of another commit, in turn: what the machine does meanwhile falls on both."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.processes import python
from benchmarks.compare.trees import HERE, Tree, revision, tree_of
from benchmarks.scale.disk import busy_disk
from benchmarks.tables import keep, show

FIRST = Path(__file__).with_name("version_0_1.py")
LONGEST = 1800.0
"""s that one turn may take, its processes' start and what is left in the queue included."""
FIGURES = ("stored_per_second", "worker_ms", "ingest_ms", "queue_ms")


def compared(base: str, turns: int, load: dict[str, Any], writers: int, out: Path) -> int:
    """Measures both in turn, prints figures and ratios (of neighbours), and writes them; 1 where an outcome was lost or stored
    twice. load: settings of the benchmark; of version 0.1.0, which knows one stream, those it knows. writers: processes that
    write to the same disk all the time."""
    rows: dict[str, list[dict[str, float]]] = {"base": [], "head": []}
    with tree_of(base) as before, tree_of(HERE) as now, busy_disk(writers) as sync:
        print(f"{writers} other writers of this disk: a sync takes {1e3 * sync:.2f} ms (median)")
        for turn in range(turns):
            for name, tree in (("base", before), ("head", now)):
                rows[name].append(measured(tree, load))
                show(f"turn {turn + 1}, {name}", [{each: rows[name][-1][each] for each in ("stored", *FIGURES)}])
    ratios = [
        head["stored_per_second"] / first["stored_per_second"] for first, head in zip(rows["base"], rows["head"], strict=True)
    ]
    medians = {name: {each: float(np.median([row[each] for row in its])) for each in FIGURES} for name, its in rows.items()}
    show("medians", [{"tree": name, **figures} for name, figures in medians.items()])
    least, median, most = np.percentile(ratios, (0, 50, 100)).tolist()
    show("outcomes per second, head / base", [{"turns": turns, "least": least, "median": median, "most": most}])
    report = {"base": revision(base), "head": revision(HERE), "load": load, "writers": writers, "sync_ms": 1e3 * sync}
    keep(out, {**report, "turns": rows, "ratios": ratios})
    return int(any(row["lost"] or row["twice"] for its in rows.values() for row in its))


def measured(tree: Tree, load: dict[str, Any]) -> dict[str, float]:
    """One turn of a tree, by its own benchmark where it has one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = folder / "report.json"
        arguments: list[object] = [FIRST, json.dumps(load), report]
        if (tree.root / "benchmarks" / "scale").exists():
            options = [part for each, value in load.items() for part in (f"--{each}", value)]
            arguments = ["-m", "benchmarks.scale", *options, "--out", report]
        with python(tree, arguments, folder) as program:
            program.wait(LONGEST)
        row: dict[str, float] = json.loads(report.read_text())
        return row
