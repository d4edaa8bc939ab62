"""What every network has to say about how it learns: what it sees of an outcome, its loss, augmentation, metrics and gate."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grasp_client.contract import GraspMeta, Outcome
from shared import learnable
from shared.networks import build_network
from shared.registry import ModelCard, Registry
from trainer_job.data.examples import Dataset, Examples, FeatureBatch, TensorBatch, in_order
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.data.replay_buffer import TrainingData, read_shards
from trainer_job.evaluation.metrics import Evaluation, log_losses
from trainer_job.promotion import offline_gate
from trainer_job.promotion.offline_gate import GateComparison, GateDecision
from trainer_job.training.recipe import TrainingRecipe

Self = TypeVar("Self", bound="TrainingTask[Any, Any]")
Raw = TypeVar("Raw")
"""Batches as they are read."""
B = TypeVar("B", bound=TensorBatch)
"""Batches as the network learns from them."""

MAX_TILT = math.radians(20)
"""Default of the most that an approach may lean from straight down, rad, for features that show the fingers as if they were
vertical: at 20 degrees a finger is 7 mm off 2 cm above its tip, as much as its thickness."""


class TrainingTask(ABC, Generic[Raw, B]):
    """How networks of some architectures learn. Made from a recipe; `of` gives the task of a published version."""

    architectures: ClassVar[tuple[str, ...]]
    outcome_kind: ClassVar[str] = GraspMeta.kind
    image: ClassVar[str] = "depth"
    max_tilt: float = MAX_TILT
    evaluated_at_once: ClassVar[int] = 256
    one_process: ClassVar[bool] = False
    """Whether several processes cannot share its gradients."""
    blended: ClassVar[bool] = True
    """Whether what a round learns from a champion is blended with it."""
    own_schedule: ClassVar[bool] = False
    """Whether rounds learn as long and as fast as the recipe says, not by the trainer's settings."""

    def __init__(self, recipe: TrainingRecipe) -> None:
        if recipe.architecture not in self.architectures:
            expected = " or ".join(self.architectures)
            raise ValueError(f"{recipe.name} is a network {recipe.architecture!r}: expected {expected}")
        self.recipe = recipe

    def of(self: Self, card: ModelCard) -> Self:
        """This task for the network of a version. Raises ValueError for a network that it cannot train."""
        view = (card.model_extra or {}).get("view") or self.recipe.view
        changes = {"architecture": card.architecture, "parameters": card.parameters, "view": view}
        try:
            return type(self)(self.recipe.model_copy(update=changes))
        except ValueError as error:
            raise ValueError(f"{card.name} version {card.version}: {error}") from error

    def build(self) -> nn.Module:
        """A freshly initialised network."""
        return build_network(self.recipe.architecture, self.recipe.parameters)

    @cached_property
    def outline(self) -> Any:
        """The network without its weights, for what its parameters say of its input and output."""
        with torch.device("meta"):
            return self.build()

    def prepare(self, network: nn.Module, registry: Registry) -> None:
        """Fills in what is not learned but taken over. Raises ValueError where that is missing."""

    def standardize(self, network: nn.Module, data: Dataset[Raw]) -> None:
        """Fits what a network from random weights has to know of the data before its first step."""

    # What the network sees of an outcome

    @property
    @abstractmethod
    def spec(self) -> FeatureSpec:
        """The arrays that `features` gives. Raises ValueError for a task that learns from other data."""

    @abstractmethod
    def features(self, outcomes: Sequence[Outcome[Any]]) -> tuple[np.ndarray, np.ndarray]:
        """(N, *spec.shape) and (N, spec.aux) of attempts on one image, by one camera and gripper.

        Raises ValueError when the image cannot be used.
        """

    def refusal(self, meta: Mapping[str, Any]) -> str | None:
        """Why an outcome's meta (plain JSON) teaches this network nothing; None when it does."""
        if meta["grasp"]["kind"] != self.recipe.kind:
            return "gripper"
        if self.image not in meta["images"]:
            return "image"
        return learnable.refusal(meta, self.max_tilt)

    # The data of a recipe

    def read(self, folders: Sequence[Path], validation: Sequence[Path], cache: Path, most: int) -> TrainingData[Raw]:
        """What a recipe learns from and is validated on; `most`: newest outcomes of each folder of shards.

        Raises ValueError when it is not there or not of the recipe's format.
        """
        if self.recipe.data.format != "shards":
            raise ValueError(f"task {self.recipe.task} reads no data of the format {self.recipe.data.format!r}")
        return self.read_records(folders, validation, cache, most)

    def read_records(self, folders: Sequence[Path], validation: Sequence[Path], cache: Path, most: int) -> TrainingData[Raw]:
        """Outcomes of shards, as the trainer's rounds see them."""
        training, held_out, outcomes = read_shards(self, folders, validation, cache, most, self.recipe.seed)
        return TrainingData(self.from_records(training), self.from_records(held_out), outcomes)

    @abstractmethod
    def from_records(self, examples: Examples) -> Dataset[Raw]:
        """Cached features of outcomes as this task learns from them."""

    def sampling_weights(self, data: Dataset[Raw], network: nn.Module) -> np.ndarray | None:
        """(N,) how often each example is drawn, in sum 1; None: all alike. network: as it is before the first step."""
        return None

    # Learning

    @abstractmethod
    def augment(self, batch: Raw, noise: torch.Generator | None) -> B:
        """A batch as it is learned from, disturbed by `noise`; without, as it is tested on."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: B) -> Tensor:
        """Mean loss of a batch, a scalar."""

    @abstractmethod
    def predict(self, network: nn.Module, batch: B) -> tuple[Tensor, Tensor]:
        """(L,) labels and logits of success of what was tried in a batch."""

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, data: Dataset[Raw], device: torch.device) -> Evaluation:
        """What held-out examples say of a network, which is put into evaluation mode."""
        network.to(device).eval()
        found = [
            [value.double().cpu().numpy() for value in self.predict(network, self.augment(batch, None).to(device))]
            for batch in in_order(data, self.evaluated_at_once)
        ]
        labels, logits = (np.concatenate([np.zeros(0), *(each[k] for each in found)]) for k in (0, 1))
        return Evaluation(log_losses(labels, logits), labels, logits, circumstances=self.circumstances(data))

    def circumstances(self, data: Dataset[Raw]) -> np.ndarray:
        """(N, C) of the examples whose labels `predict` gives, by which its logits are calibrated; empty: by none."""
        return np.zeros((0, 0))

    def picture(self, network: nn.Module, data: Dataset[Raw], device: torch.device, path: Path) -> None:
        """Draws some held-out examples with what is predicted of them; nothing where that would show nothing."""

    # Whether a candidate takes the champion's place

    def comparable(self, card: ModelCard) -> bool:
        """Whether the same held-out examples can be shown to another version."""
        try:
            return self.of(card).spec.name == self.spec.name
        except ValueError:
            return False

    def compare(self, champion: Evaluation, candidate: Evaluation) -> GateComparison:
        """Both on the same held-out examples."""
        return offline_gate.compare(champion, candidate)

    def gate(self, comparison: GateComparison, champion_trained: bool) -> GateDecision:
        """The offline gate's decision."""
        return offline_gate.decide(comparison, champion_trained)

    def complete(self, card: ModelCard, registry: Registry) -> ModelCard:
        """The card of a version with what belongs to parts that were taken over."""
        return card


