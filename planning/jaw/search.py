"""The search that every planner of jaws on the map starts from: what would a hand hold, what would it hit, how good is it?"""

import math
from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from planning.goal.contacts import misses_goal
from planning.jaw.candidates import JawCandidates
from planning.jaw.filters import veto
from planning.jaw.fit import measure
from planning.jaw.sampling import ANGLES, propose
from planning.limits import TRUNCATED_COST
from planning.scene.projection import map_pixels
from planning.scene.region import outside_region
from planning.scene.scene import PlanningScene

CANDIDATES = 320
"""Candidates measured per observation; more when more grasps are asked for. With 224, and 80 and 12 of the closer looks,
`dense` removed less in 7 of 350 scenes of validation objects (single, pile, bin) and more in none."""
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
    steep: float
    """Cost of both sides leaning more than STEEP all the way up, logit per unit of run over rise, up to MOST_STEEP."""
    lines: float
    """Cost of a finger that touches nothing over its width; falls with the square of the share that does not, logit."""
    grip: float
    """Worth of the distance between the contacts, logit per metre, up to MOST_GRIP."""
    thin: float
    """Cost of what that distance lacks of THICK, logit per metre."""
    overlap: float
    """Worth of the object's height above the tips, logit per metre, up to MOST_OVERLAP."""
    clearance: float
    """Worth of free space beyond the fingers' padding, logit per metre; `contact.EXTRA` bounds it at 6 mm."""
    tight: float
    """Cost of what there is less than that padding, logit per metre."""
    hollow: float
    """Cost of a way between the contacts on which nothing stands, as between two things, logit."""


JAW_WEIGHTS = JawScoreWeights(
    intercept=1.81,
    flat=132.0,
    turn=4.18,
    aside=58.0,
    offset=31.3,
    slant=1.69,
    steep=9.0,
    lines=2.73,
    grip=33.7,
    thin=202.0,
    overlap=3.48,
    clearance=35.3,
    tight=1500.0,
    hollow=3.0,
)
"""Fitted to 9,457 simulated grasps of training objects, half of them with profile `hard`. Misfit and asymmetry cost more than
these say, so that among equals the tidy grasp is taken. `tight` is by 369 grasps of boxes of 68 to 79 mm with a jaw of 80 mm,
profile `standard`: 55 % held where 2.0 to 2.5 mm of the padding lacked, 82 % at 1.5 to 2.0, 96 % below 1.0. `hollow` is set so
that two things side by side come after one, in 14 piles of validation objects. `steep` is by 13,706 grasps of training
objects, which ask for 6.9: of 192 that were promised .70 and lean more than STEEP on both sides .42 held, of wedges of
45 degrees none of 16."""
MOST_ASIDE = 0.020
"""Contacts farther off the middle cost no more, m."""
MOST_SLANT = 1.5
"""Sides that lean more cost no more, run over rise."""
STEEP, MOST_STEEP = 0.5, 1.1
"""Sides that lean less are held by friction, run over rise; more costs no more."""
THICK = 0.012
"""What is thinner than this is harder to hold, m."""
MOST_GRIP = 0.050
"""A wider grip is worth no more, m."""
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
SHARED = 5.0
"""The same for hands that would hold the goal and a neighbour, and may yet move so that they do not."""


@torch.inference_mode()
def predict(scene: PlanningScene, effort: float = 1.0) -> tuple[JawCandidates, Counter[str]]:
    """Feasible hands of a scene with their analytic scores, in any order, and counted rejections. effort: share of the usual
    candidates that are looked at."""
    wanted = scene.request.n_grasps
    looked_at, refined, polished = (round(effort * each) for each in (CANDIDATES, REFINED, POLISHED))
    x, y, angle, rejected = propose(scene, max(looked_at, 3 * wanted))
    hands, missed = measure(scene, x, y, angle)
    hands = hands.pick(_best(rate(scene, hands) - outside_region_penalty(scene, hands), max(refined, 2 * wanted)))
    fine, _ = measure(scene, *fitted(hands), close=True)
    best = _best(rate(scene, fine), max(polished, wanted))
    x, y, angle = (each[best] for each in fitted(fine))
    finer, _ = measure(scene, x, y, angle, close=True)
    first_look = replace(hands, turn=hands.turn.abs() + HALF_BIN)
    hands, vetoed = veto(scene, first_look.join(fine, finer))
    beyond = outside_roi_penalty(scene, hands)
    return replace(hands, beyond=beyond, score=contact_score(hands) - beyond), rejected + missed + vetoed


def _best(scores: Tensor, most: int) -> Tensor:
    """Indices of the `most` best of scores (N,), best first."""
    return torch.argsort(scores, descending=True)[:most]


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
        - weights.steep * (hands.steep.clamp(max=MOST_STEEP) - STEEP).clamp(min=0.0)
        - weights.lines * (1 - hands.lines) ** 2
        + weights.grip * hands.grip.clamp(max=MOST_GRIP)
        - weights.thin * (THICK - hands.grip).clamp(min=0.0)
        + weights.overlap * hands.overlap.clamp(max=MOST_OVERLAP)
        + weights.clearance * hands.clearance.clamp(min=0.0)
        - weights.tight * (-hands.clearance).clamp(min=0.0)
        - weights.hollow * hands.hollow
    )


def outside_roi_penalty(scene: PlanningScene, hands: JawCandidates) -> Tensor:
    """What (N,) hands lose of their logit because what they grip reaches out of the picture, the region or the segmask: a
    robot's arm, an object together with the wall of its bin or with a neighbour."""
    out = hands.truncated
    if scene.restricted:
        reach = 0.5 * hands.grip[:, None] * hands.pose.rotation[:, :, 0]
        contacts = torch.cat([hands.pose.position + reach, hands.pose.position - reach])
        outside = outside_region(scene, map_pixels(scene, contacts), BESIDE)
        out = out | torch.stack(list(outside.values())).any(0).reshape(2, -1).any(0)
    result: Tensor = TRUNCATED_COST * out
    return result


def outside_region_penalty(scene: PlanningScene, hands: JawCandidates) -> Tensor:
    """What (N,) hands lose in the choice of those worth a closer look because they lie where no grasp is asked for."""
    penalty = torch.zeros_like(hands.x)
    if scene.goal is not None:
        beside = ~scene.sample(hands.x, hands.y, scene.goal)[0]
        penalty += OUTSIDE * beside + SHARED * misses_goal(scene, hands.pose)
    if scene.restricted:
        outside = outside_region(scene, map_pixels(scene, hands.pose.position))
        penalty += OUTSIDE * torch.stack(list(outside.values())).any(0)
    return penalty
