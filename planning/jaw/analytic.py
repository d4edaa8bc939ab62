"""`antipodal`: geometry only. Every raised cell under 16 angles: what would the jaw hold, and what would it hit?"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem, Planner
from planning.jaw.candidates import JawCandidates
from planning.jaw.filters import veto
from planning.jaw.fit import measure
from planning.jaw.quality_map import quality_map
from planning.jaw.sampling import ANGLES, propose
from planning.limits import TRUNCATED_COST
from planning.plan_result import select
from planning.scene.projection import ProjectedGrasps, map_pixels
from planning.scene.region import has_region, outside_region
from planning.scene.scene import PlanningScene, observe_scene

CANDIDATES = 320
"""Candidates measured per observation; more when more grasps are asked for."""
REFINED = 96
"""The best of them, which are fitted to the object's sides."""
POLISHED = 16
"""The best of those, which are fitted again."""


@dataclass(frozen=True)
class JawScoreWeights:
    """Weights of the analytic score of a jaw grasp, a logit of success: costs, and worths of `grip`, `overlap`, `clearance`.

    `python -m benchmarks.analytic_score` fits them by logistic regression.
    """

    intercept: float
    """Score of a perfect grasp without grip, overlap and clearance, logit."""
    flat: float
    """Cost of the mean gap between flat fingers and object, logit per metre."""
    turn: float
    """Cost of misfit about the approach, logit per radian."""
    aside: float
    """Cost of contacts off the middle between the fingers, logit per metre, up to MOST_ASIDE."""
    offset: float
    """Cost of the object's middle lying across the closing axis, logit per metre."""
    slant: float
    """Cost of leaning sides, logit per unit of run over rise, up to MOST_SLANT."""
    lines: float
    """Cost of a finger that touches nothing over its width; falls with the square of the share that does not, logit."""
    grip: float
    """Worth of the distance between the contacts, logit per metre."""
    thin: float
    """Cost of what that distance lacks of THICK, logit per metre."""
    overlap: float
    """Worth of the object's height above the tips, logit per metre, up to MOST_OVERLAP."""
    clearance: float
    """Worth of free space beside the fingers, logit per metre; `fit.EXTRA` bounds it at 6 mm."""


JAW_WEIGHTS = JawScoreWeights(
    intercept=1.81,
    flat=132.0,
    turn=4.18,
    aside=58.0,
    offset=31.3,
    slant=1.69,
    lines=2.73,
    grip=33.7,
    thin=202.0,
    overlap=3.48,
    clearance=35.3,
)
"""Fitted to 9,457 simulated grasps of training objects, half of them with profile `hard`. Misfit and asymmetry cost more than
these say, so that among equals the tidy grasp is taken."""
MOST_ASIDE = 0.020
"""Contacts farther off the middle cost no more, m."""
MOST_SLANT = 1.5
"""Sides that lean more cost no more, run over rise."""
THICK = 0.012
"""What is thinner than this is harder to hold, m."""
MOST_OVERLAP = 0.020
"""More overlap is worth no more, m."""
HALF_BIN = math.pi / ANGLES / 2
"""Misfit that a first look cannot tell, rad."""
MOVE = 0.012
"""Farthest that a hand is moved across its closing axis to the middle of the object, m."""
BESIDE = 0.004
"""A contact may lie this far out of the region, m: less than a wall is thick."""
OUTSIDE = 10.0
"""More than any score: these hands come last, since they may yet move to where grasps are asked for."""


class AntipodalPlanner(Planner):
    name = "antipodal"
    description = "Analytic: opposite contacts on the height map, swept clear of collisions. Depth; needs no weights."

    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        return [self._plan(*item) for item in items]

    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        scene = observe_scene(observation, request, torch.device("cpu"))
        return quality_map(scene, lambda hands: quality(rate(scene, hands)))

    def _plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        started = time.perf_counter()
        scene = observe_scene(observation, request, torch.device("cpu"))
        hands, placed, rejected = predict(scene)
        return select(self.name, scene, hands, placed, quality(hands.score), rejected, started=started)


