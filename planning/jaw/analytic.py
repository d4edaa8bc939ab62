"""`antipodal`: geometry only. Every raised cell under 16 angles: what would the jaw hold, and what would it hit?"""

import time
from collections.abc import Sequence

import numpy as np
import torch

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem, Planner
from planning.jaw.quality_map import quality_map
from planning.jaw.search import predict, rate
from planning.plan_result import select
from planning.scene.scene import observe_scene


class AntipodalPlanner(Planner):
    name = "antipodal"
    several_views = True
    description = "Analytic: opposite contacts on the height map, swept clear of collisions. Depth; needs no weights."
    cpu_seconds = 0.035

    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        return [self._plan(*item) for item in items]

    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        scene = observe_scene(observation, request, torch.device("cpu"))
        return quality_map(scene, lambda hands: torch.sigmoid(rate(scene, hands)))

    def _plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        started = time.perf_counter()
        scene = observe_scene(observation, request, torch.device("cpu"), for_jaw=True)
        hands, rejected = predict(scene)
        hands = hands.best_first(hands.score)  # which tells apart what are equal probabilities
        return select(self.name, scene, hands, torch.sigmoid(hands.score), rejected, started=started)
