"""The control of refinement: one offset for all grasps, fitted to the same trials as a critic.

Success falls off with the distance from the best offset, along each axis by itself; a logistic regression says where that is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from grasp_client.contract import GraspMeta

AXES = ("offset_x", "offset_y", "offset_z", "offset_turn")
FRAMES = ("hand", "base")
SPREAD = 0.5
"""Deviation of the prior on the best offset along each axis, in the most that a grasp is offset by."""


def fit(trials: Sequence[GraspMeta]) -> dict[str, Any]:
    """`offset` (4,), -1 to 1: x, y, z and turn in `frame`, the hand's own or the base, whichever explains the trials better;
    their `log_loss` then, and how many `trials` there were."""
    held = np.array([trial.success for trial in trials])
    found = [{"frame": frame, **_best(_offsets(trials, frame), held)} for frame in FRAMES]
    return {**min(found, key=lambda each: each["log_loss"]), "trials": len(trials)}


def _offsets(trials: Sequence[GraspMeta], frame: str) -> np.ndarray:
    """(N, 4): how far each grasp was offset from what was proposed, in the most that it is offset by."""
    own = np.array([[float(trial.details.get(axis) or 0.0) for axis in AXES] for trial in trials])
    if frame == "hand":
        return own
    poses = np.array([np.asarray(trial.camera_pose) @ np.asarray(trial.grasp.pose_camera) for trial in trials])
    return np.column_stack([np.einsum("nij,nj->ni", poses[:, :3, :3], own[:, :3]), poses[:, 2, 2] * own[:, 3]])


def _best(offsets: np.ndarray, held: np.ndarray) -> dict[str, Any]:
    def losses(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away = offsets - weights[5:]
        return weights[0] - (away**2 @ np.exp(weights[1:5])), away

    def objective(weights: np.ndarray) -> float:
        logits, _ = losses(weights)
        loss = np.logaddexp(0, np.where(held, -logits, logits)).sum()
        return float(loss + 0.5 * (weights[5:] @ weights[5:]) / SPREAD**2 + 0.05 * (weights[1:5] @ weights[1:5]))

    found = minimize(objective, np.zeros(9), method="L-BFGS-B").x
    chance = np.clip(expit(losses(found)[0]), 1e-9, 1 - 1e-9)
    return {
        "offset": np.clip(found[5:], -1, 1).tolist(),
        "log_loss": float(-np.log(np.where(held, chance, 1 - chance)).mean()),
    }
