"""`gqcnn`: antipodal depth-edge samples, refined by the cross-entropy method on a GQ-CNN's quality (Dex-Net 2.0, section V)."""

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from planning.gqcnn.cem import SEEDS, TRIED, CrossEntropyPlanner, Poses
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps, to_image, to_map
from planning.gqcnn.edge_sampler import antipodal_pairs
from planning.jaw.candidates import JawCandidates
from planning.jaw.filters import veto
from planning.jaw.fit import measure
from planning.jaw.sampling import propose
from planning.scene.scene import PlanningScene

DEPTHS = (0.005, 0.035)
"""How far under the surface at its centre a seed's fingertips reach, m."""
LEVER = 0.03
"""Metres that a unit of the doubled angle's sine or cosine counts for in the mixture."""


class GQCNNPlanner(CrossEntropyPlanner[JawCandidates]):
    """Poses are x, y, angle and tip height."""

    name = "gqcnn"
    description = "Antipodal depth edges refined by the cross-entropy method on a GQ-CNN's quality of depth crops. Depth."
    model_name = "gqcnn-jaw"
    dimensions = 5

    def seeds(self, scene: PlanningScene, scorer: CropScorer, generator: torch.Generator, rejected: Counter[str]) -> Poses:
        """Antipodal depth edges; where the image shows too few, raised cells of the map as well."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        observation, gripper = scene.observation, scene.gripper
        assert observation.depth is not None
        allowed = observation.depth > 0
        if observation.graspable is not None:
            allowed &= observation.graspable
        filled = scorer.depth.cpu().numpy()
        centers, angles = antipodal_pairs(filled, allowed, scene.camera.fx, gripper.max_width, TRIED * SEEDS, rng)
        rows, columns = filled.shape
        surface = filled[
            np.clip(np.rint(centers[:, 1]), 0, rows - 1).astype(int),
            np.clip(np.rint(centers[:, 0]), 0, columns - 1).astype(int),
        ]
        depth = surface + rng.uniform(*DEPTHS, len(surface))
        tensors = (torch.as_tensor(values, dtype=torch.float32, device=scene.device) for values in (centers, angles, depth))
        poses = to_map(scene, ImageGrasps(*tensors))
        if len(centers) >= SEEDS:
            return poses
        x, y, angle, refused = propose(scene, SEEDS)
        rejected += refused
        [top] = scene.sample(x, y, scene.upper_bound)
        reach = torch.as_tensor(rng.uniform(*DEPTHS, len(x)), dtype=torch.float32, device=scene.device)
        return tuple(torch.cat(pair) for pair in zip(poses, (x, y, angle, top - reach), strict=True))

    def feasible(self, scene: PlanningScene, poses: Poses) -> tuple[JawCandidates, Counter[str]]:
        x, y, angle, tip = poses
        hands, missed = measure(scene, x, y, angle, tip)
        hands, vetoed = veto(scene, hands)
        return hands, missed + vetoed

    def seen(self, scene: PlanningScene, candidates: JawCandidates) -> ImageGrasps:
        return to_image(scene, candidates.pose)

    def points(self, candidates: JawCandidates) -> Tensor:
        # Half a turn gives the same jaw: the doubled angle on a circle has no seam there.
        doubled = 2 * candidates.angle
        turn = (LEVER * torch.cos(doubled), LEVER * torch.sin(doubled))
        return torch.stack([candidates.x, candidates.y, candidates.tip, *turn], 1)

    def poses(self, points: Tensor) -> Poses:
        x, y, tip, cosine, sine = points.unbind(1)
        return x, y, torch.atan2(sine, cosine) / 2, tip
