"""`gqcnn`: antipodal depth-edge samples, refined by the cross-entropy method on a GQ-CNN's quality (Dex-Net 2.0, section V)."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from inference_server.planners.antipodal import select
from inference_server.planners.crop_scorer import CropScorer, ImageGrasps, to_image, to_map
from inference_server.planners.dense import calibrated
from inference_server.planners.depth_edges import antipodal_pairs
from inference_server.planners.grip import measure
from inference_server.planners.hands import Hands
from inference_server.planners.mixture import Mixture
from inference_server.planners.placement import place
from inference_server.planners.planner import Item, LoadedNetwork, Planner
from inference_server.planners.proposal import propose
from inference_server.planners.scene import Scene, view
from inference_server.planners.selection import veto
from shared.contract import GraspPlan, ModelRef

SEEDS, RESAMPLED, ITERATIONS = 128, 64, 3
ELITE, COMPONENTS = 32, 8
"""Best poses so far to which the mixture is fitted, and its components."""
TRIED = 6
"""Poses measured and vetoed for each that the network sees: geometry is cheaper than a forward pass."""
DEPTHS = (0.005, 0.035)
"""How far under the surface at its centre a seed's fingertips reach, m."""
LEVER = 0.03
"""Metres that a unit of the doubled angle's sine or cosine counts for in the mixture."""
FLOOR = 0.002
"""Least standard deviation of the mixture's components, m."""

Poses = tuple[Tensor, Tensor, Tensor, Tensor]
"""x, y, angle and tip height (N,) in the map."""


@dataclass
class _Found:
    """What was scored so far."""

    hands: list[Hands] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    rejected: Counter = field(default_factory=Counter)

    def best_first(self) -> tuple[Hands, Tensor]:
        """All hands and their logits (N,)."""
        hands, logits = self.hands[0], torch.cat(self.logits)
        for more in self.hands[1:]:
            hands = hands.join(more)
        order = torch.argsort(logits, descending=True, stable=True)
        return hands.pick(order), logits[order]


class GQCNNPlanner(Planner):
    name = "gqcnn"
    description = "Antipodal depth edges refined by the cross-entropy method on a GQ-CNN's quality of depth crops. Depth."
    model_name = "gqcnn-jaw"

    @torch.inference_mode()
    def plan_batch(self, items: Sequence[Item], network: LoadedNetwork | None) -> list[GraspPlan]:
        return [self._plan(item, self.need(network)) for item in items]

    def _plan(self, item: Item, network: LoadedNetwork) -> GraspPlan:
        started = time.perf_counter()
        observation, request = item
        self.check(observation, request)
        scene = view(observation, request, network.device)
        scorer = CropScorer(scene, network)
        generator = torch.Generator().manual_seed(secrets.randbits(31) if request.seed is None else request.seed % 2**63)
        found = _Found()
        poses = seeds(scene, scorer, generator)
        self._score(scene, scorer, poses, SEEDS, found)
        hands, logits = found.best_first()
        for _ in range(ITERATIONS if len(hands) else 0):
            self._score(scene, scorer, _resample(hands, generator), RESAMPLED, found)
            hands, logits = found.best_first()
        placed = place(scene, request.gripper, hands)
        qualities = calibrated(logits, network.card.calibration)
        plan = select(self.name, scene, hands, placed, qualities, found.rejected, started)
        return plan.model_copy(update={"model": ModelRef(name=network.name, version=network.version)})

    def _score(self, scene: Scene, scorer: CropScorer, poses: Poses, most: int, found: _Found) -> None:
        """Measure poses (x, y, angle, tip), veto, and score at most `most` of what is left."""
        gripper = scene.request.gripper
        hands, _, missed = measure(scene, gripper, *poses)
        hands, _, vetoed = veto(scene, gripper, hands)
        hands = hands.pick(torch.arange(min(len(hands), most), device=scene.device))
        found.rejected += missed + vetoed
        found.hands.append(hands)
        found.logits.append(scorer(to_image(scene, hands)))


def seeds(scene: Scene, scorer: CropScorer, generator: torch.Generator) -> Poses:
    """x, y, angle, tip (N,) of antipodal depth edges; where the image shows too few, of raised cells of the map."""
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    observation, gripper = scene.observation, scene.request.gripper
    assert observation.depth is not None
    allowed = observation.depth > 0
    if observation.segmask is not None:
        allowed &= observation.segmask
    filled = scorer.depth.cpu().numpy()
    centers, angles = antipodal_pairs(filled, allowed, scene.camera.fx, gripper.max_width, TRIED * SEEDS, rng)
    rows, columns = filled.shape
    surface = filled[
        np.clip(np.rint(centers[:, 1]), 0, rows - 1).astype(int), np.clip(np.rint(centers[:, 0]), 0, columns - 1).astype(int)
    ]
    depth = surface + rng.uniform(*DEPTHS, len(surface))
    tensors = (torch.as_tensor(values, dtype=torch.float32, device=scene.device) for values in (centers, angles, depth))
    poses = to_map(scene, ImageGrasps(*tensors))
    if len(centers) >= SEEDS:
        return poses
    x, y, angle, _ = propose(scene, gripper, SEEDS)
    top = scene.sample(scene.bound, x, y)
    reach = torch.as_tensor(rng.uniform(*DEPTHS, len(x)), dtype=torch.float32, device=scene.device)
    return tuple(torch.cat(pair) for pair in zip(poses, (x, y, angle, top - reach), strict=True))  # type: ignore[return-value]


def _resample(hands: Hands, generator: torch.Generator) -> Poses:
    """Poses drawn from a mixture fitted to the best of the hands, which are sorted best first."""
    best = hands.pick(torch.arange(min(len(hands), ELITE), device=hands.x.device))
    doubled = 2 * best.angle
    points = torch.stack([best.x, best.y, best.tip, LEVER * torch.cos(doubled), LEVER * torch.sin(doubled)], 1).cpu()
    mixture = Mixture(points, COMPONENTS, torch.full((5,), FLOOR), generator)
    x, y, tip, cosine, sine = mixture.sample(TRIED * RESAMPLED, generator).to(hands.x.device).unbind(1)
    return x, y, torch.atan2(sine, cosine) / 2, tip
