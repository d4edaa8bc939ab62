"""Moved to `planning.base`; will be removed in 0.3."""

import warnings

from planning.base import LoadedNetwork, Planner, PlannerError  # noqa: F401
from planning.base import PlanItem as Item  # noqa: F401

warnings.warn(
    "inference_server.planners.planner has moved to planning.base; the old name will be removed in 0.3",
    DeprecationWarning,
    stacklevel=2,
)
