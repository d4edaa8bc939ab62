"""Torch modules, one file each. A network's architecture name and parameters are in its registry card.

Every network offers `golden_batch() -> tuple of tensors`, fixed inputs with which loaded weights are tried before they serve.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

ARCHITECTURES = {
    "dense": "shared.networks.dense:DenseScorer",
    "suction-dense": "shared.networks.suction_dense:SuctionScorer",
    "mobileunet": "shared.networks.mobileunet:MobileUNet",
    "gqcnn": "shared.networks.gqcnn:GQCNN",
    "fc-gqcnn": "shared.networks.fc_gqcnn:FCGQCNN",
    "gqcnn4": "shared.networks.gqcnn4:GQCNN4",
    "efficientnet": "shared.networks.efficientnet:EfficientNetQuality",
}


def build_network(architecture: str, parameters: dict[str, Any]) -> nn.Module:
    """A freshly initialised network. Raises ValueError for an unknown architecture or parameters that do not fit it."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; expected one of {', '.join(sorted(ARCHITECTURES))}")
    module, _, name = ARCHITECTURES[architecture].partition(":")
    try:
        return getattr(import_module(module), name)(**parameters)
    except TypeError as error:
        raise ValueError(f"parameters {parameters} do not fit architecture {architecture!r}: {error}") from error
