"""Moved to `planning.batched_inference`; will be removed in 0.3."""

import warnings

from planning.batched_inference import BatchedPlanner as StepPlanner
from planning.batched_inference import InferenceSteps as Steps
from planning.batched_inference import NetworkCall as Ask

__all__ = ["Ask", "StepPlanner", "Steps"]

warnings.warn(
    "inference_server.planners.together has moved to planning.batched_inference; the old name will be removed in 0.3",
    DeprecationWarning,
    stacklevel=2,
)
