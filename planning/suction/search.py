"""The search that every planner of cups on the map starts from: would a cup lie flat there, all of it, its way in free?"""

from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from planning.limits import TRUNCATED_COST
from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates
from planning.suction.filters import veto
from planning.suction.peel_moment import peel_probability
from planning.suction.sampling import least_rise, propose
from planning.suction.thin_objects import flat_on_thin_object, is_thin_on_table

CANDIDATES = 400
"""Contacts looked at closely per observation; more when more grasps are asked for."""
REFINED = 96
"""The best of them, which are moved towards the middle."""


@dataclass(frozen=True)
class SuctionScoreWeights:
    """Weights of the analytic score of a cup, a logit of success: costs, and the worth of `margin`."""

    intercept: float
    """Score of a perfect contact with a rim that just lies on its surface, logit."""
    curved: float
    """Cost of what the smoothed surface asks of the lip, logit per what it takes up."""
    rough: float
    """Cost of the root mean square departure from that plane, logit per what the lip takes up."""
    margin: float
    """Worth of surface beyond the rim, logit per metre between LEAST_MARGIN and MOST_MARGIN."""
    peel: float
    """Worth of the logarithm of the probability that a thing of unknown weight does not peel the cup off, logit."""
    lever: float
    """Cost of the distance between the contact and the middle of the thing, logit per metre: of equal cups the middle one."""
    tilt: float
    """Cost of the cup's tilt, logit per radian."""


SUCTION_WEIGHTS = SuctionScoreWeights(
    intercept=0.5, curved=0.25, rough=1.3, margin=0.55 / 0.001, peel=1.65, lever=0.5 / 0.030, tilt=1.7
)
"""A logistic regression on 3,151 attempts in 235 scenes of training objects, with cups of 6 to 20 mm whose lips and moments
differ; half of the scenes have one object, a third of all are hard. They rank those with an AUC of 0.82."""
LEAST_MARGIN = -0.003
"""A rim that hangs farther over an edge costs no more, m."""
MOST_MARGIN = 0.004
"""More surface beyond the rim is worth no more, m."""


@torch.inference_mode()
def predict(scene: PlanningScene) -> tuple[PlanningScene, SuctionCandidates, Counter[str]]:
    """Feasible cups of a scene with their analytic scores, in any order, and counted rejections.

    Where nothing else can be sucked, thin slabs are raised; the scene that is returned is the one in which the cups lie.
    """
    cups, rejected = _predict(scene)
    slabs = None if len(cups) else is_thin_on_table(scene, least_rise(scene))
    if slabs is None:
        return scene, cups, rejected
    cups, rejected = _predict(slabs)
    cups, over_edge = cups.filtered({"over_edge": ~flat_on_thin_object(slabs, cups)})
    return slabs, cups, rejected + over_edge


def _predict(scene: PlanningScene) -> tuple[SuctionCandidates, Counter[str]]:
    wanted = scene.request.n_grasps
    cups, rejected = propose(scene, rate, max(CANDIDATES, 3 * wanted), max(REFINED, wanted))
    cups, vetoed = veto(scene, cups)
    return replace(cups, score=rate(cups) - outside_roi_penalty(cups)), rejected + vetoed


def rate(cups: SuctionCandidates, weights: SuctionScoreWeights = SUCTION_WEIGHTS) -> Tensor:
    """Analytic score (N,) of cups: the logit of success; linear in the weights."""
    return (
        weights.intercept
        - weights.curved * cups.curved
        - weights.rough * cups.rough
        + weights.margin * cups.margin.clamp(LEAST_MARGIN, MOST_MARGIN)
        + weights.peel * torch.log(peel_probability(cups.heaviest))
        - weights.lever * cups.lever
        - weights.tilt * cups.tilt
    )


def outside_roi_penalty(cups: SuctionCandidates) -> Tensor:
    """What (N,) cups lose of their logit because what they stand on reaches out of the picture: a robot's arm, a bin's wall."""
    return TRUNCATED_COST * cups.truncated
