"""One training run: views and labels in, weights and loss curves out. The same on a CPU, a GPU, or several under torchrun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer_job.tasks.base import Learner
from trainer_job.training.distributed import SINGLE, DistContext

MOST_PASSES = 30
"""More passes over a small set only teach it by heart."""
OUTCOMES_LIKE_CHAMPION = 1_000
"""So many outcomes weigh as much as a champion that has learned from at least as many. Measured: docs/learning.md."""


FAST_MOMENTUM = 0.1
"""Running means of batch normalisation with at least this momentum keep up with a round."""
STATISTICS_BATCHES = 10


class Interrupted(Exception):
    """Training was told to stop; nothing of it is kept."""


@dataclass(frozen=True)
class Examples:
    """views (N, ...) as the learner sees them, and facts (N, F) float32; labels (N,) float32, 1 for success."""

    views: np.ndarray
    labels: np.ndarray
    facts: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Schedule:
    """AdamW with one cycle of the learning rate; a small set is passed over up to MOST_PASSES times for `least_steps`."""

    epochs: int = 4
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    least_steps: int = 60

    def steps(self, examples: int) -> int:
        per_pass = -(-examples // self.batch)
        return max(self.epochs * per_pass, min(self.least_steps, MOST_PASSES * per_pass))


@dataclass
class TrainingHistory:
    """Training loss, nats: mean over each `every` steps."""

    every: int = 20
    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)


def train(
    network: nn.Module,
    learner: Learner,
    examples: Examples,
    schedule: Schedule,
    seed: int,
    ranks: DistContext = SINGLE,
    stopping: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> TrainingHistory:
    """Trains `network` in place, by unweighted cross-entropy: weights on classes would spoil the probabilities.

    Every rank draws the same batches and works on its own slice. Raises Interrupted when `stopping` turns true.
    """
    network.to(ranks.device).train()
    model = DistributedDataParallel(network) if ranks.world > 1 else network
    steps = schedule.steps(len(examples))
    optimizer = torch.optim.AdamW(network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.learning_rate, total_steps=steps, pct_start=0.2)
    order = BatchSampler(len(examples), schedule.batch, seed)
    noise = torch.Generator(ranks.device).manual_seed(seed * ranks.world + ranks.rank)
    torch.manual_seed(seed)
    curves, recent = TrainingHistory(), []
    for step in range(1, steps + 1):
        if ranks.any(stopping()):
            raise Interrupted(f"stopped at step {step} of {steps}")
        places = ranks.slice(order.next())
        logits = learner.logits(model, *learner.augment(*_seen(examples, places, ranks.device), noise))
        labels = torch.from_numpy(examples.labels[places].astype(np.float32)).to(ranks.device)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        cycle.step()
        recent.append(float(loss.detach()))
        if step % curves.every == 0 or step == steps:
            curves.steps.append(step)
            curves.loss.append(float(np.mean(recent)))
            on_progress(step, steps, curves.loss[-1])
            recent = []
    with torch.no_grad():
        for _ in slowly_averaged(network):
            learner.logits(network, *learner.augment(*_seen(examples, order.next(), ranks.device), noise))
    network.eval()
    return curves


def slowly_averaged(network: nn.Module) -> Iterator[int]:
    """Begins anew what batch normalisation knows of its inputs, where its running means are slower than a round is long, and
    averages over the batches that are shown at each turn (Izmailov et al. 2018, section 3.2, for averaged weights)."""
    slow = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and (m.momentum or 1) < FAST_MOMENTUM]
    kept = [module.momentum for module in slow]
    for module in slow:
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches since
    yield from range(STATISTICS_BATCHES if slow else 0)
    for module, momentum in zip(slow, kept, strict=True):
        module.momentum = momentum


def new_share(outcomes: int, champion: int) -> float:
    """Weight of what was learned from so many outcomes beside a champion that learned from `champion` (0: not known, many).

    Half at as many as the champion's, but at OUTCOMES_LIKE_CHAMPION at the latest; towards 1 with more.
    """
    return outcomes / (outcomes + min(champion or OUTCOMES_LIKE_CHAMPION, OUTCOMES_LIKE_CHAMPION))


def blend(network: nn.Module, champion: nn.Module, share: float) -> None:
    """Moves `network`, trained from `champion`, back towards it: weights = share new + (1 - share) old (Wortsman et al. 2022).

    Keeps what the champion knows of scenes that the new outcomes do not show, and averages away some of their noise.
    """
    old = champion.state_dict()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(old[name].to(value.device), 1 - share)


class BatchSampler:
    """Batches of a reshuffled set, pass after pass; a batch is never smaller than the set allows."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        if count < 2:
            raise ValueError(f"expected at least 2 examples to train on, got {count}")
        self.count, self.batch = count, min(batch, count)
        self._rng = np.random.default_rng(seed)
        self._left = np.zeros(0, np.int64)

    def next(self) -> np.ndarray:
        """(batch,) places in the set."""
        if len(self._left) < self.batch:
            self._left = self._rng.permutation(self.count)
        drawn, self._left = self._left[: self.batch], self._left[self.batch :]
        return drawn


def _seen(examples: Examples, places: np.ndarray | slice, device: torch.device) -> tuple[Tensor, Tensor]:
    """Views and facts as float32."""
    views, facts = (torch.from_numpy(array[places].astype(np.float32)) for array in (examples.views, examples.facts))
    return views.to(device), facts.to(device)


@torch.inference_mode()
def predict(
    network: nn.Module, learner: Learner, examples: Examples, device: torch.device | None = None, batch: int = 256
) -> np.ndarray:
    """Logits (N,) float64 of a network in evaluation mode."""
    device = device or torch.device("cpu")
    network.to(device).eval()
    logits = np.zeros(len(examples))
    for start in range(0, len(examples), batch):
        part = slice(start, start + batch)
        logits[part] = learner.logits(network, *_seen(examples, part, device)).double().cpu().numpy()
    return logits
