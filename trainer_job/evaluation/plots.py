"""Pictures of a round: loss curve and reliability diagram as PNG, and the same figures for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from trainer_job.evaluation.metrics import reliability
from trainer_job.training.loop import TrainingHistory

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """A figure without a window or global state, so that it may be drawn in any thread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # seconds to load: not before it is needed
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_loss(curves: TrainingHistory, path: Path) -> None:
    figure = new_figure()
    axes = figure.subplots()
    axes.plot(curves.steps, curves.loss)
    axes.set(xlabel="step", ylabel="training loss, nats", ylim=(0, None))
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


def write_tensorboard(folder: Path, curves: TrainingHistory, metrics: dict[str, dict[str, float]]) -> None:
    """Loss by step and, at the last step, metrics by version."""
    with SummaryWriter(str(folder)) as writer:
        for step, loss in zip(curves.steps, curves.loss, strict=True):
            writer.add_scalar("train/loss", loss, step)
        for who, values in metrics.items():
            for name, value in values.items():
                writer.add_scalar(f"held_out/{name}/{who}", value, curves.steps[-1] if curves.steps else 0)
