"""`python -m benchmarks.analytic_score`: fit the weights of `antipodal`'s score and of `dense`'s blend to simulated grasps.

    COLLECT="python -m sim_worker.collect --profiles standard,hard --random 0 --edges 0 --models-dir models"
    $COLLECT --out data/score/train --seed 1201 --attempts 14000 --feasible 10 --on-policy 4
    $COLLECT --out data/score/validation --seed 1202 --object-set validation --attempts 10000 --feasible 8 --on-policy 8 \\
      --planner dense
    python -m benchmarks.analytic_score --train data/score/train --validation data/score/validation

The candidates are found again on every stored image, and each label goes to the one that was tried, with the features that its
score saw. A logistic regression on training objects gives the weights of the score; none gets negative, and those that keep the
best grasp tidy have a bound (`fit.LEAST`). The blend is fitted to the best grasps of `dense` on validation objects, and judged
there by cross-validation over scenes. Collect anew after a change of the weights: another score proposes other candidates.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.analytic_score.fit import blended, cross_validated, fit_blend, fit_score
from benchmarks.analytic_score.labels import Labels, read
from benchmarks.tables import keep, show
from planning.calibration import BLEND
from planning.jaw.search import JAW_WEIGHTS
from planning.local import local_planner
from trainer_job.evaluation.metrics import binary_metrics, log_losses, sigmoid


def figures(name: str, logits: np.ndarray, labels: Labels) -> dict[str, str | float]:
    """How good logits (N,) are. best: share of scenes in which the grasp that ranks first of those tried holds; promised: what
    these grasps promise on average."""
    scenes = [np.flatnonzero(labels.scene == each) for each in np.unique(labels.scene)]
    first = np.array([tried[np.argmax(logits[tried])] for tried in scenes])
    metrics = binary_metrics(labels.success, logits)
    wanted = {each: metrics[each] for each in ("log_loss", "brier", "ece", "ap")}
    best, promised = labels.success[first].mean(), sigmoid(logits[first]).mean()
    return {
        "weights": name,
        "n": len(logits),
        "scenes": len(scenes),
        **wanted,
        "best": float(best),
        "promised": float(promised),
    }


def gain(before: np.ndarray, after: np.ndarray, labels: Labels) -> tuple[float, float]:
    """By how much the log loss falls from logits before to after (N,), and its standard error over scenes."""
    fall = log_losses(labels.success, before) - log_losses(labels.success, after)
    sums = np.array([(fall[labels.scene == each] - fall.mean()).sum() for each in np.unique(labels.scene)])
    return float(fall.mean()), float(np.sqrt((sums**2).sum()) / len(fall))


def report(title: str, logits: dict[str, np.ndarray], labels: Labels) -> list[dict[str, Any]]:
    """Prints the figures of logits (N,), over all labels and for every profile, and what each gains over the first."""
    rows = []
    for profile in ("all", *np.unique(labels.profile)):
        which = np.flatnonzero((labels.profile == profile) | (profile == "all"))
        some = labels.pick(which)
        rows += [{"profile": str(profile), **figures(name, values[which], some)} for name, values in logits.items()]
    show(title, rows)
    first = next(iter(logits.values()))
    for name, values in list(logits.items())[1:]:
        Console().print("log loss of {} lower by {:.4f}, standard error {:.4f}".format(name, *gain(first, values, labels)))
    return rows


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.analytic_score", description=__doc__, formatter_class=raw)
    parser.add_argument("--train", type=Path, required=True, help="collection with training objects")
    parser.add_argument("--validation", type=Path, required=True, help="collection with validation objects")
    parser.add_argument("--models", type=Path, default=Path("models"), help="registry with the network of dense")
    parser.add_argument("--out", type=Path, default=Path("data/bench/analytic_score.json"))
    options = parser.parse_args()
    network = local_planner("dense", options.models).network
    assert network is not None
    train, validation = (read(folder, network) for folder in (options.train, options.validation))
    weights = fit_score(train)
    before, after = validation.score(JAW_WEIGHTS), validation.score(weights)
    rows = report("antipodal on validation objects", {"present": before, "fitted": after}, validation)
    blend = fit_blend(after, validation)
    answers = {
        "present": blended(before, validation, BLEND),
        "fitted score, present blend": blended(after, validation, BLEND),
        "fitted, cross-validated": cross_validated(after, validation),
    }
    rows += report("dense on validation objects", answers, validation)
    for name, value in (asdict(weights) | {f"blend.{name}": value for name, value in asdict(blend).items()}).items():
        Console().print(f"{name:14} {value:10.4g}")
    keep(options.out, {"train": len(train.success), "weights": asdict(weights), "blend": asdict(blend), "rows": rows})


if __name__ == "__main__":
    main()
