"""From a network's logits to probabilities, by what its model card says of its calibration."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from planning.scene.hand_units import gripper_in
from planning.scene.scene import PlanningScene
from shared.features.circumstances import NAMES
from shared.features.circumstances import circumstances as circumstances_of

LEAST_SLOPE = 0.1
"""However odd the circumstances, a better logit stays a better promise."""


def calibrated(logits: Tensor, calibration: dict[str, Any], circumstances: Sequence[float] = ()) -> Tensor:
    """Probabilities (N,) of logits (N,) with the calibration of a model card: none, a temperature, or one by circumstances."""
    return torch.sigmoid(calibrated_logits(logits, calibration, circumstances))


def calibrated_logits(logits: Tensor, calibration: dict[str, Any], circumstances: Sequence[float] = ()) -> Tensor:
    """Logits (N,) of the same probabilities.

    circumstances: of the request (`shared.features.circumstances`); without them the usual ones are assumed.
    """
    kind = calibration.get("kind", "none")
    if kind == "temperature":
        return logits / float(calibration["value"])
    if kind == "circumstances":
        slope, offset = slope_and_offset(calibration, circumstances)
        return logits * slope + offset
    if kind == "none":
        return logits
    raise ValueError(f"unknown calibration {kind!r} in the model card; expected none, temperature or circumstances")


def told_by(scene: PlanningScene) -> list[float]:
    """The circumstances of a request."""
    depth = scene.observation.depth
    assert depth is not None
    gripper = gripper_in(scene.request.gripper, 1 / scene.unit)
    told: list[float] = circumstances_of(depth, scene.camera, scene.camera_pose, gripper, scene.bin is not None).tolist()
    return told


def slope_and_offset(calibration: dict[str, Any], circumstances: Sequence[float]) -> tuple[float, float]:
    """What a logit is multiplied by and what is added to it. Circumstances count as far as held-out outcomes had them."""
    slope, offset = float(calibration["slope"]), float(calibration["offset"])
    for name, value in zip(NAMES, circumstances, strict=False):
        if of := calibration["by"].get(name):
            within = min(max(float(value), of["low"]), of["high"])
            slope, offset = slope + of["slope"] * within, offset + of["offset"] * within
    return max(slope, LEAST_SLOPE), offset
