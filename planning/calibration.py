"""From a network's logits to probabilities, by what its model card says of its calibration."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from planning.scene.scene import PlanningScene
from shared.features.circumstances import circumstances as circumstances_of
from shared.features.circumstances import slope_and_offset


def calibrated(logits: Tensor, calibration: dict[str, Any], circumstances: np.ndarray | None = None) -> Tensor:
    """Probabilities (N,) of logits (N,) with the calibration of a model card: none, a temperature, or one by circumstances."""
    return torch.sigmoid(calibrated_logits(logits, calibration, circumstances))


def calibrated_logits(logits: Tensor, calibration: dict[str, Any], circumstances: np.ndarray | None = None) -> Tensor:
    """Logits (N,) of the same probabilities.

    circumstances: (N, C) of the grasps (`shared.features.circumstances`); without them the usual ones are assumed.
    """
    kind = calibration.get("kind", "none")
    if kind == "temperature":
        return logits / float(calibration["value"])
    if kind == "circumstances":
        told = np.zeros((len(logits), 0)) if circumstances is None else circumstances
        slope, offset = (torch.from_numpy(each).to(logits) for each in slope_and_offset(calibration, told))
        return logits * slope + offset
    if kind == "none":
        return logits
    raise ValueError(f"unknown calibration {kind!r} in the model card; expected none, temperature or circumstances")


def scene_logits(
    logits: Tensor, calibration: dict[str, Any], scene: PlanningScene, approach: Tensor
) -> tuple[Tensor, np.ndarray]:
    """`calibrated_logits` of grasps in a scene, and the circumstances by which; approach as for `told_by`."""
    told = told_by(scene, approach)
    return calibrated_logits(logits, calibration, told), told


def told_by(scene: PlanningScene, approach: Tensor) -> np.ndarray:
    """The circumstances (N, C) of a request's grasps. approach: their directions (N, 3), in axes whose z points down."""
    depth = scene.observation.depth
    assert depth is not None
    leans = torch.arccos(approach[:, 2].clamp(-1, 1)).cpu().numpy()
    return circumstances_of(depth, scene.camera, scene.camera_pose, scene.request.gripper, scene.bin is not None, leans)
