"""Moved to `planning.base`; will be removed in 0.3."""

import warnings

from planning.base import LoadedNetwork, Planner, PlannerError
from planning.base import PlanItem as Item

__all__ = ["Item", "LoadedNetwork", "Planner", "PlannerError"]

warnings.warn(
    "inference_server.planners.planner has moved to planning.base; the old name will be removed in 0.3",
    DeprecationWarning,
    stacklevel=2,
)
