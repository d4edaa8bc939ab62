"""Planner `ranked`: the proposals of `antipodal`, ranked by a logistic regression that `train.py` fitted."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grasp_client.contract import Grasp, GraspPlan, PlanRequest
from planning.base import LoadedNetwork, PlanItem, Planner
from planning.jaw.analytic import AntipodalPlanner

WEIGHTS = Path(__file__).with_name("ranked_planner.json")
PROPOSALS = 100


def features(grasp: Grasp, opening: float) -> np.ndarray:
    """(5,): what the geometry thinks of the grasp, its width as a share of the opening, the same squared, its depth, 1."""
    quality = min(max(grasp.quality, 1e-4), 1 - 1e-4)
    share = (grasp.width or opening) / opening
    return np.array([np.log(quality / (1 - quality)), share, share**2, grasp.depth or 0.0, 1.0])


class RankedPlanner(Planner):
    """Antipodal grasps in the order of what held in simulation."""

    name = "ranked"
    description = "antipodal grasps, ranked by a logistic regression on simulated attempts"

    def __init__(self) -> None:
        self._weights = np.array(json.loads(WEIGHTS.read_bytes())["weights"])
        self._geometry = AntipodalPlanner()

    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        more = [(observation, request.model_copy(update={"n_grasps": PROPOSALS})) for observation, request in items]
        plans = self._geometry.plan_batch(more, None)
        return [self._ranked(plan, request) for plan, (_, request) in zip(plans, items, strict=True)]

    def _ranked(self, plan: GraspPlan, request: PlanRequest) -> GraspPlan:
        opening = request.gripper.max_width
        for grasp in plan.grasps:
            grasp.quality = float(1 / (1 + np.exp(-self._weights @ features(grasp, opening))))
        best = sorted(plan.grasps, key=lambda grasp: -grasp.quality)[: request.n_grasps]
        return plan.model_copy(update={"planner": self.name, "grasps": best})
