"""From a network's logits to probabilities, by what its model card says of its calibration."""

from typing import Any

import torch
from torch import Tensor


def calibrated(logits: Tensor, calibration: dict[str, Any]) -> Tensor:
    """Probabilities (N,) of logits (N,) with the calibration of a model card: none, or a temperature."""
    return torch.sigmoid(calibrated_logits(logits, calibration))


def calibrated_logits(logits: Tensor, calibration: dict[str, Any]) -> Tensor:
    """Logits (N,) of the same probabilities."""
    kind = calibration.get("kind", "none")
    if kind == "temperature":
        return logits / float(calibration["value"])
    if kind == "none":
        return logits
    raise ValueError(f"unknown calibration {kind!r} in the model card; expected none or temperature")
