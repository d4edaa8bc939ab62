"""The cross-entropy method on the quality of depth crops (Dex-Net 2.0, section V), for whatever gripper."""

import secrets
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from grasp_client.contract import GraspPlan
from planning.base import LoadedNetwork, PlanItem
from planning.batched_inference import BatchedPlanner, InferenceSteps
from planning.calibration import calibrated
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps, crop_views
from planning.gqcnn.gaussian_mixture import Mixture
from planning.jaw.candidates import JawCandidates
from planning.plan_result import select
from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates

SEEDS = 128
"""Poses that the network scores to begin with."""
RESAMPLED = 64
"""Poses that it scores in each iteration."""
ITERATIONS = 3
"""Rounds of samples from the mixture."""
ELITE = 32
"""Best poses so far to which the mixture is fitted."""
COMPONENTS = 8
"""Components of the mixture: several objects can be promising at once."""
TRIED = 6
"""Poses measured and vetoed for each that the network sees: geometry is cheaper than a forward pass."""
LEAST_DEVIATION = 0.002
"""Least standard deviation of the mixture's components, m."""

Poses = tuple[Tensor, ...]
"""Map x, y (N,), and what else a pose of the gripper has."""
Candidates = TypeVar("Candidates", JawCandidates, SuctionCandidates)


@dataclass
class CemResult(Generic[Candidates]):
    """Candidates that were scored so far, their logits, and counted rejections."""

    candidates: list[Candidates] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    def best_first(self) -> tuple[Candidates, Tensor]:
        """All candidates and their logits (N,)."""
        found, logits = self.candidates[0].join(*self.candidates[1:]), torch.cat(self.logits)
        order = torch.argsort(logits, descending=True, stable=True)
        return found.pick(order), logits[order]


class CrossEntropyPlanner(BatchedPlanner, Generic[Candidates]):
    """Seeds, then rounds of samples from a mixture fitted to the best so far; geometry refuses before the network ranks."""

    cpu_seconds = 0.85
    dimensions: ClassVar[int]
    """Of the points that the mixture is fitted to."""

    @abstractmethod
    def seeds(self, scene: PlanningScene, scorer: CropScorer, generator: torch.Generator, rejected: Counter[str]) -> Poses:
        """Up to TRIED * SEEDS poses to begin with; counts in `rejected` why others were not even proposed."""

    @abstractmethod
    def feasible(self, scene: PlanningScene, poses: Poses) -> tuple[Candidates, Counter[str]]:
        """What of the poses may be returned, and counted rejections."""

    @abstractmethod
    def seen(self, scene: PlanningScene, candidates: Candidates) -> ImageGrasps:
        """How the network sees the candidates."""

    @abstractmethod
    def points(self, candidates: Candidates) -> Tensor:
        """(N, dimensions), in metres, in which near means alike."""

    @abstractmethod
    def poses(self, points: Tensor) -> Poses:
        """The reverse of `points`."""

    def steps(self, item: PlanItem, network: LoadedNetwork | None) -> InferenceSteps[GraspPlan]:
        request, network = item[1], self.need(network)
        scorer = crop_views(item, network)
        scene = scorer.scene
        generator = torch.Generator().manual_seed(secrets.randbits(31) if request.seed is None else request.seed % 2**63)
        found: CemResult[Candidates] = CemResult()
        unproposed: Counter[str] = Counter()
        yield from self._score(scene, scorer, self.seeds(scene, scorer, generator, unproposed), SEEDS, found)
        candidates, logits = found.best_first()
        for _ in range(ITERATIONS if len(candidates) else 0):
            yield from self._score(scene, scorer, self._resample(candidates, generator), RESAMPLED, found)
            candidates, logits = found.best_first()
        if not len(candidates):
            found.rejected += unproposed  # an empty answer says why, also where nothing could be tried
        qualities = calibrated(logits, network.card.calibration)
        return select(self.name, scene, candidates, qualities, found.rejected, network)

    def _score(
        self, scene: PlanningScene, scorer: CropScorer, poses: Poses, most: int, found: CemResult[Candidates]
    ) -> InferenceSteps[None]:
        """Refuse poses by geometry, and score at most `most` of what is left."""
        candidates, rejected = self.feasible(scene, poses)
        candidates = candidates.pick(torch.arange(min(len(candidates), most), device=scene.device))
        found.rejected += rejected
        found.candidates.append(candidates)
        found.logits.append((yield from scorer(self.seen(scene, candidates))))

    def _resample(self, candidates: Candidates, generator: torch.Generator) -> Poses:
        """Poses drawn from a mixture fitted to the best of the candidates, which are sorted best first."""
        best = candidates.pick(torch.arange(min(len(candidates), ELITE), device=candidates.x.device))
        # Diagonal Gaussians with a least width: the elite shrinks from round to round, and should not to a point.
        mixture = Mixture(self.points(best).cpu(), COMPONENTS, torch.full((self.dimensions,), LEAST_DEVIATION), generator)
        return self.poses(mixture.sample(TRIED * RESAMPLED, generator).to(candidates.x.device))
