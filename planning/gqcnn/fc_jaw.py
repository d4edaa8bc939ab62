"""`fc_gqcnn`: a fully convolutional GQ-CNN scores every place under 16 angles and 16 depths (FC-GQ-CNN, Satish et al. 2019)."""

from __future__ import annotations

import math

import numpy as np
import torch

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem
from planning.batched_inference import BatchedPlanner, InferenceSteps, run_batched
from planning.calibration import calibrated
from planning.gqcnn.crop_scorer import crop_views, to_image, to_map
from planning.gqcnn.dense_evaluation import angle_maps, best
from planning.jaw.candidates import JawCandidates
from planning.jaw.filters import veto
from planning.jaw.fit import measure
from planning.jaw.sampling import ANGLES
from planning.plan_result import select
from planning.scene.scene import PlanningScene

PEAKS = 1024
"""Best local maxima of the maps that geometry looks at."""
SCORED = 64
"""Feasible ones whose quality is asked again at the pose that will be executed: geometry moves a hand to the middle."""
REFINED = 8
"""The best of those, none repeating another, which are tried again turned and with their tips higher and lower."""
TIP_STEP = 0.006
"""By so much, m; they are turned by an angle of the maps."""


class FCGQCNNPlanner(BatchedPlanner):
    name = "fc_gqcnn"
    description = (
        "Fully convolutional GQ-CNN over all places, 16 angles and 16 depths; geometry fits the opening and vetoes. Depth."
    )
    cpu_seconds = 1.5
    model_name = "gqcnn-jaw"

    def steps(self, item: PlanItem, network: LoadedNetwork | None) -> InferenceSteps[GraspPlan]:
        request, network = item[1], self.need(network)
        scorer = crop_views(item, network)
        scene = scorer.scene
        maps, unproposed = yield from angle_maps(scene, scorer)
        peaks, _ = best(scene, maps, max(PEAKS, 4 * request.n_grasps))
        hands, missed = measure(scene, *to_map(scene, peaks))
        hands, vetoed = veto(scene, hands)
        hands = hands.pick(torch.arange(min(len(hands), max(SCORED, request.n_grasps)), device=scene.device))
        logits = yield from scorer(to_image(scene, hands.pose))
        nearby = _nearby(scene, hands.distinct(logits, REFINED)[0])
        logits = torch.cat([logits, (yield from scorer(to_image(scene, nearby.pose)))])
        hands, quality = hands.join(nearby), calibrated(logits, network.card.calibration)
        # An empty answer says why, also where nothing could be tried.
        rejected = missed + vetoed if len(hands) else missed + vetoed + unproposed
        return select(self.name, scene, hands, quality, rejected, network)

    @torch.inference_mode()
    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        """(16, H, W): quality at the best depth; 0 where nothing rises above the table."""
        network = self.need(network)
        scorer = crop_views((observation, request), network)
        maps = np.zeros((ANGLES, *observation.size), np.float32)
        [((found, _), _)] = run_batched([angle_maps(scorer.scene, scorer, close=False)])
        for each in found:
            quality = calibrated(each.logits.amax(0), network.card.calibration)
            k = math.floor(each.angle * ANGLES / math.pi + 0.25) % ANGLES  # bins may lie on multiples or between them
            maps[k] = each.on_image(quality, observation.size).cpu().numpy()
        return maps


def _nearby(scene: PlanningScene, hands: JawCandidates) -> JawCandidates:
    """What is feasible of hands turned to both sides, and with their tips higher and lower."""
    turns = hands.angle.new_tensor([math.pi / ANGLES, -math.pi / ANGLES, 0, 0])[:, None]
    rises = hands.angle.new_tensor([0, 0, TIP_STEP, -TIP_STEP])[:, None]
    x, y = (each.repeat(len(turns)) for each in (hands.x, hands.y))
    angle, tip = (hands.angle + turns).reshape(-1), (hands.tip + rises).reshape(-1)
    found, _ = measure(scene, x, y, angle, tip)
    found, _ = veto(scene, found)
    return found
