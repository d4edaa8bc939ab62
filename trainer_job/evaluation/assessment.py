"""A candidate and its champion on held-out examples: probabilities, metrics, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainer_job.data.examples import Dataset
from trainer_job.evaluation.figures import draw_loss, draw_reliability, write_tensorboard
from trainer_job.evaluation.metrics import Evaluation, fit_temperature, sigmoid
from trainer_job.promotion.offline_gate import GateComparison
from trainer_job.training.history import TrainingHistory

if TYPE_CHECKING:
    from trainer_job.tasks import AnyTask


@dataclass(frozen=True)
class Assessment:
    """What held-out examples say. temperature: the candidate's, fitted on them. comparison: with the champion, if any."""

    candidate: Evaluation
    champion: Evaluation | None = None
    comparison: GateComparison | None = None

    @property
    def temperature(self) -> float:
        return fit_temperature(self.candidate.labels, self.candidate.logits)


def assess(
    task: AnyTask, network: nn.Module, champion: nn.Module | None, held_out: Dataset[Any], device: torch.device
) -> Assessment:
    """Tests a candidate, and the champion on the same examples."""
    candidate = task.evaluate(network, held_out, device)
    if champion is None:
        return Assessment(candidate)
    rival = task.evaluate(champion, held_out, device)
    return Assessment(candidate, rival, task.compare(rival, candidate))


def draw(folder: Path, history: TrainingHistory, assessment: Assessment, champion_temperature: float = 1.0) -> None:
    """loss.png, reliability.png (each version as it serves) and TensorBoard events in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_loss(history, folder / "loss.png")
    served = {"candidate": (assessment.candidate, assessment.temperature)}
    if assessment.champion is not None:
        served["champion"] = (assessment.champion, champion_temperature)
    labels = assessment.candidate.labels
    if len(labels):
        probabilities = {who: sigmoid(each.logits, temperature) for who, (each, temperature) in served.items()}
        draw_reliability(labels, probabilities, folder / "reliability.png")
    write_tensorboard(folder, history, {who: each.metrics(temperature) for who, (each, temperature) in served.items()})
