"""An executed grasp as the outcome that learners read."""

from __future__ import annotations

import time

import numpy as np

from grasp_client.contract import GraspMeta, ImageSpec, Outcome, SceneRef, SceneRequest
from sim_worker.planner_request import DEPTH_UNIT, in_depth_units
from sim_worker.tasks.attempts import Attempt


def outcome_of(attempt: Attempt, ticket: SceneRequest, outcome_id: str, source: str) -> Outcome[GraspMeta]:
    """What happened, with the images as they were planned on and all that is needed to replay the scene.

    source: the simulator's id.
    """
    choice, result, view = attempt.choice, attempt.result, attempt.view
    images: dict[str, np.ndarray] = {}
    specs: dict[str, ImageSpec] = {}
    if attempt.sent.depth is not None:
        images["depth"] = in_depth_units(attempt.sent)
        specs["depth"] = ImageSpec(shape=list(images["depth"].shape), dtype="uint16", scale=DEPTH_UNIT)
    if attempt.sent.rgb is not None:
        images["rgb"] = attempt.sent.rgb
        specs["rgb"] = ImageSpec(shape=list(attempt.sent.rgb.shape), dtype="uint8")
    details = {"strategy": choice.strategy, "object": result.object_name, **attempt.conditions, **result.details}
    planned = choice.rank is not None
    meta = GraspMeta(
        camera=view.camera,
        camera_pose=np.asarray(view.camera_pose).tolist(),
        gripper=attempt.gripper,
        grasp=choice.grasp,
        rank=choice.rank if choice.rank is not None else len(attempt.plan.grasps),
        planner=attempt.plan.planner if planned else choice.strategy,
        model=attempt.plan.model if planned else None,
        quality=choice.grasp.quality if planned else 0.0,
        exploration=choice.exploration,
        probability=choice.probability,
        success=result.success,
        failure=result.failure,
        scene=SceneRef(
            seed=ticket.seed,
            kind=ticket.kind,
            object_set=ticket.object_set,
            profile=ticket.profile,
            objects=list(view.objects),
            ticket=ticket.id,
        ),
        source=source,
        request_id=attempt.plan.request_id or None,
        time=time.time(),
        duration=result.simulated_seconds,
        details=details,
        images=specs,
    )
    return Outcome(id=outcome_id, meta=meta, images=images)
