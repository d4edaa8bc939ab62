"""Pictures of runs and data sets as PNG: losses, reliability, precision and recall, predictions; and TensorBoard events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from shared.rates import wilson
from trainer_job.evaluation.metrics import reliability
from trainer_job.training.history import TrainingHistory

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """A figure without a window or global state, so that it may be drawn in any thread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # seconds to load: not before it is needed
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_loss(history: TrainingHistory, path: Path) -> None:
    """Training loss by step and, where epochs were validated, their loss."""
    figure = new_figure()
    axes = figure.subplots()
    axes.plot(history.steps, history.loss, label="training")
    validated = [epoch for epoch in history.epochs if "loss" in epoch]
    if validated:
        axes.plot([epoch["step"] for epoch in validated], [epoch["loss"] for epoch in validated], "o-", label="validation")
        axes.legend()
    axes.set(xlabel="step", ylabel="loss, nats", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def draw_reliability(labels: np.ndarray, probabilities: dict[str, np.ndarray], path: Path) -> None:
    """Predicted against observed success of several versions; the size of a mark tells how many outcomes it stands for."""
    figure = new_figure(5, 5)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name, values in probabilities.items():
        bins = reliability(labels, values)
        axes.plot(bins.predicted, bins.observed, linewidth=0.8)
        axes.scatter(bins.predicted, bins.observed, s=10 + 200 * bins.count / max(bins.count.sum(), 1), alpha=0.7)
        axes.plot([], [], "o", color=axes.lines[-1].get_color(), label=f"{name}: ECE {bins.error:.3f}")
    axes.set(xlabel="predicted probability of success", ylabel="observed", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=100)


def write_tensorboard(folder: Path, history: TrainingHistory, metrics: dict[str, dict[str, float]]) -> None:
    """Loss by step, figures of validated epochs and, at the last step, metrics by version."""
    last = history.steps[-1] if history.steps else 0
    with SummaryWriter(str(folder)) as writer:
        for step, loss in zip(history.steps, history.loss, strict=True):
            writer.add_scalar("train/loss", loss, step)
        for epoch in history.epochs:
            for name, value in epoch.items():
                writer.add_scalar(f"epoch/{name}", value, int(epoch["step"]))
        for who, values in metrics.items():
            for name, value in values.items():
                writer.add_scalar(f"held_out/{name}/{who}", value, last)


def draw_crops(images: np.ndarray, labels: np.ndarray, quality: np.ndarray | None, path: Path, columns: int = 5) -> None:
    """A gallery of depth crops (N, h, w); green frames succeeded, red ones did not."""
    rows = -(-len(images) // columns)
    figure = new_figure(1.6 * columns, 1.7 * rows)
    for index, axes in enumerate(np.atleast_1d(figure.subplots(rows, columns)).ravel()):
        axes.set(xticks=[], yticks=[])
        if index >= len(images):
            axes.set_visible(False)
            continue
        axes.imshow(images[index], cmap="gray_r")
        colour = "tab:green" if labels[index] else "tab:red"
        axes.set_title("" if quality is None else f"{quality[index]:.2f}", fontsize=8, color=colour)
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=2)
    figure.savefig(path, dpi=100)


def draw_heatmaps(images: np.ndarray, maps: np.ndarray, targets: np.ndarray, path: Path) -> None:
    """One row per picture (N, H, W, 3): the picture with its label, then a map per rotation (N, R, H, W); at most 8 maps."""
    shown = np.unique(np.linspace(0, maps.shape[1] - 1, min(8, maps.shape[1])).astype(int))
    figure = new_figure(1.6 * (1 + len(shown)), 1.7 * len(images))
    grid = figure.subplots(len(images), 1 + len(shown), squeeze=False)
    for row, image, each, target in zip(grid, images, maps, targets, strict=True):
        row[0].imshow(image)
        row[0].plot(target[1], target[0], "+", color="red")
        for axes, rotation in zip(row[1:], shown, strict=True):
            axes.imshow(each[rotation], vmin=0, vmax=each.max())
            axes.set_title(f"rotation {rotation}" + (" (label)" if rotation == target[2] else ""), fontsize=7)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=100)


def draw_heights(windows: np.ndarray, shares: np.ndarray, bounds: np.ndarray, truth: np.ndarray, path: Path) -> None:
    """Windows (N, H, W, 3), and below each how likely (N, B) heights between `bounds` (B + 1,), m, are, with the true one."""
    figure = new_figure(1.8 * len(windows), 3.4)
    grid = figure.subplots(2, len(windows), squeeze=False)
    millimetres = 1e3 * bounds
    for shown, axes, share, height in zip(windows, grid.T, shares, truth, strict=True):
        axes[0].imshow(shown)
        axes[0].set(xticks=[], yticks=[])
        axes[1].stairs(share / np.diff(millimetres), millimetres, fill=True)
        axes[1].axvline(1e3 * height, color="red", linewidth=1)
        axes[1].set(xlabel="height, mm", yticks=[])
    figure.savefig(path, dpi=100)


def draw_precision_recall(labels: np.ndarray, quality: np.ndarray, path: Path) -> None:
    """Precision against recall, with the base rate that guessing would reach."""
    from sklearn.metrics import precision_recall_curve  # seconds to load: not before it is needed

    precision, recall, _ = precision_recall_curve(labels, quality)
    low, high = wilson(int(labels.sum()), len(labels))
    figure = new_figure(5, 5)
    axes = figure.subplots()
    axes.plot(recall, precision)
    axes.axhline(labels.mean(), color="grey", linewidth=0.8, label=f"base rate {labels.mean():.3f} ({low:.3f} to {high:.3f})")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=100)
