"""One training run, of whatever task: the same on a CPU, a GPU, or several under torchrun."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trainer_job.data.examples import Dataset
from trainer_job.training.distributed import SINGLE, DistContext
from trainer_job.training.history import TrainingHistory
from trainer_job.training.run_folder import RunFolder, RunState
from trainer_job.training.schedule import Schedule

if TYPE_CHECKING:
    from trainer_job.tasks import AnyTask

OUTCOMES_LIKE_CHAMPION = 1_000
"""So many outcomes weigh as much as a champion that has learned from at least as many
(docs/reports/2026-11-29-learning.md)."""
FAST_MOMENTUM = 0.1
"""Running means of batch normalisation with at least this momentum keep up with a round."""
STATISTICS_BATCHES = 10
"""Batches over which slower running means are averaged anew at the end of a run."""


MAX_SKIPPED = 0.1
"""Largest share of steps that may be skipped because loss or gradient is not finite."""


class NotFinite(ArithmeticError):
    """Losses or weights are no numbers: what was trained is worth nothing."""


class Interrupted(Exception):
    """Training was told to stop; nothing of it is kept."""


def train(
    network: nn.Module,
    task: AnyTask,
    data: Dataset[Any],
    schedule: Schedule,
    seed: int,
    ranks: DistContext = SINGLE,
    stopping: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    folder: RunFolder | None = None,
) -> TrainingHistory:
    """Trains `network` in place. Every rank draws the same batches and works on its own slice.

    folder: where epochs are validated and saved, from which an interrupted run goes on; none: there is no validation, and the
    last weights are kept. A step whose loss or gradient is not finite is skipped and counted. Raises Interrupted when
    `stopping` turns true, and NotFinite when more than MAX_SKIPPED of the steps are skipped or weights are not finite then.
    """
    if ranks.world > 1 and task.one_process:
        raise ValueError(f"task {task.recipe.task} trains in one process: start it without torchrun")
    network.to(ranks.device).train()
    model = DistributedDataParallel(network) if ranks.world > 1 else network
    steps, per_pass = schedule.steps(len(data)), schedule.per_pass(len(data))
    optimizer, rate = schedule.start(network, len(data))
    sampler = BatchSampler(len(data), schedule.batch, seed, task.sampling_weights(data, network))
    noise = torch.Generator(ranks.device).manual_seed(seed * ranks.world + ranks.rank)
    torch.manual_seed(seed)
    state = RunState(network, optimizer, rate, noise, TrainingHistory())
    done = folder.resume(state, ranks) if folder else 0
    for _ in range(done):
        sampler.next()  # draws what the interrupted run drew
    for step in range(done + 1, steps + 1):
        if ranks.any(stopping()):
            raise Interrupted(f"stopped at step {step} of {steps}")
        batch = task.augment(data.batch(ranks.slice(sampler.next())).to(ranks.device), noise)
        due = state.history.add(step, steps, take_step(model, task, batch, state, ranks))
        if state.history.skipped > MAX_SKIPPED * steps:
            raise NotFinite(f"{state.history.skipped} of {step} steps had a loss or gradient that is not finite")
        if due:
            on_progress(step, steps, state.history.loss[-1])
        if folder and ranks.first and (step % per_pass == 0 or step == steps):
            folder.end_epoch(state, step)
            network.train()
    if not (folder and folder.restore_best(network)):
        with torch.no_grad():
            for _ in slowly_averaged(network):
                task.loss(network, task.augment(data.batch(sampler.next()).to(ranks.device), noise))
    network.eval()
    if broken := [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]:
        raise NotFinite(f"values that are not finite in {', '.join(broken[:3])}")
    return state.history


def take_step(model: nn.Module, task: AnyTask, batch: Any, state: RunState, ranks: DistContext) -> float | None:
    """One step of `model`, which is the run's network, spread over ranks if there are several; returns its loss, or None where
    loss or gradient is not finite: then all is as before."""
    means = [buffer.clone() for buffer in state.network.buffers()]
    loss = task.loss(model, batch)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    value = float(loss.detach())
    if ranks.any(not (math.isfinite(value) and finite_gradients(state.network))):
        for buffer, before in zip(state.network.buffers(), means, strict=True):  # they too have seen what is not finite
            buffer.copy_(before)
        return None
    state.optimizer.step()
    state.rate.step()
    return value


def finite_gradients(network: nn.Module) -> bool:
    """Whether all gradients are finite, and small enough to be squared and summed."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return bool(torch.isfinite(nn.utils.get_total_norm(gradients)))


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
    """Batches of a reshuffled set, pass after pass; a batch is never smaller than the set allows.

    weights (N,): how often each is drawn, in sum 1; none: every one once in a pass.
    """

    def __init__(self, count: int, batch: int, seed: int, weights: np.ndarray | None = None) -> None:
        if count < 2:
            raise ValueError(f"expected at least 2 examples to train on, got {count}")
        self.count, self.batch, self.weights = count, min(batch, count), weights
        self._rng = np.random.default_rng(seed)
        self._left = np.zeros(0, np.int64)

    def next(self) -> np.ndarray:
        """(batch,) places in the set."""
        if len(self._left) < self.batch:
            self._left = self._pass()
        drawn, self._left = self._left[: self.batch], self._left[self.batch :]
        return drawn

    def _pass(self) -> np.ndarray:
        if self.weights is None:
            return self._rng.permutation(self.count)
        return self._rng.choice(self.count, self.count, p=self.weights)
