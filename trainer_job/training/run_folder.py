"""The folder of a run: each epoch validated, drawn and saved, so that a run that was interrupted goes on from there."""

import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from trainer_job.evaluation.figures import draw_loss
from trainer_job.training.distributed import DistContext
from trainer_job.training.history import TrainingHistory

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
REDRAW_SECONDS = 10.0
"""Least time between two pictures of the loss: drawing one takes as long as a short epoch."""


@dataclass
class RunState:
    """All that changes from step to step. noise: what augmentation is drawn from."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    rate: LRScheduler
    noise: torch.Generator
    history: TrainingHistory

    def save(self, step: int) -> dict[str, Any]:
        parts = {name: getattr(self, name).state_dict() for name in ("network", "optimizer", "rate")}
        random = {"noise": self.noise.get_state(), "torch": torch.get_rng_state()}
        return {"step": step, **parts, **random, "history": vars(self.history)}

    def load(self, saved: dict[str, Any]) -> None:
        for name in ("network", "optimizer", "rate"):
            getattr(self, name).load_state_dict(saved[name])
        self.noise.set_state(saved["noise"].cpu())
        torch.set_rng_state(saved["torch"].cpu())
        vars(self.history).update(saved["history"])


class RunFolder:
    """Validates with `validate` (network -> figures, of which `loss` counts), if given, and keeps the best epoch's weights.

    identity: what a checkpoint must be of to be gone on from.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], validate: Callable[[nn.Module], dict[str, float]] | None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.identity, self.validate = folder, identity, validate
        self._best: dict[str, Any] = {}
        self._started = time.monotonic()
        self._drawn = -math.inf

    def resume(self, state: RunState, ranks: DistContext) -> int:
        """Loads what an earlier run of the same recipe on as many examples left here, and returns its steps, or 0."""
        path = self.folder / CHECKPOINT
        saved = torch.load(path, map_location=ranks.device, weights_only=True) if path.is_file() else {}
        if saved.get("identity") != self.identity:
            return 0
        state.load(saved)
        if not ranks.first:
            state.noise.manual_seed(state.noise.initial_seed() + ranks.rank)  # what was saved is rank 0's
        self._best = saved["best"]
        log.info("goes on", extra={"after_step": saved["step"]})
        return int(saved["step"])

    def end_epoch(self, state: RunState, step: int) -> None:
        """Validates, notes and saves; leaves the network in either mode."""
        figures = self.validate(state.network) if self.validate else {}
        line = state.history.end_epoch(step, time.monotonic() - self._started, figures)
        self._started = time.monotonic()
        if self.validate and state.history.best() == len(state.history.epochs) - 1:
            self._best = copy.deepcopy(state.network.state_dict())
        log.info("epoch", extra={"epoch": len(state.history.epochs), **{name: round(x, 4) for name, x in line.items()}})
        if time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._drawn = time.monotonic()
            draw_loss(state.history, self.folder / "loss.png")
        (self.folder / "history.json").write_text(json.dumps(state.history.epochs, indent=1))
        saved = {**state.save(step), "best": self._best, "identity": self.identity}
        torch.save(saved, self.folder / f"{CHECKPOINT}.part")
        os.replace(self.folder / f"{CHECKPOINT}.part", self.folder / CHECKPOINT)

    def restore_best(self, network: nn.Module) -> bool:
        """Gives the network the weights of the best epoch; False where none was validated, and the last ones stay."""
        if self._best:
            network.load_state_dict(self._best)
        return bool(self._best)
