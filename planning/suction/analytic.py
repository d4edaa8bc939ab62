"""`suction`: geometry only. Every raised cell: would a cup lie flat there, all of it, and is its way in free?"""

import time
from collections.abc import Sequence

import torch

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem, Planner
from planning.plan_result import select
from planning.scene.scene import observe_scene
from planning.suction.search import predict


class SuctionPlanner(Planner):
    name = "suction"
    several_views = True
    description = "Analytic: flat places on the height map, a cup along their normal, its way in free. Depth; needs no weights."
    cpu_seconds = 0.045
    grippers = frozenset({"suction"})

    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        return [self._plan(*item) for item in items]

    def _plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        started = time.perf_counter()
        scene = observe_scene(observation, request, torch.device("cpu"))
        scene, cups, rejected = predict(scene)
        cups = cups.best_first(cups.score)  # which tells apart what are equal probabilities
        return select(self.name, scene, cups, torch.sigmoid(cups.score), rejected, started=started)