@torch.inference_mode()
def predict(scene: PlanningScene) -> tuple[JawCandidates, ProjectedGrasps, Counter[str]]:
    """Feasible hands of a scene, best analytic score first, where they are seen, and counted rejections."""
    gripper, wanted = scene.request.gripper, scene.request.n_grasps
    x, y, angle, rejected = propose(scene, gripper, max(CANDIDATES, 3 * wanted))
    hands, _, missed = measure(scene, gripper, x, y, angle)
    kept = torch.argsort(rate(scene, hands) - outside_region_penalty(scene, hands), descending=True)[: max(REFINED, 2 * wanted)]
    hands = hands.pick(kept)
    fine, _, _ = measure(scene, gripper, *fitted(hands), close=True)
    best = fine.pick(torch.argsort(rate(scene, fine), descending=True)[: max(POLISHED, wanted)])
    finer, _, _ = measure(scene, gripper, *fitted(best), close=True)
    first_look = replace(hands, turn=hands.turn.abs() + HALF_BIN)
    hands, placed, vetoed = veto(scene, gripper, first_look.join(fine).join(finer))
    score = rate(scene, hands)
    order = torch.argsort(score, descending=True, stable=True)
    return hands.scored(score).pick(order), placed.pick(order), rejected + missed + vetoed


def fitted(hands: JawCandidates) -> tuple[Tensor, Tensor, Tensor]:
    """Map x, y and angle (N,) of hands turned to fit what they grip and moved across the closing axis towards its middle."""
    move = hands.offset.clamp(-MOVE, MOVE)
    return hands.x - move * torch.sin(hands.angle), hands.y + move * torch.cos(hands.angle), hands.angle + hands.turn


def rate(scene: PlanningScene, hands: JawCandidates) -> Tensor:
    """Analytic score (N,) of hands in their scene: the logit of success."""
    return contact_score(hands) - outside_roi_penalty(scene, hands)


def contact_score(hands: JawCandidates, weights: JawScoreWeights = JAW_WEIGHTS) -> Tensor:
    """Logit of success (N,) of hands by how they touch what they hold; linear in the weights."""
    return (
        weights.intercept
        - weights.flat * hands.flat
        - weights.turn * hands.turn.abs()
        - weights.aside * hands.aside.clamp(max=MOST_ASIDE)
        - weights.offset * hands.offset.abs()
        - weights.slant * hands.slant.clamp(max=MOST_SLANT)
        - weights.lines * (1 - hands.lines) ** 2
        + weights.grip * hands.grip
        - weights.thin * (THICK - hands.grip).clamp(min=0.0)
        + weights.overlap * hands.overlap.clamp(max=MOST_OVERLAP)
        + weights.clearance * hands.clearance
    )


def outside_roi_penalty(scene: PlanningScene, hands: JawCandidates) -> Tensor:
    """What (N,) hands lose of their logit because what they grip reaches out of the picture or the region: a robot's arm, an
    object together with the wall of its bin."""
    tips = hands.tip - scene.table_at(hands.x, hands.y)
    out = scene.sample(scene.truncated_to, hands.x, hands.y) >= tips
    if scene.request.region is not None:
        for half in (0.5 * hands.grip, -0.5 * hands.grip):
            contact = hands.pose.position + half[:, None] * hands.pose.closing
            out = out | outside_region(scene, map_pixels(scene, contact), BESIDE)["region"]
    result: Tensor = TRUNCATED_COST * out
    return result


def outside_region_penalty(scene: PlanningScene, hands: JawCandidates) -> Tensor:
    """What (N,) hands lose in the choice of those worth a closer look because they lie where no grasp is asked for."""
    if not has_region(scene):
        return torch.zeros_like(hands.x)
    outside = outside_region(scene, map_pixels(scene, hands.pose.position))
    return OUTSIDE * torch.stack(list(outside.values())).any(0)


def quality(score: Tensor) -> Tensor:
    """Probability of success (N,) for analytic scores."""
    return torch.sigmoid(score)
