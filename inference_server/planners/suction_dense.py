"""`suction_dense`: geometry proposes and vetoes cups, a network that sees the scene from the cup ranks them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference_server.planners.antipodal import select
from inference_server.planners.calibration import calibrated
from inference_server.planners.placement import Placed
from inference_server.planners.planner import Item, LoadedNetwork, Planner
from inference_server.planners.scene import Scene, view
from inference_server.planners.selection import distinct
from inference_server.planners.suction import beyond_view, predict
from inference_server.planners.suction_cups import Cups
from shared.contract import GraspPlan
from shared.networks.cup_frame import patches

RANKED = 192
"""Candidates that the network sees per observation, at least."""
APART = 0.003
"""Candidates nearer than this to a better one are not worth the network's time, m."""


@dataclass
class _Proposed:
    scene: Scene
    cups: Cups
    placed: Placed
    rejected: Counter
    seconds: float


class SuctionDensePlanner(Planner):
    name = "suction_dense"
    description = "Geometry proposes and vetoes cups, a network that sees the height map in the cup's frame ranks. Depth."
    model_name = "suction-dense"
    architecture = "suction-dense"
    grippers = frozenset({"suction"})

    @torch.inference_mode()
    def plan_batch(self, items: Sequence[Item], network: LoadedNetwork | None) -> list[GraspPlan]:
        network = self.need(network)
        proposed = [self._propose(item, network) for item in items]
        started = time.perf_counter()
        inputs = [patches(each.scene.map, each.cups.pose, each.scene.request.gripper) for each in proposed]
        logits = seen_both_ways(network, torch.cat(inputs)) if any(len(each) for each in inputs) else torch.zeros(0)
        # The network sees the surroundings of the cup, not where the picture ends.
        logits = logits - torch.cat([beyond_view(each.scene, each.cups).to(logits.device) for each in proposed])
        qualities = calibrated(logits, network.card.calibration).split([len(each) for each in inputs])
        shared = (time.perf_counter() - started) / len(proposed)
        return [self._select(each, quality, network, shared) for each, quality in zip(proposed, qualities, strict=True)]

    def _propose(self, item: Item, network: LoadedNetwork) -> _Proposed:
        started = time.perf_counter()
        observation, request = item
        self.check(observation, request)
        scene = view(observation, request, network.device)
        cups, placed, rejected = predict(scene)
        kept = distinct(cups, max(RANKED, 2 * request.n_grasps), APART)
        return _Proposed(scene, cups.pick(kept), placed.pick(kept), rejected, time.perf_counter() - started)

    def _select(self, proposed: _Proposed, quality: Tensor, network: LoadedNetwork, shared: float) -> GraspPlan:
        # Stable: where the network cannot tell two cups apart, the analytic order stays.
        order = torch.argsort(quality, descending=True, stable=True)
        started = time.perf_counter() - proposed.seconds - shared
        return select(
            self.name, proposed.scene, proposed.cups.pick(order), proposed.placed.pick(order), quality[order],
            proposed.rejected, started, network,
        )  # fmt: skip


def seen_both_ways(network: LoadedNetwork, seen: Tensor) -> Tensor:
    """Logits (N,) of patches (N, channels, side, side): what the network says of them as they are and turned by half, on
    average.

    A cup is round, so that both are as true, and the network's errors differ: of 660 scenes of validation objects the best of
    about 13 tried cups holds in 86.8 %, by one view in 85.5 %.
    """
    both = network.module(torch.cat([seen, seen.flip(2, 3)])).float()
    return both.reshape(2, -1).mean(0)
