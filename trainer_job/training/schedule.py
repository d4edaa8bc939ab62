"""How long and how fast a network learns: optimizer, learning rate, number of steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from trainer_job.training.recipe import MAX_PASSES, OptimizerRecipe, RateRecipe, TrainingRecipe


@dataclass(frozen=True)
class Schedule:
    """A small set is passed over up to `max_passes` times for `min_steps`."""

    optimizer: OptimizerRecipe
    rate: RateRecipe
    epochs: int
    batch: int
    min_steps: int = 0
    max_passes: int = MAX_PASSES

    @classmethod
    def of(cls, recipe: TrainingRecipe) -> Schedule:
        return cls(recipe.optimizer, recipe.schedule, recipe.epochs, recipe.batch, recipe.min_steps, recipe.max_passes)

    def per_pass(self, examples: int) -> int:
        """Steps in which as many examples are drawn as there are."""
        return -(-examples // self.batch)

    def steps(self, examples: int) -> int:
        per_pass = self.per_pass(examples)
        return max(self.epochs * per_pass, min(self.min_steps, self.max_passes * per_pass))

    def start(self, network: nn.Module, examples: int) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """The optimizer, and its learning rate, which goes on with every step that is taken."""
        chosen, rate = self.optimizer, self.rate
        lr, decay = chosen.learning_rate, chosen.weight_decay
        optimizer: torch.optim.Optimizer
        if chosen.name == "sgd":
            optimizer = torch.optim.SGD(network.parameters(), lr, momentum=chosen.momentum, weight_decay=decay)
        else:
            kind = torch.optim.Adam if chosen.name == "adam" else torch.optim.AdamW
            optimizer = kind(network.parameters(), lr, weight_decay=decay)
        if rate.name == "one_cycle":
            total = max(2, self.steps(examples))
            return optimizer, OneCycleLR(optimizer, lr, total_steps=total, pct_start=rate.rise)
        every = max(1, round(rate.every_epochs * self.per_pass(examples)))
        gamma = rate.gamma if rate.name == "exponential" else 1.0
        return optimizer, LambdaLR(optimizer, lambda step: gamma ** (step // every))
