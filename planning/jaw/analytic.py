"""`antipodal`: geometry only. Every raised cell under 16 angles: what would the jaw hold, and what would it hit?"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

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

CANDIDATES, REFINED, POLISHED = 320, 96, 16
"""Candidates measured per observation, those fitted to the object's sides, and those fitted again; more when more grasps are
asked for."""
START = 1.7
"""Score of a perfect grasp of a thin object. This and the costs below are the logits of a logistic regression on 2,557
simulated grasps, half of them with sensor noise, pose error and heavy, slippery objects; misfit and asymmetry cost a little
more than it found, so that among equals the tidy grasp is taken."""
FLAT, TURN, ASIDE, OFFSET = 1.9 / 0.010, 0.6 / 0.1, 0.5 / 0.006, 1.8 / 0.040
"""Cost of a metre of gap, of a radian of misfit, of metres off the middle along and across the closing axis."""
SLANT, LINES = 2.6, 4.0
"""Cost of sides of 45 degrees, of no contact over the finger's width."""
GRIP, THIN, OVERLAP, CLEARANCE = 2.6 / 0.080, 2.9 / 0.010, 0.3 / 0.020, 0.4 / 0.006
"""Worth of a metre of grip, cost of a metre that it is thinner than THICK, worth of metres of overlap (up to 20 mm) and of
clearance."""
THICK = 0.012
HALF_BIN = math.pi / ANGLES / 2
"""Misfit that a first look cannot tell, rad."""
MOVE = 0.012
"""Farthest that a hand is moved across its closing axis to the middle of the object, m."""
OVERLAP, CLEARANCE = 0.020, 0.3
"""Metres of overlap that are worth 1, and what full clearance is worth."""
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
    """Analytic score (N,) of hands: the logit of success; weights above."""
    return (
        START
        - FLAT * hands.flat
        - TURN * hands.turn.abs()
        - ASIDE * hands.aside.clamp(max=0.02)
        - OFFSET * hands.offset.abs()
        - SLANT * hands.slant.clamp(max=1.5)
        - LINES * (1 - hands.lines) ** 2
        + GRIP * hands.grip
        - THIN * (THICK - hands.grip).clamp(min=0.0)
        + OVERLAP * hands.overlap.clamp(max=0.02)
        + CLEARANCE * hands.clearance
        - outside_roi_penalty(scene, hands)
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
    return TRUNCATED_COST * out


def outside_region_penalty(scene: PlanningScene, hands: JawCandidates) -> Tensor:
    """What (N,) hands lose in the choice of those worth a closer look because they lie where no grasp is asked for."""
    if not has_region(scene):
        return torch.zeros_like(hands.x)
    outside = outside_region(scene, map_pixels(scene, hands.pose.position))
    return OUTSIDE * torch.stack(list(outside.values())).any(0)


def quality(score: Tensor) -> Tensor:
    """Probability of success (N,) for analytic scores."""
    return torch.sigmoid(score)
