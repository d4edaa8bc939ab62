"""The value of a push: the quality of the goal's best grasp after it, from what the push meets (`shared.features.push`)."""

import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grasp_client.contract import Outcome, PushMeta, PushOptions
from shared.features.push import CROP, FEATURES, SECTORS, goal_cells, paths_of, push_crops, push_features, raised_cells
from shared.maps.heightmap import hand_scale, project
from shared.networks.push_value import PushValue
from shared.outcome_codec import depth_metres
from trainer_job.data.examples import Dataset, Examples, FeatureBatch, in_order
from trainer_job.data.feature_cache import FeatureSpec
from trainer_job.evaluation.metrics import Evaluation
from trainer_job.tasks.base import TrainingTask, drawn_by_share

GRASPED_FROM = PushOptions().threshold
"""Quality of its best grasp from which on a goal is grasped."""
MEMBER_SHARE = 0.75
"""Of the states that each member of the ensemble learns from: they differ where little is known."""
STATE_BITS = 24
"""Of the number of a state: what single precision tells apart."""
MIRRORED = {"goal_across": -1.0, "goal_left": -1.0, "goal_right": -1.0}
"""Features that change their sign when left and right are exchanged; sides also change places, and sectors run backwards."""


class PushTask(TrainingTask[FeatureBatch, FeatureBatch]):
    """Executed pushes, each labelled with a quality between 0 and 1. Beside the features stands the number of the state in
    which a push was tried: pushes of one state are drawn together, and chosen among."""

    architectures = ("push-value",)
    outcome_kind = PushMeta.kind
    evaluated_at_once = 4096

    @property
    def with_crops(self) -> bool:
        """Whether the network sees crops of the map beside the features."""
        return bool(self.recipe.parameters.get("crop_width", 0))

    @cached_property
    def spec(self) -> FeatureSpec:
        if self.with_crops:
            return FeatureSpec("push-3-crops", (len(FEATURES) + int(np.prod(CROP)),), "float16", aux=1)
        return FeatureSpec("push-2", (len(FEATURES),), "float32", aux=1)

    def refusal(self, meta: Mapping[str, Any]) -> str | None:
        if self.image not in meta["images"] or "goal" not in meta["images"]:
            return "image"
        if meta["camera"] is None or meta["push"]["start_camera"] is None:
            return "no_metric_pose"
        return "blocked" if meta["blocked"] else None

    def features(self, outcomes: Sequence[Outcome[Any]]) -> tuple[np.ndarray, np.ndarray]:
        first = outcomes[0].meta
        pose = None if first.camera_pose is None else np.asarray(first.camera_pose, dtype=float)
        map = project(depth_metres(outcomes[0]), first.camera, pose, scale=hand_scale(first.gripper))
        features, aux = np.zeros((len(outcomes), *self.spec.shape), np.float32), np.zeros((len(outcomes), 1), np.float32)
        # Pushes of one image may be for several goals.
        states: dict[bytes, list[int]] = {}
        for place, outcome in enumerate(outcomes):
            states.setdefault(outcome.images["goal"].tobytes(), []).append(place)
        for mask, places in states.items():
            # As the planner sees a goal: what of it lies flat is not told from the table.
            goal = goal_cells(map, first.camera, outcomes[places[0]].images["goal"] > 0) & raised_cells(map)
            if not goal.any():
                features[places] = np.nan
                continue
            paths = paths_of(map.pose, [outcomes[place].meta.push for place in places])
            found = push_features(map, goal, paths, first.gripper, outcomes[places[0]].meta.quality_before)
            if self.with_crops:
                crops = push_crops(map, goal, paths, first.gripper).reshape(len(places), -1)
                found = np.concatenate([found, crops], axis=1)
            features[places] = found
            aux[places] = zlib.crc32(outcomes[0].images["depth"].tobytes(), zlib.crc32(mask)) % 2**STATE_BITS
        return features, aux

    def from_records(self, examples: Examples) -> Dataset[FeatureBatch]:
        return examples

    def sampling_weights(self, data: Dataset[FeatureBatch], network: nn.Module) -> np.ndarray | None:
        """Where the recipe asks for it, replay that draws pushes that were enough this often, and by the rank of how far off
        the network was (Schaul et al. 2016, section 3.3)."""
        share, power = self.recipe.data.positive_share, self.recipe.data.rank_power
        if share is None and power is None:
            return None
        weights: np.ndarray = np.ones(len(data))
        if power is not None:
            rank = 1 + np.argsort(np.argsort(-self._surprises(network, data), kind="stable"))
            weights = rank**-power
        if share is not None:
            weights = drawn_by_share(data.labels > GRASPED_FROM, share, weights)  # type: ignore[attr-defined]
        shares: np.ndarray = weights / weights.sum()
        return shares

    @torch.inference_mode()
    def _surprises(self, network: nn.Module, data: Dataset[FeatureBatch]) -> np.ndarray:
        """How far (N,) the network is from the quality of each push."""
        network.eval()
        device = next(network.parameters()).device
        found = [self.predict(network, batch.to(device)) for batch in in_order(data, self.evaluated_at_once)]
        network.train()
        surprises: np.ndarray = torch.cat([(label - torch.sigmoid(logit)).abs() for label, logit in found]).cpu().numpy()
        return surprises

    def standardize(self, network: nn.Module, data: Dataset[FeatureBatch]) -> None:
        """Tells the network mean and deviation of the features that it is to learn from."""
        assert isinstance(network, PushValue)
        seen = torch.cat([self.augment(batch, None).features[:, : len(FEATURES)] for batch in in_order(data, 4096)])
        network.standardize(seen)

    def augment(self, batch: FeatureBatch, noise: torch.Generator | None) -> FeatureBatch:
        """Exchanges left and right in half of the examples: neither pushes nor grasps know the difference."""
        if noise is None:
            return batch
        mirror = torch.rand((len(batch.features), 1), generator=noise, device=batch.features.device) < 0.5
        return FeatureBatch(torch.where(mirror, mirrored(batch.features), batch.features), batch.aux, batch.labels)

    def loss(self, network: nn.Module, batch: FeatureBatch) -> Tensor:
        """Cross-entropy of qualities: of every member on its own share of the states."""
        assert isinstance(network, PushValue)
        told, crops = split(batch.features)
        members = network.members(told, crops)
        losses = F.binary_cross_entropy_with_logits(members, batch.labels.expand_as(members), reduction="none")
        weights = _own_states(batch.aux[:, 0], len(members)).to(losses)
        return (losses * weights).sum() / weights.sum().clamp(min=1)

    def predict(self, network: nn.Module, batch: FeatureBatch) -> tuple[Tensor, Tensor]:
        return batch.labels, network(*(part for part in split(batch.features) if part is not None))

    @torch.inference_mode()
    def evaluate(self, network: nn.Module, data: Dataset[FeatureBatch], device: torch.device) -> Evaluation:
        """Labels are whether the goal could be grasped after a push; figures tell how good the choice of a push is."""
        network.to(device).eval()
        qualities, logits, states = np.zeros(0), np.zeros(0), np.zeros(0)
        for batch in in_order(data, self.evaluated_at_once):
            found = self.predict(network, batch.to(device))
            quality, logit = (each.double().cpu().numpy() for each in found)
            qualities, logits = np.append(qualities, quality), np.append(logits, logit)
            states = np.append(states, batch.aux[:, 0].numpy())
        return evaluation(qualities, logits, states)


