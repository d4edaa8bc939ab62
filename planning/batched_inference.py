"""Plans in step: what they ask of one network at the same time is one batch, whichever planners they are of."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from grasp_client.contract import GraspPlan
from planning.base import Arm, LoadedNetwork, PlanItem, Planner
from planning.explanation import explained
from planning.failure_penalty import expand_request, penalize
from planning.goal.marking import mark_goal
from planning.input_checks import inspect_input
from planning.reach.filtering import with_spare, within_reach

between_passes: ContextVar[Callable[[], None]] = ContextVar("between_passes", default=lambda: None)
"""Called between two passes of a network, and between steps of two plans, so that whoever runs planners may do what is more
urgent, or give up by raising."""


@dataclass(frozen=True, eq=False)
class NetworkCall:
    """A question to a network. inputs: of its forward, each with N rows, N at least 1; most: rows that are worth one pass; run:
    what is called in place of the network, alone.

    The answer is what the network says of them, (N, ...) float32.
    """

    network: LoadedNetwork
    inputs: tuple[Tensor, ...]
    most: int | None = None
    run: Callable[..., Tensor] | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])


Result = TypeVar("Result")
InferenceSteps = Generator[NetworkCall, Tensor, Result]
"""Work that stops at each question until the answer is sent."""


def yield_between_layers(network: nn.Module) -> None:
    """Have `between_passes` called before every layer of a network too, from now on, where it runs on a CPU: one pass of some
    takes longer there than a whole plan of others."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.device.type == "cpu" and not layer._forward_pre_hooks:
            layer.register_forward_pre_hook(lambda *_: between_passes.get()())


class BatchedPlanner(Planner):
    """A planner that asks networks in steps, so that they answer many plans at once."""

    @abstractmethod
    def steps(self, item: PlanItem, network: LoadedNetwork | None) -> InferenceSteps[GraspPlan]:
        """One plan. Raises PlannerError where the item cannot be answered."""

    @torch.inference_mode()
    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        return [_timed(*each) for each in run_batched([self.steps(item, network) for item in items])]


@torch.inference_mode()
def plan_batched(asked: Sequence[tuple[Planner, LoadedNetwork | None, PlanItem]]) -> list[GraspPlan]:
    """Plans of several planners in the order of `asked`. Those that ask in steps share their passes."""
    marked = [mark_goal(item) for _, _, item in asked]
    spare = [with_spare(item) if planner.arm else item for (planner, _, _), (item, _) in zip(asked, marked, strict=True)]
    items = [expand_request(item) if item[1].failed else item for item in spare]
    stepping = [k for k, (planner, _, _) in enumerate(asked) if isinstance(planner, BatchedPlanner)]
    plans: dict[int, GraspPlan] = {}
    works = [asked[k][0].steps(items[k], asked[k][1]) for k in stepping]  # type: ignore[attr-defined]
    plans.update(zip(stepping, (_timed(*each) for each in run_batched(works)), strict=True))
    others: dict[tuple[int, int], list[int]] = {}
    for k, (planner, network, _) in enumerate(asked):
        if k not in plans:
            others.setdefault((id(planner), id(network)), []).append(k)
    for places in others.values():
        planner, network, _ = asked[places[0]]
        plans.update(zip(places, planner.plan_batch([items[k] for k in places], network), strict=True))
    return [_finished(plans[k], spare[k], marked[k][0], marked[k][1], asked[k][0].arm) for k in range(len(asked))]


def _finished(plan: GraspPlan, spare: PlanItem, item: PlanItem, told: list[str], arm: Arm | None) -> GraspPlan:
    """With what failed before taken into account, without what cannot be reached, and what looked odd told, of the goal too.
    spare: the item with as many grasps as an arm chooses from."""
    if item[1].failed:
        plan = penalize(plan, spare)
    if item[1].explain:
        plan = explained(plan, item)
    if arm:
        plan = within_reach(plan, item[1].n_grasps, arm)
    found = [*told, *inspect_input(*item)]
    return plan.model_copy(update={"warnings": [*found, *plan.warnings]}) if found else plan


def run_batched(works: Sequence[InferenceSteps[Result]]) -> list[tuple[Result, float]]:
    """What each work comes to, and the seconds that it took: its own steps and its share of the passes."""
    results: dict[int, Result] = {}
    seconds = [0.0] * len(works)
    answers: dict[int, Tensor | None] = dict.fromkeys(range(len(works)))
    while answers:
        asks: dict[int, NetworkCall] = {}
        for k, answer in answers.items():
            between_passes.get()()
            started = time.perf_counter()
            try:
                asks[k] = next(works[k]) if answer is None else works[k].send(answer)
            except StopIteration as end:
                results[k] = end.value
            seconds[k] += time.perf_counter() - started
        answers = {}
        for places in _alike(asks):
            group = [asks[k] for k in places]
            outputs, took = _answer(group)
            answers.update(zip(places, outputs, strict=True))
            for k in places:
                seconds[k] += took * len(asks[k]) / sum(map(len, group))
    return [(results[k], seconds[k]) for k in range(len(works))]


def _alike(asks: dict[int, NetworkCall]) -> list[list[int]]:
    """Questions that one pass can answer: to the same network, with rows of the same shape."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, ask in asks.items():
        groups.setdefault((id(ask.network.module), id(ask.run), tuple(each.shape[1:] for each in ask.inputs)), []).append(k)
    return list(groups.values())


def _answer(asks: list[NetworkCall]) -> tuple[list[Tensor], float]:
    """What the network says to each, and the seconds that its passes took."""
    columns = [each[0] if len(each) == 1 else torch.cat(each) for each in zip(*(ask.inputs for ask in asks), strict=True)]
    rows = len(columns[0])
    most = min((ask.most for ask in asks if ask.most), default=rows)
    run, passes, seconds = asks[0].run or asks[0].network.module, [], 0.0
    for parts in zip(*(column.split(most) for column in columns), strict=True):
        between_passes.get()()
        started = time.perf_counter()
        passes.append(run(*parts).float())
        seconds += time.perf_counter() - started
    return list(torch.cat(passes).split([len(ask) for ask in asks])), seconds


def _timed(plan: GraspPlan, seconds: float) -> GraspPlan:
    return plan.model_copy(update={"timings_ms": {**plan.timings_ms, "plan": 1e3 * seconds}})