def drawn_by_share(positive: np.ndarray, share: float, among: np.ndarray | float = 1.0) -> np.ndarray:
    """(N,) how often each example is drawn, in sum 1, so that those that are `positive` (N,) are this share of the draws.

    among (N,): how often each is drawn among the positive ones, or among the others.
    """
    each = np.broadcast_to(among, positive.shape)
    totals = (max(each[group].sum(), np.finfo(float).tiny) for group in (positive, ~positive))
    weights = each * np.where(positive, *(part / total for part, total in zip((share, 1 - share), totals, strict=True)))
    probabilities: np.ndarray = weights / weights.sum()
    return probabilities


class FeatureTask(TrainingTask[FeatureBatch, FeatureBatch]):
    """Base of networks that give one logit of success from features of one grasp."""

    def refusal(self, meta: Mapping[str, Any]) -> str | None:
        grasp = meta["grasp"]
        metric = meta["camera"] is not None and grasp["pose_camera"] is not None
        if not metric or (grasp["width"] is None and grasp["kind"] != "suction"):
            return "no_metric_pose"
        return super().refusal(meta)

    def from_records(self, examples: Examples) -> Dataset[FeatureBatch]:
        return examples

    def logits(self, network: nn.Module, features: Tensor, aux: Tensor) -> Tensor:
        """(N,) logits of success; features (N, *spec.shape) and aux (N, spec.aux) on the network's device."""
        logits: Tensor = network(features)
        return logits

    def loss(self, network: nn.Module, batch: FeatureBatch) -> Tensor:
        """Unweighted cross-entropy: weights on classes would spoil the probabilities."""
        return F.binary_cross_entropy_with_logits(self.logits(network, batch.features, batch.aux), batch.labels)

    def predict(self, network: nn.Module, batch: FeatureBatch) -> tuple[Tensor, Tensor]:
        return batch.labels, self.logits(network, batch.features, batch.aux)
