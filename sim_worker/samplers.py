"""Jaw grasps drawn from a depth image: at random on objects, and between opposite depth edges.

They need no network: they give a learner the variety that a planner's own grasps lack, and a benchmark its floor.
Both approach straight down and differ in where the jaw closes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from shared.contract import CameraIntrinsics, Grasp, Gripper
from shared.geometry import invert, project, transform
from shared.planner import Observation
from sim_worker.grasps import jaw_grasp, points_in_base, top_down

OBJECT_HEIGHT = 0.005
"""What is higher above the base plane than this, m, is taken for an object."""
INSERTION = 0.03
"""How far the tips go below the highest point near the grasp's centre, m."""
LOWEST_TIP = 0.006
REACH = (-0.03, 0.25)
"""Heights between which a surface may lie that matters to a grasp, m."""
FINGER_CLEARANCE = 0.004
EDGE_DROP = 0.006
"""Fall of the surface within one pixel that makes an edge, m."""
FRICTION_ANGLE = math.radians(16)
ANGLE_BINS = 16


@dataclass(frozen=True)
class Surface:
    """What a sampler sees: base-frame points (H, W, 3), NaN without reading, and where objects are (H, W) bool."""

    points: np.ndarray
    on_object: np.ndarray
    camera: CameraIntrinsics
    camera_pose: np.ndarray

    @classmethod
    def of(cls, observation: Observation, camera: CameraIntrinsics, camera_pose: np.ndarray) -> Surface:
        """Objects are what stands above the base plane z = 0, inside the segmask where there is one."""
        if observation.depth is None:
            raise ValueError("samplers need a depth image, got an observation without one")
        points = points_in_base(observation.depth, camera, camera_pose)
        on_object = np.nan_to_num(points[..., 2], nan=0.0) > OBJECT_HEIGHT
        if observation.segmask is not None:
            on_object &= observation.segmask
        return cls(points, on_object, camera, np.asarray(camera_pose, dtype=float))

    @cached_property
    def heights(self) -> np.ndarray:
        """Height above the base plane (H, W), m; 0 without reading."""
        return np.nan_to_num(self.points[..., 2], nan=0.0).astype(np.float32)

    @cached_property
    def object_points(self) -> np.ndarray:
        """Base-frame points (N, 3) on objects."""
        return self.points[self.on_object]

    @cached_property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) where the surface falls off and the outward direction (N, 2) in the base plane."""
        floor = cv2.erode(self.heights, np.ones((3, 3), np.uint8))
        is_edge = self.on_object & (self.heights - floor > EDGE_DROP)
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
        close = (np.abs(part[..., :2] - xy) < radius).all(axis=-1)
        return part[close]


def tip_height(surface: Surface, xy: np.ndarray, yaw: float, width: float, gripper: Gripper, above_fingers: bool) -> float:
    """Height of the tips, m: INSERTION below the highest point near the centre, never into the table.

    above_fingers: also above whatever the fingers would land on. Without a point near, at the table.
    """
    around = surface.near(xy, width / 2 + gripper.finger_thickness + gripper.finger_width)
    if not len(around):
        return LOWEST_TIP
    offset = around[:, :2] - xy
    along = offset @ np.array([math.cos(yaw), math.sin(yaw)])
    across = offset @ np.array([-math.sin(yaw), math.cos(yaw)])
    centre = (np.abs(along) < 0.006) & (np.abs(across) < 0.006)
    top = float(around[centre, 2].max()) if centre.any() else 0.0
    height = max(top - min(INSERTION, gripper.finger_depth * 0.6), LOWEST_TIP)
    if above_fingers:
        outside = np.abs(np.abs(along) - (width + gripper.finger_thickness) / 2) < gripper.finger_thickness / 2 + 0.002
        under = outside & (np.abs(across) < gripper.finger_width / 2 + 0.002)
        if under.any():
            height = max(height, float(around[under, 2].max()) + FINGER_CLEARANCE)
    return height


def random_on_object(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """Up to `count` grasps on random object pixels at random angles; none when no object is seen."""
    points = surface.object_points
    if not len(points):
        return []
    grasps = []
    for point in points[rng.integers(len(points), size=count)]:
        yaw = rng.integers(ANGLE_BINS) * math.pi / ANGLE_BINS
        width = gripper.max_width if rng.random() < 0.5 else rng.uniform(0.4, 1.0) * gripper.max_width
        grasps.append(_grasp(surface, point[:2], yaw, width, gripper, rng))
    return grasps


def random_probability(surface: Surface) -> float:
    """Probability with which `random_on_object` proposes one given pixel and angle."""
    return 1.0 / max(len(surface.object_points) * ANGLE_BINS, 1)


def antipodal_edges(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """Up to `count` grasps between two depth edges that face away from each other within the jaw's opening.

    The pair's line lies within FRICTION_ANGLE of both edges' outward directions.
    """
    points, outward = surface.edges
    grasps: list[Grasp] = []
    if len(points) < 2:
        return grasps
    facing = math.cos(FRICTION_ANGLE)
    for first in rng.integers(len(points), size=count * 6):
        if len(grasps) == count:
            break
        line = points[:, :2] - points[first, :2]
        length = np.linalg.norm(line, axis=1)
        direction = line / np.maximum(length, 1e-9)[:, None]
        opposite = (direction @ outward[first] < -facing) & ((direction * outward).sum(axis=1) > facing)
        partners = np.flatnonzero(opposite & (length > 0.004) & (length < gripper.max_width - 0.006))
        if not len(partners):
            continue
        second = rng.choice(partners)
        yaw = math.atan2(direction[second, 1], direction[second, 0])
        width = min(length[second] + rng.uniform(0.006, 0.02), gripper.max_width)
        grasps.append(_grasp(surface, (points[first, :2] + points[second, :2]) / 2, yaw, width, gripper, rng))
    return grasps


def _grasp(surface: Surface, xy: np.ndarray, yaw: float, width: float, gripper: Gripper, rng: np.random.Generator) -> Grasp:
    width = max(width, gripper.min_width)
    height = tip_height(surface, xy, yaw, width, gripper, above_fingers=bool(rng.random() < 0.5))
    return jaw_grasp(top_down(xy, height, yaw), width, 0.0, surface.camera, surface.camera_pose)
