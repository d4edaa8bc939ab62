"""Moved to `grasp_client.observation`; will be removed in 0.3."""

import warnings

from grasp_client.observation import GraspPlanner, Observation

__all__ = ["GraspPlanner", "Observation"]

warnings.warn(
    "shared.planner has moved to grasp_client.observation; the old name will be removed in 0.3",
    DeprecationWarning,
    stacklevel=2,
)
