"""A scene request whose scene has a goal: one episode of getting it, in which every motion is an outcome.

Pushes alone free the goal here: it is their values that are learned and judged, and clearing would hide what they are worth.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import ActionPlan, EpisodeEnd, GraspPlan, Gripper, PushOptions, SceneRequest
from shared.streams.scene_mix import PUSHER
from sim_worker.planner_request import PlanningRequest
from sim_worker.tasks.attempts import NoPlan
from sim_worker.tasks.goal_episode import EpisodeLog, GoalRunner, Look, Motion, Move
from sim_worker.tasks.goal_planner import GRASPS_ASKED, WORKSPACE, action_request, decision_of
from sim_worker.tasks.goals import goal_of, is_in_workspace, is_visible
from sim_worker.world import Scene

TO_EXPLORE = 100
"""Pushes that are asked for where some are drawn instead of the best."""


@dataclass(frozen=True)
class GoalStep:
    """One motion of the episode. quality_after: of the goal's best grasp, after a push. end: of the last motion."""

    number: int
    motion: Motion
    plan: ActionPlan
    quality_after: float
    end: EpisodeEnd | None
    gripper: Gripper
    conditions: dict[str, float | str]
    exploration: float


GoalTask = Generator[PlanningRequest | GoalStep | NoPlan, ActionPlan, None]


def run_goal_request(scene: Scene, request: SceneRequest, gripper: Gripper) -> GoalTask:
    """Up to the end of the episode, or `request.attempts` motions. A share `request.exploration` of the pushes is drawn."""
    goal, rng = goal_of(scene), np.random.default_rng([request.seed, 5])
    if goal is None:
        return
    runner = GoalRunner(scene, goal, gripper)
    runner.most = request.attempts
    episode = runner.run()
    look = next(episode, None)
    known: ActionPlan | None = None
    of_version = True
    while isinstance(look, Look):
        plan = known or (yield _question(look, request, scene, gripper))
        move = _choose(plan, request.exploration, rng)
        if move is None:
            yield NoPlan(GraspPlan(planner=plan.grasp_planner, rejections=plan.rejections))
            return
        of_version = of_version and not move.exploration
        motion = episode.send(move)
        assert isinstance(motion, Motion)
        known, after = None, 0.0
        if move.kind == "push" and is_in_workspace(scene, goal) and is_visible(scene.observe(), goal):
            now = Look(
                scene.observe(), goal, scene.observe().segmentation == scene.objects.index(goal) + 1, (), motion.number + 1
            )
            known = yield _question(now, request, scene, gripper)
            after = known.goal_quality
        look = next(episode, None)
        end = _end(runner.log, plan, of_version) if look is None else None
        yield GoalStep(motion.number, motion, plan, after, end, gripper, scene.conditions.flat(), request.exploration)


def _question(look: Look, request: SceneRequest, scene: Scene, gripper: Gripper) -> PlanningRequest:
    pushes = request.planner == PUSHER
    push = PushOptions(workspace=WORKSPACE, allow_clear=False, model_version=request.model_version if pushes else None)
    count = TO_EXPLORE if request.exploration else GRASPS_ASKED
    planner = "auto" if pushes else request.planner
    observation, asked = action_request(look.view, look.mask, scene.spec, gripper, planner, look.failed, count, push)
    if not pushes:
        asked = asked.model_copy(update={"model_version": request.model_version})
    return PlanningRequest(observation, asked)


def _choose(plan: ActionPlan, exploration: float, rng: np.random.Generator) -> Move | None:
    """What the reply says, or in a share of its pushes any of those that it lists."""
    decision = decision_of(plan)
    if plan.action == "push":
        drawn = len(plan.pushes) > 1 and rng.random() < exploration
        push = plan.pushes[int(rng.integers(len(plan.pushes))) if drawn else 0]
        return Move("push", decision, push=push, value=push.predicted_quality or 0.0, exploration=drawn)
    if plan.action == "grasp" and plan.grasps:
        return Move("grasp", decision, grasp=plan.grasps[0], value=plan.goal_quality)
    return None


def _end(log: EpisodeLog, plan: ActionPlan, of_version: bool) -> EpisodeEnd:
    return EpisodeEnd(done=log.done, motions=log.motions, model=plan.model if of_version else None)
