"""One interface for every planner, in process or over the network."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from grasp_client.contract import CameraIntrinsics, GraspPlan, PlanRequest


@dataclass(frozen=True)
class View:
    """Another depth image, (H, W) float32, m, its camera, and the pose (4, 4) of that camera in the first one's frame."""

    depth: np.ndarray
    camera: CameraIntrinsics
    pose: np.ndarray


@dataclass(frozen=True)
class Observation:
    """One image, or several registered ones of the same size; or, in their place, a cloud of points.

    depth: (H, W) float32, metres along the optical axis; 0 where there is no reading (never NaN or infinite).
    rgb: (H, W, 3) uint8. segmask: (H, W) bool, True where a grasp centre may lie. goal: (H, W) bool, True on the one thing that
    shall be held. points: (N, 3) float32, m, in one frame, which stands for the camera's: what may be grasped. scene_points:
    (M, 3), what surrounds it. views: what other cameras saw of it.
    """

    depth: np.ndarray | None = None
    rgb: np.ndarray | None = None
    segmask: np.ndarray | None = None
    goal: np.ndarray | None = None
    points: np.ndarray | None = None
    scene_points: np.ndarray | None = None
    views: tuple[View, ...] = ()

    @property
    def images(self) -> dict[str, np.ndarray]:
        """What was sent of it, but for the views of other cameras, by name."""
        return {name: image for name, image in vars(self).items() if isinstance(image, np.ndarray)}

    @property
    def graspable(self) -> np.ndarray | None:
        """(H, W) bool, where a grasp centre may lie by segmask and goal; None where anywhere."""
        if self.segmask is None or self.goal is None:
            return self.goal if self.segmask is None else self.segmask
        both: np.ndarray = self.segmask & self.goal
        return both

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        image = self.depth if self.depth is not None else self.rgb
        if image is None:
            raise ValueError("an observation needs depth or rgb")
        return image.shape[0], image.shape[1]


@runtime_checkable
class GraspPlanner(Protocol):
    """Anything that turns an observation into ranked grasps: a local planner or the HTTP client."""

    def plan(self, observation: Observation, request: PlanRequest) -> GraspPlan: ...
