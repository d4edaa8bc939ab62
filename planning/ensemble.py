"""`ensemble`: jaw and suction ranked together, for a robot that carries both tools or can change them."""

from collections import Counter
from collections.abc import Sequence

from grasp_client.contract import GraspKind, GraspPlan, PlanRequest
from planning.base import LoadedNetwork, PlanItem
from planning.batched_inference import BatchedPlanner, InferenceSteps
from planning.discovery import discover

MEMBERS: dict[GraspKind, tuple[str, ...]] = {"parallel_jaw": ("dense", "antipodal"), "suction": ("suction_dense", "suction")}
"""Planners asked for each kind of gripper: the first whose network is loaded or that needs none."""


class EnsemblePlanner(BatchedPlanner):
    name = "ensemble"
    description = "Jaw and suction grasps ranked together by probability of success; reads the gripper's sizes of both. Depth."
    cpu_seconds = 0.15
    grippers = frozenset({"parallel_jaw", "suction"})

    batched_with = "dense"

    def steps(self, item: PlanItem, network: LoadedNetwork | None) -> InferenceSteps[GraspPlan]:
        plans = []
        for kind in MEMBERS:
            plans.append((yield from self._plan_kind(kind, item)))
        return merged(self.name, item[1], plans)

    def _plan_kind(self, kind: GraspKind, item: PlanItem) -> InferenceSteps[GraspPlan]:
        """The plan for one kind of gripper, by its best planner that can answer now."""
        observation, request = item
        asked = observation, request.model_copy(update={"gripper": request.gripper.model_copy(update={"kind": kind})})
        members = [discover()[name]() for name in MEMBERS[kind]]
        able = ((each, self.networks(each.model_name) if each.model_name else None) for each in members)
        planner, network = next((each, found) for each, found in able if found or each.model_name is None)
        if isinstance(planner, BatchedPlanner):
            return (yield from planner.steps(asked, network))
        return planner.plan_batch([asked], network)[0]


def merged(planner: str, request: PlanRequest, plans: Sequence[GraspPlan]) -> GraspPlan:
    """One plan of several: the best grasps of all, refusals added up."""
    grasps = sorted((grasp for plan in plans for grasp in plan.grasps), key=lambda grasp: -grasp.quality)
    rejections = sum((Counter(plan.rejections) for plan in plans), Counter())
    return GraspPlan(
        planner=planner,
        grasps=grasps[: request.n_grasps],
        rejections=dict(sorted(rejections.items())),
        warnings=list(dict.fromkeys(warning for plan in plans for warning in plan.warnings)),
    )
