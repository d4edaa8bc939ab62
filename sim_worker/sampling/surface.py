"""What stands on the base plane, as a depth image shows it: points, edges, normals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from grasp_client.contract import CameraIntrinsics, Gripper
from grasp_client.geometry import invert, project, transform
from grasp_client.observation import Observation
from sim_worker.grasp_poses import points_in_base

OBJECT_HEIGHT = 0.005
"""What is higher above the base plane than this, m, is taken for an object by a hand of the usual size."""
EDGE_DROP = 0.006
"""Fall of the surface within one pixel that makes an edge for it, m."""
USUAL_OPENING = 0.08
"""m: of the hand for which lengths are given here and in `samplers`."""
SCALES = (0.1, 1.75)
"""Least and most by which they shrink or grow with the hand."""
REACH = (-0.03, 0.25)
"""Heights between which a surface may lie that matters to a grasp, m."""


def scale_of(gripper: Gripper) -> float:
    """The size of a jaw, of the usual one's; 1 for a cup."""
    return 1.0 if gripper.kind == "suction" else float(np.clip(gripper.max_width / USUAL_OPENING, *SCALES))


@dataclass(frozen=True)
class Surface:
    """What a sampler sees: base-frame points (H, W, 3), NaN without reading, and where objects are (H, W) bool.

    scale: of the hand, of the usual one.
    """

    points: np.ndarray
    on_object: np.ndarray
    camera: CameraIntrinsics
    camera_pose: np.ndarray
    scale: float = 1.0

    @classmethod
    def of(
        cls, observation: Observation, camera: CameraIntrinsics, camera_pose: np.ndarray, gripper: Gripper | None = None
    ) -> Surface:
        """Objects are what stands above the base plane z = 0, inside the segmask where there is one. gripper: by whose size
        heights count; none: the usual."""
        scale = scale_of(gripper) if gripper else 1.0
        if observation.depth is None:
            raise ValueError("samplers need a depth image, got an observation without one")
        points = points_in_base(observation.depth, camera, camera_pose)
        on_object = np.nan_to_num(points[..., 2], nan=0.0) > OBJECT_HEIGHT * min(scale, 1.0)
        if observation.segmask is not None:
            on_object &= observation.segmask
        return cls(points, on_object, camera, np.asarray(camera_pose, dtype=float), scale)

    @cached_property
    def heights(self) -> np.ndarray:
        """Height above the base plane (H, W), m; 0 without reading."""
        result: np.ndarray = np.nan_to_num(self.points[..., 2], nan=0.0).astype(np.float32)
        return result

    @cached_property
    def object_points(self) -> np.ndarray:
        """Base-frame points (N, 3) on objects."""
        result: np.ndarray = self.points[self.on_object]
        return result

    @cached_property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) where the surface falls off and the outward direction (N, 2) in the base plane."""
        floor = cv2.erode(self.heights, np.ones((3, 3), np.uint8))
        is_edge = self.on_object & (self.heights - floor > EDGE_DROP * min(self.scale, 1.0))
        smooth = cv2.GaussianBlur(self.heights, (0, 0), 1.5)
        slope_u, slope_v = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
        rotation = self.camera_pose[:2, :2]
        slope = np.stack([slope_u[is_edge] * self.camera.fx, slope_v[is_edge] * self.camera.fy], axis=1)
        outward = -slope @ rotation.T
        outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
        return self.points[is_edge], outward

    def near(self, xy: np.ndarray, radius: float) -> np.ndarray:
        """Points (N, 3) with a reading in the square of half side `radius`, m, round (x, y)."""
        # Only the part of the image that the upright box over the square can project into is looked at.
        corners = [(xy[0] + dx, xy[1] + dy, z) for dx in (-radius, radius) for dy in (-radius, radius) for z in REACH]
        pixels = project(transform(invert(self.camera_pose), np.array(corners)), self.camera)
        low, high = np.floor(pixels.min(axis=0)).astype(int), np.ceil(pixels.max(axis=0)).astype(int)
        part = self.points[max(low[1], 0) : max(high[1] + 1, 0), max(low[0], 0) : max(high[0] + 1, 0)]
        close = (np.abs(part[..., 0] - xy[0]) < radius) & (np.abs(part[..., 1] - xy[1]) < radius)
        result: np.ndarray = part[close]
        return result

    def plane_at(self, point: np.ndarray, radius: float) -> tuple[np.ndarray, float] | None:
        """Upward unit normal (3,) and worst departure, m, of the plane through the points within `radius` m of `point` (3,).

        The departure is infinite where the patch does not reach all round. None where fewer than six points are near.
        """
        around = self.near(point[:2], radius)
        around = around[np.linalg.norm(around - point, axis=1) < radius]
        if len(around) < 6:
            return None
        centred = around - around.mean(axis=0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        normal = axes[2] if axes[2, 2] > 0 else -axes[2]
        offset = (around - point)[np.linalg.norm(around - point, axis=1) > radius / 2]
        octants = np.unique(np.floor(np.arctan2(offset[:, 1], offset[:, 0]) / (np.pi / 4)))
        return normal, float(np.abs(centred @ normal).max()) if len(octants) >= 8 else np.inf
