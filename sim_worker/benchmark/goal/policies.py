"""What is compared: ways to choose the next move of a planner's grasps and pushes, from none of its own choice to foresight."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from grasp_client.contract import Gripper, Push, PushOptions
from sim_worker.benchmark.baselines import centroid_minor_axis
from sim_worker.grasp_poses import points_in_base
from sim_worker.planner_request import Failure
from sim_worker.sampling.surface import Surface
from sim_worker.tasks.goal_episode import Decision, Look, Move, push_poses
from sim_worker.tasks.goals import is_in_workspace, is_visible
from sim_worker.world import CameraView, Scene

PolicyName = Literal["push_grasp", "push_only", "grasp_only", "random_push", "rule", "oracle", "qmap"]
POLICIES: tuple[PolicyName, ...] = ("push_grasp", "push_only", "grasp_only", "random_push", "rule", "oracle", "qmap")
THRESHOLD = PushOptions().threshold
"""Quality from which on the goal is grasped: as in requests that do not say."""
FORESEEN = 12
"""Pushes that the oracle simulates before it makes the best one."""
NEAR = 0.04
"""Neighbours so near to the goal are in the way of fingers, m."""
RISE = 0.008
"""What rises so far over the table is a thing, m."""
GOAL_COST = 2.0
"""The rule: how much worse it is to sweep a part of the goal than it is good to sweep as much of a neighbour."""
HALF_HAND = 0.0145
"""Half the width of closed fingertips, m."""
REPEATED = 0.03
"""m: starts and ends of two pushes that are both nearer than this make the same push, which the rule does not make twice."""


class GoalPlanner(Protocol):
    """Who is asked what can be done about a goal."""

    def decide(self, view: CameraView, goal: str, failed: Sequence[Failure], clear: bool, push: bool) -> Decision:
        """clear, push: whether grasps of neighbours, and pushes, are wanted as well."""


@dataclass
class Policy:
    """One policy in one episode. Call it with each look."""

    name: PolicyName
    planner: GoalPlanner
    scene: Scene
    gripper: Gripper
    random: np.random.Generator
    _made: list[Push] = field(default_factory=list)

    def __call__(self, look: Look) -> Move | None:
        if self.name == "grasp_only":
            return self._grasp_anyway(look)
        clear = self.name == "push_grasp"
        decision = self.planner.decide(look.view, look.goal, look.failed, clear, push=True)
        if decision.grasps and decision.quality >= THRESHOLD:
            return Move("grasp", decision, grasp=decision.grasps[0], value=decision.quality)
        if decision.action == "clear":
            return Move("clear", decision, grasp=decision.clears[0], value=decision.clears[0].quality)
        if decision.pushes:
            push = self._choose(look, decision)
            self._made.append(push)
            return Move("push", decision, push=push, value=push.predicted_quality or 0.0)
        if decision.grasps:
            return Move("grasp", decision, grasp=decision.grasps[0], value=decision.quality)
        return None

    def _choose(self, look: Look, decision: Decision) -> Push:
        if self.name == "random_push":
            return decision.pushes[int(self.random.integers(len(decision.pushes)))]
        if self.name == "rule":
            return self._swept(look, decision.pushes)
        return self._foreseen(look, decision.pushes) if self.name == "oracle" else decision.pushes[0]

    def _grasp_anyway(self, look: Look) -> Move | None:
        """The goal's best grasp whatever its quality; without one, through the middle of what is seen of it, and the hand may
        touch what stands around."""
        decision = self.planner.decide(look.view, look.goal, look.failed, clear=False, push=False)
        if decision.grasps:
            return Move("grasp", decision, grasp=decision.grasps[0], value=decision.quality)
        view = look.view
        seen = replace(view.observation, segmask=look.mask)
        surface = Surface.of(seen, view.camera, np.asarray(view.camera_pose), self.gripper)
        found = centroid_minor_axis(surface, self.gripper, 1, self.random)
        return Move("grasp", decision, grasp=found[0], contact_allowed=True) if found else None

    def _swept(self, look: Look, pushes: Sequence[Push]) -> Push:
        """The push that sweeps away most of what stands near the goal, and least of the goal."""
        points, mine = raised_points(look.view, look.mask)
        goal, others = points[mine], points[~mine]
        if len(goal) and len(others):
            near = np.array([np.hypot(*(goal[::4, :2] - each[:2]).T).min() < NEAR for each in others])
            others = others[near]
        fresh = [push for push in pushes if not any(_same(push, made, look.view) for made in self._made)] or list(pushes)
        worth = [len(_corridor(push, others, look.view)) - GOAL_COST * len(_corridor(push, goal, look.view)) for push in fresh]
        return fresh[int(np.argmax(worth))]

    def _foreseen(self, look: Look, pushes: Sequence[Push]) -> Push:
        """The best of FORESEEN pushes that are each tried and taken back."""
        settled, scene = self.scene.snapshot(), self.scene
        tried = [pushes[int(place)] for place in self.random.permutation(len(pushes))[:FORESEEN]]
        worth = []
        for push in tried:
            # The same error of the hand as when it is made.
            scene.push(*push_poses(push, np.asarray(look.view.camera_pose)), self.gripper, trial=look.motions)
            scene.commit()
            view = scene.observe()
            there = is_in_workspace(scene, look.goal) and is_visible(view, look.goal)
            worth.append(self.planner.decide(view, look.goal, (), clear=False, push=False).quality if there else -1.0)
            scene.revert(settled)
        return tried[int(np.argmax(worth))]


def raised_points(view: CameraView, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) of what stands on the table, m in the base frame, and which of them (N,) are the goal's: `mask` (H, W)."""
    depth = view.observation.depth
    assert depth is not None
    points = points_in_base(depth, view.camera, np.asarray(view.camera_pose))[::2, ::2]
    raised = np.nan_to_num(points[..., 2]) > RISE
    return points[raised], mask[::2, ::2][raised]


def _corridor(push: Push, points: np.ndarray, view: CameraView) -> np.ndarray:
    """Those of points (N, 3) that a push sweeps."""
    start, end = (pose[:2, 3] for pose in push_poses(push, np.asarray(view.camera_pose)))
    length = float(np.hypot(*(end - start)))
    along = (end - start) / max(length, 1e-9)
    from_start = points[:, :2] - start
    ahead, aside = from_start @ along, from_start @ np.array([-along[1], along[0]])
    swept: np.ndarray = points[(ahead > 0) & (ahead < length + HALF_HAND) & (np.abs(aside) < HALF_HAND)]
    return swept


def _same(first: Push, second: Push, view: CameraView) -> bool:
    ends = [push_poses(each, np.asarray(view.camera_pose)) for each in (first, second)]
    return all(float(np.hypot(*(ends[0][k] - ends[1][k])[:2, 3])) < REPEATED for k in (0, 1))
