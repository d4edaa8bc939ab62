"""What a model knows about a data set, and what the data set holds.

    python -m trainer_job.analyze --recipe gqcnn-jaw-dexnet2 --data FOLDER [--model gqcnn-jaw --version 3] --out FOLDER

Writes statistics.json and gallery.png of what is learned from; with --model also metrics.json (AP, base rate, accuracy, Brier,
ECE, and precision and recall by threshold), precision_recall.png, reliability.png and mistakes.png, all on what is held out.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from shared.registry import Registry, RegistryError
from trainer_job.data.examples import Dataset, FeatureBatch
from trainer_job.evaluation.calibration import as_served
from trainer_job.evaluation.figures import draw_crops, draw_precision_recall, draw_reliability
from trainer_job.evaluation.metrics import binary_metrics, sigmoid
from trainer_job.promotion.publish import load_network
from trainer_job.tasks import task_of
from trainer_job.tasks.gqcnn import CropTask, crops_of
from trainer_job.training.recipe import load, shipped

THRESHOLDS = 81
GALLERY = 25
MEASURED = 10_000
"""Crops over whose pixels statistics are taken."""


def statistics(data: Dataset[FeatureBatch]) -> dict[str, float]:
    """Counts, share of positives, and mean and deviation of crops, gripper depths and what lies behind the labels; m."""
    rows = np.linspace(0, len(data) - 1, min(len(data), MEASURED)).astype(int)
    batch = data.batch(rows)
    values = {"image": crops_of(batch), "depth": batch.aux[:, 0].numpy(), "metric": getattr(data, "metric", None)}
    found = {"n": float(len(data)), "positive_share": float(np.mean(data.labels > 0))}  # type: ignore[attr-defined]
    for name, array in values.items():
        if array is not None:
            exact = array.astype(np.float64)
            found |= {f"{name}_mean": float(exact.mean()), f"{name}_std": float(exact.std())}
    return found


def by_threshold(labels: np.ndarray, quality: np.ndarray) -> list[dict[str, float]]:
    """Accuracy, precision and recall at equally spaced thresholds; precision is 1 where nothing is accepted."""
    thresholds = np.linspace(0, 1, THRESHOLDS)
    accepted = quality >= thresholds[:, None]
    hits, count = (accepted & labels).sum(1), accepted.sum(1)
    columns = {
        "threshold": thresholds,
        "accuracy": (accepted == labels).mean(1),
        "precision": np.where(count > 0, hits / np.maximum(count, 1), 1.0),
        "recall": hits / max(labels.sum(), 1),
    }
    return [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def assess(task: CropTask, data: Dataset[FeatureBatch], options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Metrics and pictures of one version of a model on held-out crops."""
    registry = Registry(options.models_dir)
    version = options.version or registry.champion(options.model)
    if version is None:
        raise ValueError(f"{options.model} has no champion in {options.models_dir}: name a --version")
    found = task.evaluate(load_network(registry, options.model, version), data, torch.device("cpu"))
    served = as_served(found, registry.card(options.model, version).calibration)
    labels, quality = served.labels, sigmoid(served.logits)
    metrics = binary_metrics(labels, served.logits)
    report = {"model": options.model, "version": version, **metrics, "by_threshold": by_threshold(labels > 0, quality)}
    (folder / "metrics.json").write_text(json.dumps(report, indent=1))
    draw_precision_recall(labels, quality, folder / "precision_recall.png")
    draw_reliability(labels, {f"{options.model} {version}": quality}, folder / "reliability.png")
    worst = np.argsort(-np.abs(quality - labels))[:GALLERY]
    draw_crops(crops_of(data.batch(worst)), labels[worst] > 0, quality[worst], folder / "mistakes.png")
    return metrics


def main(arguments: list[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m trainer_job.analyze", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--recipe", required=True, help=f"says how the data are read and split: YAML file, or one of {', '.join(shipped())}")
    add("--data", type=Path, nargs="+", required=True)
    add("--model", help="name in the registry; none: only the data are described")
    add("--version", type=int, help="default: the champion")
    add("--models-dir", type=Path, default=Path("data/models"))
    add("--cache", type=Path, default=Path("data/cache"))
    add("--out", type=Path, default=Path("data/analysis"))
    options = parser.parse_args(arguments)
    try:
        task = task_of(load(options.recipe))
        if not isinstance(task, CropTask):
            raise ValueError(f"recipe {options.recipe} has a network that sees no depth crops")
        data = task.read(options.data, [], options.cache, 2**31)
        options.out.mkdir(parents=True, exist_ok=True)
        report = {f"data_{name}": value for name, value in statistics(data.training).items()}
        (options.out / "statistics.json").write_text(json.dumps(report, indent=1))
        shown = data.training.batch(np.linspace(0, len(data.training) - 1, min(GALLERY, len(data.training))).astype(int))
        draw_crops(crops_of(shown), shown.labels.numpy() > 0, None, options.out / "gallery.png")
        if options.model:
            report |= assess(task, data.held_out, options, options.out)
    except (ValueError, RegistryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, value in report.items():
        print(f"{name:>22} {value:.6g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
