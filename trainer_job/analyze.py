"""What a model knows about a data set, and what the data set holds.

    python -m trainer_job.analyze --recipe gqcnn-jaw-dexnet2 --data FOLDER [--model gqcnn-jaw --version 3] --out FOLDER

Writes statistics.json and gallery.png; with --model also metrics.json (AP, base rate, accuracy, Brier, ECE, and precision and
recall by threshold), precision_recall.png, reliability.png and mistakes.png, all on the recipe's validation rows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as load_tensors

from shared.networks import build_network
from shared.registry import Registry, RegistryError
from trainer_job.evaluation.figures import draw_crops, draw_precision_recall
from trainer_job.evaluation.metrics import binary_metrics, sigmoid
from trainer_job.evaluation.plots import draw_reliability
from trainer_job.tasks.crop_task import CropTask
from trainer_job.train import read_crops
from trainer_job.training.recipe import load, shipped

THRESHOLDS = 81
GALLERY = 25


def by_threshold(labels: np.ndarray, quality: np.ndarray) -> list[dict[str, float]]:
    """Accuracy, precision and recall at equally spaced thresholds; precision is 1 where nothing is accepted."""
    table = []
    for threshold in np.linspace(0, 1, THRESHOLDS):
        accepted = quality >= threshold
        hits = float((accepted & labels).sum())
        table.append(
            {
                "threshold": float(threshold),
                "accuracy": float((accepted == labels).mean()),
                "precision": hits / accepted.sum() if accepted.any() else 1.0,
                "recall": hits / max(labels.sum(), 1),
            }
        )
    return table


def assess(task: CropTask, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Metrics and pictures of one version of a model on the validation rows."""
    registry = Registry(options.models_dir)
    version = options.version or registry.champion(options.model)
    if version is None:
        raise ValueError(f"{options.model} has no champion in {options.models_dir}: name a --version")
    card = registry.card(options.model, version)
    network = build_network(card.architecture, card.parameters).eval()
    network.load_state_dict(load_tensors(registry.read_weights(options.model, version)))
    rows = task.validation
    logits = task.logits(network, rows, torch.device("cpu"))
    temperature = float(card.calibration.get("value", 1.0))
    labels, quality = task.data.labels[rows], sigmoid(logits, temperature)
    metrics = binary_metrics(labels, logits, temperature)
    report = {"model": options.model, "version": version, **metrics, "by_threshold": by_threshold(labels, quality)}
    (folder / "metrics.json").write_text(json.dumps(report, indent=1))
    draw_precision_recall(labels, quality, folder / "precision_recall.png")
    draw_reliability(labels, {f"{options.model} {version}": quality}, folder / "reliability.png")
    worst = np.argsort(-np.abs(quality - labels))[:GALLERY]
    draw_crops(
        np.asarray(task.data.images[np.sort(rows[worst])]),
        *_sorted(rows[worst], labels[worst], quality[worst]),
        folder / "mistakes.png",
    )
    return metrics


def _sorted(rows: np.ndarray, labels: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(rows)
    return labels[order], quality[order]


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
        recipe = load(options.recipe)
        task = CropTask(read_crops(recipe, options.data, options.cache), recipe)
        options.out.mkdir(parents=True, exist_ok=True)
        report = {f"data_{name}": value for name, value in task.data.statistics().items()}
        (options.out / "statistics.json").write_text(json.dumps(report, indent=1))
        rows = np.linspace(0, len(task.data) - 1, min(GALLERY, len(task.data))).astype(int)
        draw_crops(np.asarray(task.data.images[rows]), task.data.labels[rows], None, options.out / "gallery.png")
        if options.model:
            report |= assess(task, options, options.out)
    except (ValueError, RegistryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, value in report.items():
        print(f"{name:>22} {value:.6g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
