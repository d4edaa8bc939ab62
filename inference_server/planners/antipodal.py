"""`antipodal`: geometry only. Every raised cell under 16 angles: what would the jaw hold, and what would it hit?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from inference_server.planners.grip import measure
from inference_server.planners.hands import Hands
from inference_server.planners.placement import Placed, grasps
from inference_server.planners.planner import Item, LoadedNetwork, Planner
from inference_server.planners.proposal import propose
from inference_server.planners.scene import Scene, view
from inference_server.planners.selection import distinct, veto
from shared.contract import GraspPlan, PlanRequest

CANDIDATES, REFINED = 320, 128
"""Candidates measured per observation, and those turned to fit the object's sides; more when more grasps are asked for."""
FLAT, TURN, ASIDE, OFFSET = 0.008, 0.2, 0.006, 0.040
"""Metres of gap, radians of misfit, metres off the middle along and across the closing axis that cost 1."""
SLANT, LINES, GRIP = 0.8, 1.5, 0.5
"""Cost of sides of 45 degrees, of no contact over the finger's width, of an object as wide as the jaw opens."""
OVERLAP, CLEARANCE = 0.020, 0.3
"""Metres of overlap that are worth 1, and what full clearance is worth."""
PARTLY_SEEN = 3.0
"""What it costs that the thing held reaches out of view: a robot arm, a bin wall, half an object."""
STEEPNESS, EVEN = 2.0, 0.4
"""The logistic that makes a score a probability: its slope, and the score that succeeds half of the time."""
NO_CAMERA = "no camera was sent: a field of view of 61 degrees was assumed, and the reply carries pixels only"


class AntipodalPlanner(Planner):
    name = "antipodal"
    description = "Analytic: opposite contacts on the height map, swept clear of collisions. Depth; needs no weights."

    def plan_batch(self, items: Sequence[Item], network: LoadedNetwork | None) -> list[GraspPlan]:
        return [self._plan(*item) for item in items]

    def _plan(self, observation, request: PlanRequest) -> GraspPlan:
        started = time.perf_counter()
        self.check(observation, request)
        scene = view(observation, request, torch.device("cpu"))
        hands, placed, rejected = predict(scene)
        return select(self.name, scene, hands, placed, quality(hands.score), rejected, started)


@torch.inference_mode()
def predict(scene: Scene) -> tuple[Hands, Placed, Counter]:
    """Feasible hands of a scene, best analytic score first, where they are seen, and counted rejections."""
    gripper, wanted = scene.request.gripper, scene.request.n_grasps
    x, y, angle, rejected = propose(scene, gripper, max(CANDIDATES, 3 * wanted))
    hands, fitting, missed = measure(scene, gripper, x, y, angle)
    kept = torch.argsort(rate(scene, hands), descending=True)[: max(REFINED, 2 * wanted)]
    fine, _, _ = measure(scene, gripper, hands.x[kept], hands.y[kept], fitting[kept])
    hands, placed, vetoed = veto(scene, gripper, hands.pick(kept).join(fine))
    score = rate(scene, hands)
    order = torch.argsort(score, descending=True, stable=True)
    return hands.scored(score).pick(order), placed.pick(order), rejected + missed + vetoed


def rate(scene: Scene, hands: Hands) -> Tensor:
    """Analytic score (N,) of hands; weights above."""
    tips = hands.tip - scene.table_at(hands.x, hands.y)
    partly_seen = scene.sample(scene.leaving, hands.x, hands.y) >= tips
    return (
        1.0
        - hands.flat / FLAT
        - SLANT * hands.slant.clamp(max=1.5)
        - LINES * (1 - hands.lines) ** 2
        + (hands.overlap / OVERLAP).clamp(max=1.0)
        - GRIP * hands.grip / scene.request.gripper.max_width
        - hands.turn.abs() / TURN
        - hands.aside / ASIDE
        - hands.offset / OFFSET
        + CLEARANCE * hands.clearance / 0.006
        - PARTLY_SEEN * partly_seen
    )


def quality(score: Tensor) -> Tensor:
    """Probability of success (N,) for analytic scores."""
    return torch.sigmoid(STEEPNESS * (score - EVEN))


def select(
    planner: str, scene: Scene, hands: Hands, placed: Placed, qualities: Tensor, rejected: Counter, started: float
) -> GraspPlan:
    """The reply: the best of hands that are sorted by quality, none repeating another."""
    request = scene.request
    enough = qualities >= request.min_quality
    rejected["low_quality"] += int((~enough).sum())
    hands, placed, qualities = hands.pick(enough), placed.pick(enough), qualities[enough]
    chosen = distinct(hands, request.n_grasps)
    return GraspPlan(
        planner=planner,
        grasps=grasps(scene, placed.pick(chosen), hands.width[chosen], qualities[chosen]),
        rejections={reason: count for reason, count in sorted(rejected.items()) if count},
        timings_ms={"plan": 1e3 * (time.perf_counter() - started)},
        warnings=[] if scene.metric else [NO_CAMERA],
    )
