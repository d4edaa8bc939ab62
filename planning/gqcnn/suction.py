"""`suction_gqcnn`: surface points and their normals, refined by the cross-entropy method on a GQ-CNN (Dex-Net 3.0)."""

from collections import Counter

import torch
from torch import Tensor

from planning.gqcnn.cem import SEEDS, TRIED, CrossEntropyPlanner, Poses
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps
from planning.scene.projection import map_pixels, project_suction
from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates
from planning.suction.filters import veto
from planning.suction.sampling import centres
from planning.suction.seal import lay_cups
from shared.features.crops import cup_crop_view


class SuctionGQCNNPlanner(CrossEntropyPlanner[SuctionCandidates]):
    """Poses are x and y: height and normal follow from the surface."""

    name = "suction_gqcnn"
    description = "Surface points refined by the cross-entropy method on a suction GQ-CNN's quality of depth crops. Depth."
    model_name = "gqcnn-suction"
    grippers = frozenset({"suction"})
    dimensions = 2

    def seeds(self, scene: PlanningScene, scorer: CropScorer, generator: torch.Generator, rejected: Counter[str]) -> Poses:
        """Raised cells of the map, in random order."""
        x, y = centres(scene, rejected)
        order = torch.randperm(len(x), generator=generator)[: TRIED * SEEDS].to(x.device)
        return x[order], y[order]

    def feasible(self, scene: PlanningScene, poses: Poses) -> tuple[SuctionCandidates, Counter[str]]:
        x, y = poses
        return veto(scene, lay_cups(scene, x, y, close=True))

    def seen(self, scene: PlanningScene, candidates: SuctionCandidates) -> ImageGrasps:
        return cups_in_image(scene, candidates)

    def points(self, candidates: SuctionCandidates) -> Tensor:
        return torch.stack([candidates.x, candidates.y], 1)

    def poses(self, points: Tensor) -> Poses:
        return tuple(points.unbind(1))


def cups_in_image(scene: PlanningScene, cups: SuctionCandidates) -> ImageGrasps:
    """Cups as suction GQ-CNNs were taught them: the approach's projection along the crop's middle row, depth of the contact."""
    pose = project_suction(scene, scene.gripper.model_copy(update={"tcp_offset": 0.0}), cups.pose).pose.float()
    turn, lean = cup_crop_view(pose[:, :3, 2])
    return ImageGrasps(map_pixels(scene, cups.pose.position), turn, pose[:, 2, 3], lean)
