"""`fc_gqcnn`: a fully convolutional GQ-CNN scores every place under 16 angles and 16 depths (FC-GQ-CNN, Satish et al. 2019)."""

from __future__ import annotations

import math

import numpy as np
import torch

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem
from planning.batched_inference import BatchedPlanner, InferenceSteps
from planning.calibration import calibrated
from planning.gqcnn.crop_scorer import crop_views, to_image, to_map
from planning.gqcnn.dense_evaluation import ANGLES, angle_maps, best
from planning.jaw.filters import veto
from planning.jaw.fit import measure
from planning.plan_result import select

PEAKS = 1024
"""Best local maxima of the maps that geometry looks at."""
SCORED = 128
"""Feasible ones whose quality is asked again at the pose that will be executed: geometry moves a hand to the middle."""


class FCGQCNNPlanner(BatchedPlanner):
    name = "fc_gqcnn"
    description = (
        "Fully convolutional GQ-CNN over all places, 16 angles and 16 depths; geometry fits the opening and vetoes. Depth."
    )
    cpu_seconds = 3.0
    model_name = "gqcnn-jaw"

    def steps(self, item: PlanItem, network: LoadedNetwork | None) -> InferenceSteps[GraspPlan]:
        request, network = item[1], self.need(network)
        scorer = crop_views(item, network)
        scene = scorer.scene
        peaks, _ = best(scene, angle_maps(scene, scorer), max(PEAKS, 4 * request.n_grasps))
        hands, missed = measure(scene, request.gripper, *to_map(scene, peaks))
        hands, vetoed = veto(scene, request.gripper, hands)
        hands = hands.pick(torch.arange(min(len(hands), max(SCORED, request.n_grasps)), device=scene.device))
        quality = calibrated((yield from scorer(to_image(scene, hands.pose))), network.card.calibration)
        return select(self.name, scene, hands, quality, missed + vetoed, network)

    @torch.inference_mode()
    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        """(16, H, W): quality at the best depth; 0 where nothing rises above the table."""
        network = self.need(network)
        scorer = crop_views((observation, request), network)
        maps = np.zeros((ANGLES, *observation.size), np.float32)
        for each in angle_maps(scorer.scene, scorer):
            quality = calibrated(each.logits.amax(0), network.card.calibration)
            k = math.floor(each.angle * ANGLES / math.pi + 0.25) % ANGLES  # bins may lie on multiples or between them
            maps[k] = each.on_image(quality, observation.size).cpu().numpy()
        return maps
