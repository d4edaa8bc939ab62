"""From a network's logits to probabilities, by what its model card says of its calibration."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from planning.scene.scene import PlanningScene
from shared.features.circumstances import circumstances as circumstances_of
from shared.features.circumstances import slope_and_offset
from shared.registry import ModelCard


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


def calibrated(logits: Tensor, calibration: dict[str, Any], circumstances: np.ndarray | None = None) -> Tensor:
    """Probabilities (N,) of logits (N,) with the calibration of a model card: none, a temperature, or one by circumstances."""
    return torch.sigmoid(calibrated_logits(logits, calibration, circumstances))


def calibrated_logits(logits: Tensor, calibration: dict[str, Any], circumstances: np.ndarray | None = None) -> Tensor:
    """Logits (N,) of the same probabilities.

    circumstances: (N, C) of the grasps (`shared.features.circumstances`); without them the usual ones are assumed.
    """
    kind = calibration.get("kind", "none")
    if kind == "temperature":
        return logits / float(calibration["value"])
    if kind == "circumstances":
        told = np.zeros((len(logits), 0)) if circumstances is None else circumstances
        slope, offset = (torch.from_numpy(each).to(logits) for each in slope_and_offset(calibration, told))
        return logits * slope + offset
    if kind == "none":
        return logits
    raise ValueError(f"unknown calibration {kind!r} in the model card; expected none, temperature or circumstances")


def told_by(scene: PlanningScene, approach: Tensor) -> np.ndarray:
    """The circumstances (N, C) of a request's grasps. approach: their directions (N, 3), in axes whose z points down."""
    depth = scene.observation.depth
    assert depth is not None
    leans = torch.arccos(approach[:, 2].clamp(-1, 1)).cpu().numpy()
    return circumstances_of(depth, scene.camera, scene.camera_pose, scene.request.gripper, scene.bin is not None, leans)


def promise(
    logits: Tensor, beyond: Tensor, scores: Tensor, card: ModelCard, told: np.ndarray, leans: Tensor | None = None
) -> Tensor:
    """Probability of success (N,) that a plan of a jaw promises, from a network's logits (N,) and analytic scores (N,).

    beyond: what the network's calibrated logits lose (N,), since it does not see where the picture ends. card: of the network;
    its `promise` calibrates the blend by told circumstances (N, C), since what neither part was fitted to is that the best of a
    plan are executed. One without leaves the blend as it is. leans: as for `blend`.
    """
    inside = calibrated_logits(logits, card.calibration, told) - beyond
    return calibrated(blend(inside, scores, leans), card.promise, told)


def promise_in(
    scene: PlanningScene, approach: Tensor, logits: Tensor, beyond: Tensor, scores: Tensor, card: ModelCard
) -> Tensor:
    """`promise` of grasps straight down in a scene; approach as for `told_by`."""
    return promise(logits, beyond, scores, card, told_by(scene, approach))


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
