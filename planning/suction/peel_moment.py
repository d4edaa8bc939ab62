"""Would the weight of a thing peel the cup off that holds it beside its middle? Heights show middles, nothing shows weights."""

import math

import torch
from torch import Tensor

LIGHTEST = 0.05
"""Least weight of a thing, kg: between it and HEAVIEST weights are even in their logarithm."""
HEAVIEST = 0.5
"""Greatest weight, kg."""
LEAST = 0.02
"""Probability with the worst peel moment: a thing may be lighter yet."""


def peel_probability(heaviest: Tensor) -> Tensor:
    """Probability (N,) that a thing of unknown weight does not peel off cups which hold up to `heaviest` (N,), kg, there."""
    return (torch.log(heaviest / LIGHTEST) / math.log(HEAVIEST / LIGHTEST)).clamp(LEAST, 1)
