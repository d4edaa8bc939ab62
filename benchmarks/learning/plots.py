"""Success and ranking against attempts, as PNG."""

from __future__ import annotations

import json
from pathlib import Path

from trainer_job.evaluation.figures import new_figure

GOAL = 0.8


def draw(out: Path, target: Path) -> Path:
    """From random weights: success in service on unseen objects, and AUC on fixed labels, of every seed that is whole."""
    reports = [json.loads(path.read_bytes()) for path in sorted(out.glob("scratch-*.json"))]
    if not reports:
        raise SystemExit(f"no scratch-*.json in {out}: run `python -m benchmarks.learning scratch --seed 0 --out {out}` first")
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2)
    for report in reports:
        served, label = report["served"], f"seed {report['seed']}"
        counts = [point["after"] for point in served]
        line = left.step([*counts, report["attempts"]], [*(p["rate"] for p in served), served[-1]["rate"]], where="post")[0]
        errors = [[p["rate"] - p["low"] for p in served], [p["high"] - p["rate"] for p in served]]
        left.errorbar(counts, [p["rate"] for p in served], errors, fmt="o", capsize=3, color=line.get_color(), label=label)
        versions = report["versions"]
        right.plot([v["learned_from"] for v in versions], [v["auc"] for v in versions], marker="o", label=label)
    left.axhline(GOAL, color="grey", linewidth=0.8)
    left.set(xlabel="attempts of the loop, trials of the judge included", ylabel="success on unseen objects, 95 % interval")
    left.set_ylim(0.5, 1)
    right.set(xlabel="attempts learned from", ylabel="AUC on fixed labels of unseen objects")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    target.mkdir(parents=True, exist_ok=True)
    figure.savefig(target / "from_random_weights.png", dpi=100)
    return target / "from_random_weights.png"
