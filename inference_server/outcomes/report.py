"""From what a robot reports, and what the server itself knows of the plan, to the outcome that is stored."""

import math
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from grasp_client.contract import FailedGrasp, Grasp, GraspMeta, Outcome, OutcomeReport, PlanRequest
from grasp_client.observation import Observation
from inference_server.errors import ServerError, invalid_fields
from inference_server.outcomes.recent_plans import RecentPlan
from inference_server.security.keys import LOCAL, Caller
from planning.rectification import rectify
from shared.learnable import why_not_learnable
from shared.outcome_codec import build_outcome

ROUNDING = 1e-3
"""By which a number that a robot repeats may differ from the plan's (absolutely, or relatively where it is above 1)."""


def id_of(report: OutcomeReport, caller: Caller) -> str:
    """The outcome's id, which no other key can make. Raises ServerError 422 for a report that gives nothing to make it of."""
    own = report.id
    if own is None:
        if not report.request_id:
            raise ServerError(
                422, "invalid_field", "outcome.id: expected an id that stays the same on every retry (or a request_id)"
            )
        own = f"{robot_of(report) or 'robot'}:{report.request_id}:{report.rank}"[:200]
    return own if caller is LOCAL else f"{caller.name}:{own}"


def robot_of(report: OutcomeReport) -> str:
    """What the robot calls itself."""
    return report.robot or report.source


def check_scene(report: OutcomeReport, caller: Caller) -> None:
    """Raises ServerError 422 for a scene from anybody but a worker, who has it from the trainer with its nonce."""
    if report.scene is None or ("worker" in caller.roles and report.scene.nonce):
        return
    raise ServerError(
        422,
        "scene_not_allowed",
        "outcome.scene: only a simulation worker may send it (key of role `worker`), with the nonce of its scene request; "
        "leave it out, and say by `group` which attempts belong to one scene",
    )


def outcome_of(
    report: OutcomeReport, outcome_id: str, caller: Caller, sent: Observation | None, recent: RecentPlan | None
) -> Outcome[GraspMeta]:
    """The outcome of a report. What the server knows of the plan it says itself.

    Raises ServerError 404 or 422 for what is missing, contradicts the plan, or cannot be learned from.
    """
    report, sent = _rectified(report, sent)
    said = {name: value for name, value in report if value is not None and name not in ("id", "source", "robot")}
    known = _known(report, recent, sent) if recent else {}
    fields = {**said, **known, "source": caller.name, "robot": robot_of(report), "served": recent is not None}
    missing = [name for name in ("grasp", "planner") if name not in fields]
    if missing:
        raise _incomplete(report, missing)
    seen = recent.observation if recent else sent or Observation()
    try:
        outcome = build_outcome(GraspMeta, outcome_id, seen.depth, seen.rgb, fields)
    except ValidationError as error:
        raise invalid_fields("outcome", error, GraspMeta) from None
    if why := why_not_learnable(outcome.meta.model_dump()):
        raise ServerError(
            422, "not_learnable", f"nothing can be learned from this outcome: {why}", detail={"learnable": False, "why": why}
        )
    return outcome


def _rectified(report: OutcomeReport, sent: Observation | None) -> tuple[OutcomeReport, Observation | None]:
    """As plans are remembered and outcomes are stored: by plain intrinsics of the image's own size."""
    if report.camera is None or report.camera.is_plain:
        return report, sent
    if sent is None:  # the plan's own camera counts
        return report.model_copy(update={"camera": None}), None
    tried = [] if report.grasp is None else [FailedGrasp(center_px=report.grasp.center_px)]
    sent, plain = rectify((sent, PlanRequest(camera=report.camera, failed=tried)))
    moved = [report.grasp and report.grasp.model_copy(update={"center_px": each.center_px}) for each in plain.failed]
    return report.model_copy(update={"camera": plain.camera, "grasp": moved[0] if moved else None}), sent


def _known(report: OutcomeReport, recent: RecentPlan, sent: Observation | None) -> dict[str, Any]:
    """What the plan says of the grasp that was executed. Raises ServerError 422 where the report says otherwise."""
    plan, request = recent.plan, recent.request
    if report.rank >= len(plan.grasps):
        raise ServerError(422, "invalid_field", f"rank {report.rank}: that plan has {len(plan.grasps)} grasps, counted from 0")
    grasp = plan.grasps[report.rank]
    fields = {
        "planner": plan.planner, "model": plan.model, "grasp": grasp, "quality": grasp.quality, "gripper": request.gripper,
        "camera": request.camera, "camera_pose": request.camera_pose,
    }  # fmt: skip
    known = {name: value for name, value in fields.items() if value is not None}
    wrong = [name for name, value in known.items() if name != "grasp" and not _agrees(getattr(report, name), value)]
    if report.grasp is not None and not _same_grasp(report.grasp, grasp):
        wrong.append("grasp")
    if plan.model is None and report.model is not None:
        wrong.append("model")
    if sent is not None and not _same_images(sent, recent.observation):
        wrong.append("images")
    if wrong:
        raise ServerError(
            422,
            "contradicts_plan",
            f"{', '.join(wrong)}: this server's record of the plan {plan.request_id[:80]!r} says otherwise; leave out what the "
            "plan says. For a grasp of your own, leave out `request_id` and send grasp, planner, camera and image",
        )
    return known


def _agrees(said: Any, known: Any) -> bool:
    """Whether what is said is what is known, within rounding; None says nothing."""
    if said is None:
        return True
    if known is None:
        return False
    if isinstance(said, BaseModel):
        return all(_agrees(getattr(said, name), getattr(known, name)) for name in said.model_fields_set)
    if isinstance(said, list):
        return len(said) == len(known) and all(map(_agrees, said, known))
    if isinstance(said, float):
        return math.isclose(said, known, rel_tol=ROUNDING, abs_tol=ROUNDING)
    return bool(said == known)


def _same_grasp(said: Grasp, known: Grasp) -> bool:
    """By its pose if it has one: the reply's pixels are those of the image as it was sent, with the lens's distortion."""
    posed = known.pose_camera is not None and said.pose_camera is not None
    return _agrees(said.model_copy(update={"center_px": known.center_px}) if posed else said, known)


def _same_images(sent: Observation, planned: Observation) -> bool:
    pairs = [(image, getattr(planned, name)) for name, image in sent.images.items()]
    return all(ours is not None and mine.shape == ours.shape and np.allclose(mine, ours, atol=ROUNDING) for mine, ours in pairs)


def _incomplete(report: OutcomeReport, missing: list[str]) -> ServerError:
    needed = " and ".join(f"`{name}`" for name in missing)
    if report.request_id:
        return ServerError(
            404,
            "plan_expired",
            f"the plan {report.request_id[:80]!r} is not (or no longer) known here as yours: send {needed}, camera and images",
        )
    return ServerError(422, "invalid_field", f"outcome: {needed} missing; send them, or the `request_id` of a recent plan")
