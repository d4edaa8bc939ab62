"""A candidate and its champion on held-out examples: probabilities, metrics, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shared.registry import ModelCard
from trainer_job.data.examples import Dataset
from trainer_job.evaluation.calibration import as_served, carried_over, fit_calibration
from trainer_job.evaluation.figures import draw_loss, draw_reliability, write_tensorboard
from trainer_job.evaluation.metrics import Evaluation, sigmoid
from trainer_job.promotion.offline_gate import GateComparison
from trainer_job.training.history import TrainingHistory

if TYPE_CHECKING:
    from trainer_job.tasks import AnyTask


@dataclass(frozen=True)
class Assessment:
    """What held-out examples say. calibration: the candidate's, fitted on them. comparison: with the champion, if any; card:
    the champion's."""

    candidate: Evaluation
    champion: Evaluation | None = None
    comparison: GateComparison | None = None
    card: ModelCard | None = None

    @cached_property
    def calibration(self) -> dict[str, Any]:
        if self.promise and self.card and self.champion:
            return carried_over(self.card.calibration, self.champion, self.candidate)
        return fit_calibration(self.candidate)

    @property
    def promise(self) -> dict[str, Any]:
        """The candidate's: the champion's, since its calibration is carried over."""
        return self.card.promise if self.card and self.champion else {}

    @property
    def served(self) -> Evaluation:
        """The candidate with its calibration."""
        return as_served(self.candidate, self.calibration)


def assess(
    task: AnyTask,
    network: nn.Module,
    champion: nn.Module | None,
    held_out: Dataset[Any],
    device: torch.device,
    card: ModelCard | None = None,
) -> Assessment:
    """Tests a candidate, and the champion, which has this card, on the same examples."""
    candidate = task.evaluate(network, held_out, device)
    if champion is None:
        return Assessment(candidate)
    rival = task.evaluate(champion, held_out, device)
    return Assessment(candidate, rival, task.compare(rival, candidate), card)


def draw(folder: Path, history: TrainingHistory, assessment: Assessment, champion: dict[str, Any] | None = None) -> None:
    """loss.png, reliability.png (each version as it serves) and TensorBoard events in `folder`. champion: its calibration."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_loss(history, folder / "loss.png")
    served = {"candidate": assessment.served}
    if assessment.champion is not None:
        served["champion"] = as_served(assessment.champion, champion or {})
    labels = assessment.candidate.labels
    if len(labels):
        draw_reliability(labels, {who: sigmoid(each.logits) for who, each in served.items()}, folder / "reliability.png")
    write_tensorboard(folder, history, {who: each.metrics() for who, each in served.items()})
