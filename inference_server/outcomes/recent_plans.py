"""The plans that reports may refer to."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.observation import Observation

RECENT_BYTES = 128 * 2**20
"""Memory for recent plans: about 100 of 640 x 480, whose images are most of it."""
PLAN_BYTES, GRASP_BYTES = 6000, 5000
"""What a plan and its request take, and each grasp more (measured, rounded up)."""
HEADER_BYTES = 1024
"""So much besides its image a body may have and yet be kept: the header of an npy file."""


@dataclass(frozen=True)
class RecentPlan:
    """A plan with what it was made of, and the bytes that it takes."""

    observation: Observation
    request: PlanRequest
    plan: GraspPlan
    size: int


class RecentPlans:
    """The last plans by their owner and request id, within a budget of memory.

    Clients choose request ids: without the owner one could put a plan in the place of another's, or report on it.
    """

    def __init__(self, most_bytes: int = RECENT_BYTES):
        self._plans: OrderedDict[tuple[str, str], RecentPlan] = OrderedDict()
        self._bytes, self._most = 0, most_bytes
        self._lock = threading.Lock()

    def remember(self, owner: str, plan: GraspPlan, observation: Observation, request: PlanRequest) -> None:
        images = {name: _owned(image) for name, image in observation.images.items()}
        own = replace(observation, views=(), **images)  # a report is of one image
        size = sum(int(image.nbytes) for image in images.values()) + PLAN_BYTES + GRASP_BYTES * len(plan.grasps)
        recent = RecentPlan(own, request, plan.model_copy(update={"heatmap_png": None, "refused": None}), size)
        key = owner, plan.request_id
        with self._lock:
            self._forget(key)
            self._plans[key] = recent
            self._bytes += recent.size
            while self._bytes > self._most:
                self._forget(next(iter(self._plans)))

    def find(self, owner: str, request_id: str) -> RecentPlan | None:
        with self._lock:
            return self._plans.get((owner, request_id))

    def _forget(self, key: tuple[str, str]) -> None:
        old = self._plans.pop(key, None)
        self._bytes -= old.size if old else 0


def _owned(image: np.ndarray) -> np.ndarray:
    """The image, copied where it is a view of more than itself, such as of a body with something else in it."""
    base: Any = image
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    held = memoryview(base.obj if isinstance(base, memoryview) else base).nbytes  # a slice keeps all of its bytes
    return image.copy() if held > image.nbytes + HEADER_BYTES else image
