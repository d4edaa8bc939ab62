"""Is the promise kept? Quality of the grasps that were executed against what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

BINS = 10


def selected_grasps(result: dict[str, Any], planner: str) -> tuple[np.ndarray, np.ndarray]:
    """Promised quality and success (N,) of the grasps that a planner chose and a hand executed."""
    attempts = [attempt for trial in result["rounds"][planner] for attempt in trial["attempts"]]
    return np.array([a["quality"] for a in attempts], float), np.array([a["success"] for a in attempts], float)


def expected_error(predicted: np.ndarray, achieved: np.ndarray) -> float:
    """Expected calibration error over BINS equal-width bins (Guo et al. 2017)."""
    bins = np.minimum((predicted * BINS).astype(int), BINS - 1)
    gaps = [abs(predicted[bins == k].mean() - achieved[bins == k].mean()) * (bins == k).sum() for k in np.unique(bins)]
    return float(sum(gaps) / max(len(predicted), 1))


def draw_selected(results: Mapping[str, dict[str, Any]], path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Draws predicted against achieved for every row and planner that predicts; n, mean prediction, success and ECE of each."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(
        xlabel="predicted", ylabel="achieved", xlim=(0, 1), ylim=(0, 1), title="grasps that were executed"
    )
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name, result in results.items():
        for planner, figures in result["planners"].items():
            if not figures["predicted_quality"]:
                continue
            predicted, achieved = selected_grasps(result, planner)
            found[name, planner] = {
                "n": float(len(predicted)),
                "predicted": float(predicted.mean()),
                "achieved": float(achieved.mean()),
                "ece": expected_error(predicted, achieved),
            }
            marker = "o" if planner == "dense" else "x"
            axes.scatter([predicted.mean()], [achieved.mean()], label=f"{name}: {planner}", marker=marker)
    axes.legend(fontsize=6, loc="upper left")
    figure.savefig(path, dpi=110)
    return found
