"""Plans with the grasps that the arm can get to: the best are tried first, and no more than are wanted."""

from collections.abc import Sequence

import numpy as np

from grasp_client.contract import Grasp, GraspPlan, RefusedGrasp
from planning.base import Arm, PlanItem
from planning.explanation.refused import MOST_REFUSED

SPARE = 20
"""A planner is asked for so many grasps more than are wanted, and for SHARE times as many: some of them cannot be reached."""
SHARE = 3
REACH_UNKNOWN = (
    "reach_unknown: nothing tells where these grasps lie for the arm, so that they were not checked for its reach: send depth, "
    "`camera` and `camera_pose`, or `reach`: false"
)


def with_spare(item: PlanItem) -> PlanItem:
    """The item as its planner is asked where an arm has to reach the grasps."""
    observation, request = item
    wanted = max(SHARE * request.n_grasps, request.n_grasps + SPARE)
    return observation, request.model_copy(update={"n_grasps": wanted})


def within_reach(plan: GraspPlan, wanted: int, arm: Arm) -> GraspPlan:
    """The best `wanted` grasps of a plan that the arm reaches from their pre-grasp; those tried in vain count as unreachable,
    and come first among the refused where these are told. A warning says so where grasps have no poses in the base frame."""
    if any(grasp.pose_base is None for grasp in plan.grasps):
        return plan.model_copy(update={"grasps": plan.grasps[:wanted], "warnings": [*plan.warnings, REACH_UNKNOWN]})
    found: list[Grasp] = []
    missed: list[Grasp] = []
    left = plan.grasps
    while left and len(found) < wanted:
        most = wanted - len(found)
        tried, left = left[:most], left[most:]
        for grasp, reached in zip(tried, _reached(tried, arm), strict=True):
            (found if reached else missed).append(grasp)
    rejections = dict(plan.rejections)
    if missed:
        rejections["unreachable"] = len(missed)
    changes: dict[str, object] = {"grasps": found, "rejections": dict(sorted(rejections.items()))}
    if missed and plan.refused is not None:
        told = [RefusedGrasp(**dict(grasp), reason="unreachable") for grasp in missed]
        changes["refused"] = [*told, *plan.refused][:MOST_REFUSED]
    return plan.model_copy(update=changes)


def _reached(grasps: Sequence[Grasp], arm: Arm) -> np.ndarray:
    """Whether (N,) bool grasps, jaws' or cups' of one plan, are reached."""
    poses, before = (np.array([getattr(grasp, name) for grasp in grasps]) for name in ("pose_base", "pregrasp_base"))
    return arm.reaches(poses, before, grasps[0].kind == "suction")
