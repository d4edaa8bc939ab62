"""`dense`: geometry proposes and vetoes, a network that sees the scene from the hand ranks."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem
from planning.batched_inference import BatchedPlanner, InferenceSteps, NetworkCall, between_passes
from planning.calibration import calibrated, scene_logits
from planning.jaw.candidates import JawCandidates
from planning.jaw.quality_map import quality_map
from planning.jaw.search import outside_roi_penalty, predict, rate
from planning.plan_result import select
from planning.scene.scene import observe_scene
from shared.features.hand_frame import patches
from shared.registry import ModelCard

RANKED = 64
"""Candidates that the network sees per observation, at least: in 24 scenes of validation objects the one that it finds best is
among the first 9 of the analytic score."""
APART = 0.006
"""Candidates nearer than this to a better one, and turned by less than TURNED, are not worth the network's time, m."""
TURNED = 0.17
"""See APART, rad."""


@dataclass(frozen=True)
class BlendWeights:
    """How the analytic score counts beside the network; `python -m benchmarks.analytic_score` fits both weights."""

    score: float
    """What a unit of the analytic score adds to the network's calibrated logit."""
    neutral: float
    """The analytic score that adds nothing."""
    saturation: float
    """That logit counts almost fully up to here and less beyond: nobody knows 98 % from 99 %."""


BLEND = BlendWeights(score=0.6, neutral=0.42, saturation=4.0)
"""Fitted to the 4,878 of its best grasps that were tried in 655 scenes of validation objects; the score counts for more than
these ask for, so that among grasps that the network takes for equal the tidy one wins."""
LEANING = BlendWeights(score=0.2, neutral=-0.5, saturation=4.0)
"""The same for hands that lean, against which the score holds mostly that they lean. Fitted to 1,962 such grasps in scenes
of validation objects, where they ask for .03 to .08 of it."""
FULLY_LEANING = math.radians(30)
"""From here on LEANING counts alone, rad from straight down."""


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
        inside, told = scene_logits(logits, network.card.calibration, scene, hands.pose.approach)
        quality = promise(inside - outside_roi_penalty(scene, hands), hands.score, network.card, told)
        return select(self.name, scene, hands, quality, rejected, network)

    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        loaded = self.need(network)
        scene = observe_scene(observation, request, loaded.device)

        def judge(hands: JawCandidates) -> Tensor:
            logits = loaded.module(patches(scene.map, hands.pose, request.gripper))
            inside, told = scene_logits(logits.float(), loaded.card.calibration, scene, hands.pose.approach)
            return promise(inside, rate(scene, hands), loaded.card, told)

        return quality_map(scene, judge)


def promise(logits: Tensor, scores: Tensor, card: ModelCard, told: np.ndarray, leans: Tensor | None = None) -> Tensor:
    """Probability of success (N,) that a plan promises, from the network's calibrated logits (N,) and analytic scores (N,).

    card: of the network; its `promise` calibrates the blend by told circumstances (N, C), since what neither part was fitted to
    is that the best of a plan are executed. One without leaves the blend as it is. leans: as for `blend`.
    """
    return calibrated(blend(logits, scores, leans), card.promise, told)


def blend(logits: Tensor, scores: Tensor, leans: Tensor | None = None) -> Tensor:
    """Logit of success (N,) from the network's calibrated logits (N,) and analytic scores (N,).

    leans: angles (N,) of approaches from straight down, rad; none: all come straight down. Between straight down and
    FULLY_LEANING weights go over into each other.
    """
    straight = blended_logits(logits, scores)
    if leans is None:
        return straight
    share = (leans.to(logits.device) / FULLY_LEANING).clamp(0, 1)
    return straight + share * (blended_logits(logits, scores, LEANING) - straight)


def blended_logits(logits: Tensor, scores: Tensor, weights: BlendWeights = BLEND) -> Tensor:
    """Logit of success (N,) from the network's calibrated logits (N,) and analytic scores (N,), by weights of one approach."""
    believed = weights.saturation * torch.tanh(logits / weights.saturation)
    return believed + weights.score * (scores.to(logits.device) - weights.neutral)
