"""From a network's logits to probabilities, by what its model card says of its calibration."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from planning.scene.hand_units import gripper_in
from planning.scene.scene import PlanningScene
from shared.features.circumstances import circumstances as circumstances_of
from shared.features.circumstances import slope_and_offset


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
