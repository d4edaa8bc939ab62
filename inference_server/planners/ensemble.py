"""`ensemble`: jaw and suction ranked together, for a robot that carries both tools or can change them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from inference_server.planners.planner import Item, LoadedNetwork, Planner, discover
from shared.contract import GraspKind, GraspPlan, PlanRequest

MEMBERS: dict[GraspKind, tuple[str, ...]] = {"parallel_jaw": ("dense", "antipodal"), "suction": ("suction_dense", "suction")}
"""Planners asked for each kind of gripper: the first whose network is loaded or that needs none."""


class EnsemblePlanner(Planner):
    name = "ensemble"
    description = "Jaw and suction grasps ranked together by probability of success; reads the gripper's sizes of both. Depth."
    grippers = frozenset({"parallel_jaw", "suction"})

    def plan_batch(self, items: Sequence[Item], network: LoadedNetwork | None) -> list[GraspPlan]:
        for item in items:
            self.check(*item)
        plans = zip(*(self._plan_kind(kind, items) for kind in MEMBERS), strict=True)
        return [merged(self.name, request, each) for (_, request), each in zip(items, plans, strict=True)]

    def _plan_kind(self, kind: GraspKind, items: Sequence[Item]) -> list[GraspPlan]:
        """Plans for one kind of gripper, by its best planner that can answer now."""
        asked = [
            (observation, request.model_copy(update={"gripper": request.gripper.model_copy(update={"kind": kind})}))
            for observation, request in items
        ]
        members = [discover()[name]() for name in MEMBERS[kind]]
        able = ((each, self.networks(each.model_name) if each.model_name else None) for each in members)
        planner, network = next((each, found) for each, found in able if found or each.model_name is None)
        return planner.plan_batch(asked, network)


def merged(planner: str, request: PlanRequest, plans: Sequence[GraspPlan]) -> GraspPlan:
    """One plan of several: the best grasps of all, refusals added up."""
    grasps = sorted((grasp for plan in plans for grasp in plan.grasps), key=lambda grasp: -grasp.quality)
    rejections = sum((Counter(plan.rejections) for plan in plans), Counter())
    return GraspPlan(
        planner=planner,
        grasps=grasps[: request.n_grasps],
        rejections=dict(sorted(rejections.items())),
        timings_ms={"plan": sum(plan.timings_ms["plan"] for plan in plans)},
        warnings=list(dict.fromkeys(warning for plan in plans for warning in plan.warnings)),
    )
