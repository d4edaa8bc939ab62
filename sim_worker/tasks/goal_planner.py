"""What a planner says of a goal in a view: as the worker, the benchmark and the collection of labels ask it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from grasp_client.contract import ActionPlan, ActionRequest, Gripper, ModelRef, Push, PushOptions
from grasp_client.observation import Observation
from sim_worker.planner_request import Failure, planning_request
from sim_worker.planners import NamedPlanner
from sim_worker.tasks.goal_episode import Decision
from sim_worker.tasks.goals import goal_mask
from sim_worker.world import CameraView
from sim_worker.world.simulation.spec import GOAL_WORKSPACE, SceneSpec

GRASPS_ASKED = 10
EVERY_PUSH = 1000
"""As many as there may be: for a draw among all that are feasible."""
WORKSPACE = [-GOAL_WORKSPACE, -GOAL_WORKSPACE, GOAL_WORKSPACE, GOAL_WORKSPACE]


@runtime_checkable
class ActionPlanner(Protocol):
    """Anything that decides what to do next about a goal: in this process, or the HTTP client."""

    def plan_action(self, observation: Observation, request: ActionRequest) -> ActionPlan: ...


def action_request(
    view: CameraView, mask: np.ndarray, spec: SceneSpec, gripper: Gripper, planner: str,
    failed: Sequence[Failure] = (), count: int = GRASPS_ASKED, push: PushOptions | None = None,
) -> tuple[Observation, ActionRequest]:  # fmt: skip
    """The question what to do about the thing under a mask (H, W). planner: of the grasps."""
    asked = planning_request(view, spec, gripper, count, planner, None, ["failures"], failed=failed)
    options = push or PushOptions(workspace=WORKSPACE)
    fields = {**dict(asked.request), "push": options, "bin": False, "checks": "off"}
    return Observation(depth=asked.observation.depth, goal=mask), ActionRequest.model_validate(fields)


@dataclass
class GoalPlans:
    """A named planner that is asked about goals. Give it the spec of the scene that is looked at: its seed makes pushes
    repeatable."""

    named: NamedPlanner
    gripper: Gripper
    spec: SceneSpec | None = None
    rule_below: float = 0.0
    """Promise of the best push below which the rule decides instead."""

    @property
    def _actions(self) -> ActionPlanner:
        planner = self.named.planner
        if not isinstance(planner, ActionPlanner):
            raise ValueError(f"planner {self.named.spec!r} plans grasps alone: expected push, or name@URL of a server")
        return planner

    @property
    def name(self) -> str:
        return self.named.spec

    def decide(self, view: CameraView, goal: str, failed: Sequence[Failure], clear: bool, push: bool) -> Decision:
        """clear, push: whether grasps of neighbours, and pushes, are wanted as well."""
        if not push:
            plan = self._ask(view, goal, failed, PushOptions(workspace=WORKSPACE, allow_clear=False, threshold=0.0))
        else:
            options = PushOptions(workspace=WORKSPACE, allow_clear=clear, rule_below=self.rule_below)
            plan = self._ask(view, goal, failed, options)
        return decision_of(plan)

    def quality(self, view: CameraView, goal: str) -> tuple[float, ModelRef | None]:
        """Of the goal's best grasp, 0 where there is none, and whose it is."""
        found = self.decide(view, goal, (), clear=False, push=False)
        return found.quality, found.grasp_model

    def pushes(self, view: CameraView, goal: str, count: int, random: np.random.Generator) -> list[Push]:
        """Up to `count` feasible pushes about the goal, drawn evenly."""
        options = PushOptions(workspace=WORKSPACE, allow_clear=False, threshold=1.0)
        found = self._ask(view, goal, (), options, EVERY_PUSH, int(random.integers(2**31))).pushes
        return [found[int(place)] for place in random.permutation(len(found))[:count]]

    def _ask(
        self, view: CameraView, goal: str, failed: Sequence[Failure], push: PushOptions, count: int = GRASPS_ASKED,
        seed: int | None = None,
    ) -> ActionPlan:  # fmt: skip
        assert self.spec is not None
        spec = self.spec if seed is None else self.spec.model_copy(update={"seed": seed})
        item = action_request(view, goal_mask(view, goal), spec, self.gripper, self.named.name, failed, count, push)
        return self._actions.plan_action(*item)


def decision_of(plan: ActionPlan) -> Decision:
    """A reply as policies use it."""
    return Decision(
        plan.goal_quality,
        plan.action,
        tuple(plan.grasps),
        tuple(plan.clears),
        tuple(plan.pushes),
        plan.model,
        plan.grasp_model,
    )