def evaluation(qualities: np.ndarray, logits: np.ndarray, states: np.ndarray) -> Evaluation:
    """Of pushes (N,): labels are whether the goal could be grasped after each, losses are of its quality."""
    losses = -(qualities * -np.logaddexp(0, -logits) + (1 - qualities) * -np.logaddexp(0, logits))
    return Evaluation(losses, (qualities > GRASPED_FROM).astype(float), logits, choices(qualities, logits, states))


def split(features: Tensor) -> tuple[Tensor, Tensor | None]:
    """The numbers (N, len(FEATURES)) and the crops (N, *CROP), if there are any, of what is cached."""
    count = len(FEATURES)
    crops = features[:, count:]
    return features[:, :count], crops.reshape(-1, *CROP) if crops.shape[1] else None


def mirrored(features: Tensor) -> Tensor:
    """The same pushes (N, ...) with left and right exchanged."""
    told, crops = split(features)
    told = told.clone()
    names = {name: place for place, name in enumerate(FEATURES)}
    for name, sign in MIRRORED.items():
        told[:, names[name]] *= sign
    left, right = names["goal_left"], names["goal_right"]
    told[:, [left, right]] = told[:, [right, left]]
    ring = [names[f"ring_{sector}"] for sector in range(SECTORS)]
    told[:, ring] = told[:, [ring[-sector % SECTORS] for sector in range(SECTORS)]]
    return told if crops is None else torch.cat([told, crops.flip(2).reshape(len(told), -1)], dim=1)


def choices(qualities: np.ndarray, logits: np.ndarray, states: np.ndarray) -> dict[str, float]:
    """How often one push is enough, among the pushes (N,) that were tried in the same state: the one of the highest logit
    (`chosen`), any one (`random`), the best one (`best`). states (N,): numbers of the states."""
    found: list[tuple[float, float, float]] = []
    for state in np.unique(states):
        mine = states == state
        if mine.sum() > 1:
            enough = qualities[mine] > GRASPED_FROM
            found.append((float(enough[int(np.argmax(logits[mine]))]), float(enough.mean()), float(enough.max())))
    if not found:
        return {}
    chosen, by_chance, best = np.mean(found, axis=0).tolist()
    return {"states": float(len(found)), "chosen": chosen, "random": by_chance, "best": best}


def _own_states(states: Tensor, members: int) -> Tensor:
    """(members, N) bool: whether a member learns from a state; always the same."""
    mixed = states.long()[None] * 2_654_435_761 + torch.arange(1, members + 1, device=states.device)[:, None] * 40_503_017
    return (mixed // 64) % 1000 < int(1000 * MEMBER_SHARE)


TASK = PushTask
