"""A candidate and its champion on held-out scenes: probabilities, metrics, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainer_job.evaluation.metrics import binary_metrics, fit_temperature, sigmoid
from trainer_job.evaluation.plots import draw_loss, draw_reliability, write_tensorboard
from trainer_job.promotion.offline_gate import GateComparison, compare
from trainer_job.tasks.base import Learner
from trainer_job.training.loop import Examples, TrainingHistory, predict


@dataclass(frozen=True)
class Assessment:
    """What held-out outcomes say. temperature: the candidate's, fitted on them. comparison: with the champion, if any."""

    labels: np.ndarray
    logits: np.ndarray
    temperature: float
    metrics: dict[str, float]
    champion: np.ndarray | None = None
    comparison: GateComparison | None = None


def assess(
    network: nn.Module, champion: nn.Module | None, learner: Learner, test: Examples, device: torch.device | None = None
) -> Assessment:
    """Tests a candidate, and the champion on the same outcomes."""
    logits = predict(network, learner, test, device)
    temperature = fit_temperature(test.labels, logits)
    metrics = binary_metrics(test.labels, logits, temperature)
    if champion is None:
        return Assessment(test.labels, logits, temperature, metrics)
    rival = predict(champion, learner, test, device)
    return Assessment(test.labels, logits, temperature, metrics, rival, compare(test.labels, rival, logits))


def draw(folder: Path, curves: TrainingHistory, assessment: Assessment, champion_temperature: float = 1.0) -> None:
    """loss.png, reliability.png (each version as it serves) and TensorBoard events in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_loss(curves, folder / "loss.png")
    served = {"candidate": (assessment.logits, assessment.temperature)}
    if assessment.champion is not None:
        served["champion"] = (assessment.champion, champion_temperature)
    labels = assessment.labels
    if len(labels):
        draw_reliability(labels, {who: sigmoid(*values) for who, values in served.items()}, folder / "reliability.png")
    write_tensorboard(folder, curves, {who: binary_metrics(labels, *values) for who, values in served.items()})
