"""Simulated grasps with the features that the analytic score saw of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from grasp_client.contract import Outcome, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork
from planning.calibration import calibrated_logits
from planning.jaw.candidates import JawCandidates
from planning.jaw.search import JawScoreWeights, contact_score, predict
from planning.scene.projection import project_jaw
from planning.scene.scene import PlanningScene, observe_scene
from shared.features.hand_frame import patches
from shared.outcome_codec import depth_metres
from shared.shards import ShardReader, shard_folders
from sim_worker.tasks.labels import FEASIBLE_ASKED, TOP

NAMES = tuple(field.name for field in fields(JawScoreWeights))
SAME = 1e-4
"""Poses that differ by no more in any entry of their matrices are the same grasp."""


@dataclass(frozen=True)
class Labels:
    """N grasps that were tried.

    features: (N, weights) what each weight multiplies in the score. beyond: (N,) logits lost for reaching out of view.
    network: (N,) calibrated logits of the network of `dense`. success: (N,) 0 or 1. scene: (N,) its number. profile:
    (N,) that of the scene. on_policy: (N,) bool, drawn among the best of a planner.
    """

    features: np.ndarray
    beyond: np.ndarray
    network: np.ndarray
    success: np.ndarray
    scene: np.ndarray
    profile: np.ndarray
    on_policy: np.ndarray

    def score(self, weights: JawScoreWeights) -> np.ndarray:
        """Analytic scores (N,)."""
        result: np.ndarray = self.features @ np.array([getattr(weights, name) for name in NAMES]) - self.beyond
        return result

    def pick(self, which: np.ndarray) -> Labels:
        """The labels at these indices."""
        return Labels(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


def features(hands: JawCandidates) -> np.ndarray:
    """What each weight multiplies in the score of hands, (N, weights): the score is linear in its weights."""
    alone = (JawScoreWeights(**{each: float(each == name) for each in NAMES}) for name in NAMES)
    return torch.stack([contact_score(hands, weights) for weights in alone], 1).double().numpy()


def read(folder: Path, network: LoadedNetwork) -> Labels:
    """The labels of a collection whose grasp is a candidate; prints how many are not."""
    rows, missing = [], 0
    for number, outcomes in enumerate(_scenes(folder)):
        scenes = [_scene(outcomes[0], count) for count in (FEASIBLE_ASKED, TOP)]
        found = [hands.best_first(hands.score) for hands, _ in map(predict, scenes)]
        hands = found[0].join(found[1])
        tried = _match(project_jaw(scenes[0], scenes[0].gripper, hands.pose).pose.numpy(), outcomes)
        missing += sum(index is None for index in tried)
        metas = {index: outcome.meta for index, outcome in zip(tried, outcomes, strict=True) if index is not None}
        if not metas:
            continue
        row = _columns(scenes[0], hands.pick(torch.tensor(list(metas))), network)
        row["success"] = np.array([meta.success for meta in metas.values()], float)
        row["scene"] = np.full(len(metas), number)
        row["profile"] = np.array([meta.scene.profile for meta in metas.values() if meta.scene])
        row["on_policy"] = np.array([meta.details["strategy"] == "on_policy" for meta in metas.values()])
        rows.append(row)
    labels = Labels(**{field.name: np.concatenate([row[field.name] for row in rows]) for field in fields(Labels)})
    Console().print(f"{folder}: {len(labels.success)} labels, {labels.success.mean():.1%} succeed, {missing} of no candidate")
    return labels


def _scenes(folder: Path) -> Iterator[list[Outcome[Any]]]:
    """The outcomes of every scene: those whose ids begin alike."""
    for shard in shard_folders(folder):
        for _, outcomes in groupby(ShardReader(shard), lambda outcome: outcome.id.rpartition(":")[0]):
            yield list(outcomes)


def _scene(outcome: Outcome[Any], count: int) -> PlanningScene:
    """What a planner saw that was asked for `count` grasps."""
    meta = outcome.meta
    request = PlanRequest(camera=meta.camera, camera_pose=meta.camera_pose, gripper=meta.gripper, n_grasps=count)
    return observe_scene(Observation(depth=depth_metres(outcome)), request, torch.device("cpu"))


def _match(poses: np.ndarray, outcomes: Sequence[Outcome[Any]]) -> list[int | None]:
    """Index of the candidate (M, 4, 4) that each outcome tried; the first of equal ones, which scores best."""
    found: list[int | None] = []
    for outcome in outcomes:
        apart = np.abs(poses - np.asarray(outcome.meta.grasp.pose_camera)).max((1, 2), initial=0.0)
        found.append(int(np.argmin(apart > SAME)) if (apart <= SAME).any() else None)
    return found


@torch.inference_mode()
def _columns(scene: PlanningScene, hands: JawCandidates, network: LoadedNetwork) -> dict[str, np.ndarray]:
    logits = calibrated_logits(network.module(patches(scene.map, hands.pose, scene.gripper)), network.card.calibration)
    return {
        "features": features(hands),
        "beyond": hands.beyond.double().numpy(),
        "network": (logits.float() - hands.beyond).double().numpy(),
    }
