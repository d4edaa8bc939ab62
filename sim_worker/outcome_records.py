"""An executed grasp as the outcome that learners read."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from grasp_client.contract import Grasp, GraspMeta, Gripper, ModelRef, Outcome, PushMeta, SceneRef, SceneRequest
from grasp_client.observation import Observation
from shared.outcome_codec import StoredDepth, build_outcome
from sim_worker.tasks.attempts import Attempt
from sim_worker.tasks.goal_episode import OTHER_THING
from sim_worker.tasks.goal_request import GoalStep
from sim_worker.world import AttemptResult, CameraView


@dataclass(frozen=True)
class Proposal:
    """A grasp to try: how it came about (strategy), with what probability, and who planned it. quality: what was promised."""

    grasp: Grasp
    strategy: str
    probability: float
    rank: int
    planner: str
    model: ModelRef | None
    quality: float
    exploration: bool


def grasp_outcome(
    outcome_id: str,
    proposal: Proposal,
    result: AttemptResult,
    view: CameraView,
    sent: Observation,
    gripper: Gripper,
    scene: SceneRef,
    conditions: dict[str, float | str],
    depth: StoredDepth | None = None,
    **fields: Any,
) -> Outcome[GraspMeta]:
    """What happened, with the images as they were planned on (sent) and all that is needed to replay the scene.

    depth: that of `sent`, where it is known as it is stored. fields: others of GraspMeta.
    """
    meta = {
        "camera": view.camera,
        "camera_pose": np.asarray(view.camera_pose).tolist(),
        "gripper": gripper,
        "grasp": proposal.grasp,
        "rank": proposal.rank,
        "planner": proposal.planner,
        "model": proposal.model,
        "quality": proposal.quality,
        "exploration": proposal.exploration,
        "probability": proposal.probability,
        "success": result.success,
        "failure": result.failure,
        "scene": scene,
        "time": time.time(),
        "duration": result.simulated_seconds,
        "details": {"strategy": proposal.strategy, "object": result.object_name, **conditions, **result.details},
    }
    return build_outcome(GraspMeta, outcome_id, depth or sent.depth, sent.rgb, {**meta, **fields})


def push_outcome(
    outcome_id: str, view: CameraView, mask: np.ndarray, conditions: dict[str, float | str], **fields: Any
) -> Outcome[PushMeta]:
    """What came of a push, with the image and the mask (H, W) bool of the goal as they were before it.

    conditions: what the scene drew. fields: others of PushMeta, and `rgb`, the colours, where they are kept.
    """
    meta = {
        "camera": view.camera,
        "camera_pose": np.asarray(view.camera_pose).tolist(),
        "time": time.time(),
        "details": {**conditions, **fields.pop("details", {})},
    }
    rgb = fields.pop("rgb", None)
    return build_outcome(PushMeta, outcome_id, view.observation.depth, rgb, {**meta, **fields}, {"goal": mask})


def goal_outcome(step: GoalStep, request: SceneRequest, outcome_id: str, source: str) -> Outcome[Any]:
    """The outcome of one motion of an episode: of a push, or of a grasp of the goal."""
    motion, plan, look = step.motion, step.plan, step.motion.look
    common: dict[str, Any] = {
        "source": source,
        "request_id": plan.request_id or None,
        "episode": step.end,
        "duration": motion.seconds,
    }
    scene = _scene_of(request, look.view)
    if motion.move.push is not None:
        common |= {"push": motion.move.push, "planner": plan.planner, "model": plan.model, "gripper": step.gripper}
        drawn = {"exploration": motion.move.exploration, "probability": step.exploration if motion.move.exploration else 1.0}
        told = {"quality_before": plan.goal_quality, "quality_after": step.quality_after, "moved": motion.moved}
        ended = {"goal": look.goal, "lost": motion.lost, "blocked": motion.failure == "collision", "scene": scene}
        return push_outcome(outcome_id, look.view, look.mask, step.conditions, **common, **drawn, **told, **ended)
    grasp = motion.move.grasp
    assert grasp is not None
    proposal = Proposal(grasp, "goal", 1.0, 0, plan.grasp_planner, plan.grasp_model, grasp.quality, exploration=False)
    # To lift another thing is to have missed the goal.
    failure = "missed" if motion.failure == OTHER_THING else motion.failure
    result = AttemptResult(motion.success, failure, motion.lifted, motion.seconds)
    return grasp_outcome(
        outcome_id, proposal, result, look.view, look.view.observation, step.gripper, scene, step.conditions,
        **{name: value for name, value in common.items() if name != "duration"},
    )  # fmt: skip


def _scene_of(request: SceneRequest, view: CameraView) -> SceneRef:
    return SceneRef(
        seed=request.seed,
        kind=request.kind,
        object_set=request.object_set,
        profile=request.profile,
        vary=request.vary,
        objects=list(view.objects),
        ticket=request.id,
        nonce=request.nonce or None,
    )


def outcome_of(attempt: Attempt, request: SceneRequest, outcome_id: str, source: str) -> Outcome[GraspMeta]:
    """The outcome of a worker's attempt. source: the simulator's id."""
    choice, plan = attempt.choice, attempt.plan
    planned = choice.rank is not None
    proposal = Proposal(
        choice.grasp,
        choice.strategy,
        choice.probability,
        rank=choice.rank if choice.rank is not None else len(plan.grasps),
        planner=plan.planner if planned else choice.strategy,
        model=plan.model if planned else None,
        quality=choice.grasp.quality if planned else 0.0,
        exploration=choice.exploration,
    )
    scene = _scene_of(request, attempt.view)
    return grasp_outcome(
        outcome_id,
        proposal,
        attempt.result,
        attempt.view,
        attempt.sent,
        attempt.gripper,
        scene,
        attempt.conditions,
        source=source,
        request_id=(plan.request_id or None) if planned else None,
    )
