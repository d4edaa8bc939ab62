"""Torch modules, one file each. A network's architecture name and parameters are in its registry card.

A file that holds a network says so by `NETWORK`, its class; with hyphens for underscores its name is the architecture's. Every
network offers `golden_batch() -> tuple of tensors`, fixed inputs with which loaded weights are tried before they serve.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from torch import nn


@cache
def architectures() -> dict[str, type[nn.Module]]:
    """Classes of networks by architecture."""
    modules = ((found.name, import_module(f"{__name__}.{found.name}")) for found in iter_modules(__path__))
    return {name.replace("_", "-"): module.NETWORK for name, module in modules if hasattr(module, "NETWORK")}


def build_network(architecture: str, parameters: dict[str, Any]) -> nn.Module:
    """A freshly initialised network. Raises ValueError for an unknown architecture or parameters that do not fit it."""
    if architecture not in architectures():
        raise ValueError(f"unknown architecture {architecture!r}; expected one of {', '.join(sorted(architectures()))}")
    try:
        return architectures()[architecture](**parameters)
    except TypeError as error:
        raise ValueError(f"parameters {parameters} do not fit architecture {architecture!r}: {error}") from error
