"""Would the weight of a thing peel the cup off that holds it beside its middle? Heights show middles, nothing shows weights."""

import math

import torch
from torch import Tensor

TYPICAL = 0.15
"""Median weight of a thing, kg."""
SPREAD = 0.7
"""Standard deviation of the natural logarithm of weights: nine of ten things weigh from 50 to 500 g."""
LEAST = 0.02
"""Probability with the worst peel moment: a thing may be lighter yet."""


def peel_probability(heaviest: Tensor) -> Tensor:
    """Probability (N,) that a thing of unknown weight does not peel off cups which hold up to `heaviest` (N,), kg, there."""
    deviations = torch.log(heaviest / TYPICAL) / SPREAD
    return (0.5 * torch.erfc(-deviations / math.sqrt(2))).clamp(min=LEAST)
