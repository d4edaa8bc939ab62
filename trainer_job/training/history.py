"""How the loss went in one training run."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class TrainingHistory:
    """Training loss, nats: mean over each `every` steps. epochs: step, training_loss, seconds, and what validation said.

    skipped: steps that were not taken. recent, epoch: losses since the last mean, and since the last epoch ended.
    """

    every: int = 20
    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    skipped: int = 0
    recent: list[float] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)

    def add(self, step: int, steps: int, loss: float | None) -> bool:
        """Notes the loss of a step of `steps`, None: of one that was skipped; whether a mean became due."""
        if loss is None:
            self.skipped += 1
        else:
            self.recent.append(loss)
            self.epoch.append(loss)
        if not self.recent or (step % self.every and step != steps):
            return False
        self.steps.append(step)
        self.loss.append(float(np.mean(self.recent)))
        self.recent = []
        return True

    def end_epoch(self, step: int, seconds: float, figures: dict[str, float]) -> dict[str, float]:
        """Notes an epoch and returns its line."""
        line = {
            "step": float(step),
            "training_loss": float(np.mean(self.epoch)) if self.epoch else float("nan"),
            **figures,
            "seconds": round(seconds, 1),
        }
        self.epochs.append(line)
        self.epoch = []
        return line

    def best(self) -> int:
        """Which epoch has the least validation loss; the last one where none was validated."""
        losses = [epoch.get("loss", float("inf")) for epoch in self.epochs]
        return int(np.argmin(losses)) if np.isfinite(losses).any() else len(losses) - 1
