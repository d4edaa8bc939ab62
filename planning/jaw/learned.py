"""`dense`: geometry proposes and vetoes, a network that sees the scene from the hand ranks."""

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem
from planning.batched_inference import BatchedPlanner, InferenceSteps, NetworkCall, between_passes
from planning.calibration import promise_in
from planning.jaw.candidates import JawCandidates
from planning.jaw.quality_map import quality_map
from planning.jaw.search import predict, rate
from planning.plan_result import select
from planning.scene.scene import observe_scene
from shared.features.hand_frame import patches

RANKED = 64
"""Candidates that the network sees per observation, at least: in 24 scenes of validation objects the one that it finds best is
among the first 9 of the analytic score."""
APART = 0.006
"""Candidates nearer than this to a better one, and turned by less than TURNED, are not worth the network's time, m."""
TURNED = 0.17
"""See APART, rad."""


class DensePlanner(BatchedPlanner):
    name = "dense"
    several_views = True
    description = "Geometry proposes and vetoes, a network that sees the height map in the hand's frame ranks. Depth."
    cpu_seconds = 0.035
    model_name = "dense"
    architecture = "dense"

    def steps(self, item: PlanItem, network: LoadedNetwork | None) -> InferenceSteps[GraspPlan]:
        observation, request = item
        network = network or self.need(network)
        scene = observe_scene(observation, request, network.device, for_jaw=True)
        between_passes.get()()
        hands, rejected = predict(scene)
        hands, _ = hands.distinct(hands.score, max(RANKED, 2 * request.n_grasps), APART, TURNED)
        logits = hands.score
        if len(logits):
            logits = yield NetworkCall(network, (patches(scene.map, hands.pose, scene.gripper, scene.unit),))
        # The network sees the surroundings of the hand, not where the picture ends.
        quality = promise_in(scene, hands.pose.approach, logits, hands.beyond, hands.score, network.card)
        return select(self.name, scene, hands, quality, rejected, network)

    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        loaded = self.need(network)
        scene = observe_scene(observation, request, loaded.device)

        def judge(hands: JawCandidates) -> Tensor:
            logits = loaded.module(patches(scene.map, hands.pose, request.gripper))
            scores = rate(scene, hands)
            return promise_in(scene, hands.pose.approach, logits.float(), torch.zeros_like(scores), scores, loaded.card)

        return quality_map(scene, judge)
