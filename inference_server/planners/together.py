"""Moved to `planning.batched_inference`; will be removed in 0.3."""

import warnings

from planning.batched_inference import BatchedPlanner as StepPlanner  # noqa: F401
from planning.batched_inference import InferenceSteps as Steps  # noqa: F401
from planning.batched_inference import NetworkCall as Ask  # noqa: F401

warnings.warn(
    "inference_server.planners.together has moved to planning.batched_inference; the old name will be removed in 0.3",
    DeprecationWarning,
    stacklevel=2,
)
