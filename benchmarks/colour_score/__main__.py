"""`python -m benchmarks.colour_score`: fit the weights by which `heatmap` ranks places in colour alone, and what it promises.

    python -m benchmarks.colour_score --scenes 800 --out data/colour_score.npz

Scenes of validation objects, in plain and photographic looks by turns, are planned in by colour, camera and table distance. The
best candidate and a few of the next best are tried. A logistic regression of success on what the score adds up gives its
weights, another one, of the best candidates alone, the tempering of its logits (Platt 1999). Both are judged by
cross-validation over scenes. Fit anew after a change of the network: `planning/rgb/ranking.py` holds the weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from benchmarks.analytic_score.fit import fit
from benchmarks.colour_score.trials import Trials, try_scenes
from benchmarks.tables import show
from planning.rgb.ranking import RANK_WEIGHTS, TEMPERED, RankWeights, tempered
from trainer_job.evaluation.metrics import binary_metrics, sigmoid

FOLDS = 5
FREE = np.array([0.0, 0.0, 0.0, 0.0, -np.inf])
"""Least weights: no term counts against success."""


def weights_of(trials: Trials) -> RankWeights:
    """By logistic regression on all that was tried."""
    design = np.concatenate([trials.terms, np.ones((len(trials.held), 1))], 1)
    return RankWeights(*map(float, fit(design, np.zeros(len(design)), trials.held, FREE)))


def tempering_of(logits: np.ndarray, trials: Trials) -> tuple[float, float]:
    """Slope and intercept for logits (N,), of the best candidates."""
    best = trials.first
    design = np.stack([logits[best], np.ones(best.sum())], 1)
    slope, intercept = fit(design, np.zeros(len(design)), trials.held[best], np.array([0.0, -np.inf]))
    return float(slope), float(intercept)


def promised_by(logits: np.ndarray, tempering: tuple[float, float]) -> np.ndarray:
    """Logits (N,) of what the planner would promise."""
    result: np.ndarray = tempered(torch.from_numpy(logits), tempering).numpy()
    return result


def cross_validated(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N,) and what is promised by them, logits (N,) too, by what was fitted on scenes of the other folds."""
    logits, promised = np.zeros(len(trials.held)), np.zeros(len(trials.held))
    for fold in range(FOLDS):
        inside = trials.scene % FOLDS == fold
        others = trials.pick(~inside)
        weights = weights_of(others)
        logits[inside] = trials.pick(inside).logits(weights)
        promised[inside] = promised_by(logits[inside], tempering_of(others.logits(weights), others))
    return logits, promised


def figures(name: str, trials: Trials, logits: np.ndarray, promised: np.ndarray) -> dict[str, str | float]:
    """Of the logits (N,) of all that was tried, and of what is promised of the best of each scene."""
    ranked, best = binary_metrics(trials.held, logits), binary_metrics(trials.held[trials.first], promised[trials.first])
    return {
        "weights": name,
        "tried": len(logits),
        "auc": ranked["auc"],
        "log loss": ranked["log_loss"],
        "best": int(trials.first.sum()),
        "held": float(trials.held[trials.first].mean()),
        "promised": float(sigmoid(promised[trials.first]).mean()),
        "ece": best["ece"],
    }


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.colour_score", description=__doc__.split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--object-set", default="validation", choices=("train", "validation"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--out", type=Path, required=True, help="NPZ file of what was tried; read where it is there")
    options = parser.parse_args()
    if options.out.exists():
        trials = Trials.read(options.out)
    else:
        trials = try_scenes(options.scenes, options.seed, options.object_set, options.models_dir)
        trials.write(options.out)
    weights = weights_of(trials)
    shipped = trials.logits(RANK_WEIGHTS)
    fitted, promised = cross_validated(trials)
    rows = []
    for name, kept in (("all", None), ("plain", False), ("photographic", True)):
        some = np.ones(len(shipped), bool) if kept is None else trials.photographic == kept
        part = trials.pick(some)
        rows.append(figures(f"{name}, now", part, shipped[some], promised_by(shipped[some], TEMPERED)))
        rows.append(figures(f"{name}, fitted", part, fitted[some], promised[some]))
    show("what ranks places (fitted: by cross-validation)", rows)
    Console().print(weights, "tempered by", tempering_of(trials.logits(weights), trials))


if __name__ == "__main__":
    main()
