"""What the tests of the suction planners share: solids that lean, and how a cup lies on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from table_scenes import Box, Camera, Cylinder, entered, render

from grasp_client.contract import Grasp, Gripper, PlanRequest
from grasp_client.observation import Observation

CUP = Gripper(kind="suction", cup_radius=0.012)
CELL = 0.002
"""Edges are known to a cell of the height map, m."""


@dataclass(frozen=True)
class LeaningBox:
    """Its middle at x, y, z (m), turned by yaw, then leaning by `lean` (rad) about its own length; sides along its axes, m."""

    x: float
    y: float
    z: float
    yaw: float
    lean: float
    length: float
    width: float
    height: float

    @property
    def rotation(self) -> np.ndarray:
        """Own axes as columns, in the base frame."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        yaw = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        cos, sin = math.cos(self.lean), math.sin(self.lean)
        return yaw @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])

    @property
    def half(self) -> np.ndarray:
        return np.array([self.length, self.width, self.height]) / 2

    def inside(self, points: np.ndarray) -> np.ndarray:
        return (np.abs((points - [self.x, self.y, self.z]) @ self.rotation) <= self.half).all(1)

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        start, direction = (origin - [self.x, self.y, self.z]) @ self.rotation, rays @ self.rotation
        return entered(-self.half - start, self.half - start, direction)


Solid: TypeAlias = Box | Cylinder | LeaningBox


def item(view: Camera, solids: list[Solid], gripper: Gripper = CUP, **options: object) -> tuple[Observation, PlanRequest]:
    request = PlanRequest(camera=view.intrinsics, camera_pose=view.pose.tolist(), gripper=gripper, **options)
    return Observation(depth=render(view, solids)), request  # type: ignore[arg-type]


def contact(grasp: Grasp, gripper: Gripper = CUP) -> tuple[np.ndarray, np.ndarray]:
    """Point and approach (3,) of a cup in the base frame."""
    pose = np.asarray(grasp.pose_base)
    return pose[:3, 3] + gripper.tcp_offset * pose[:3, 2], pose[:3, 2]


def surface_distances(grasp: Grasp, solids: list[Solid], gripper: Gripper = CUP, spread: float = 1.0) -> np.ndarray:
    """How far the solids lie under 24 points of the rim and the contact, along the approach, m; infinite where nothing is.

    spread: the rim is taken this much smaller or larger.
    """
    point, approach = contact(grasp, gripper)
    pose = np.asarray(grasp.pose_base)
    angle = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    rim = spread * gripper.cup_radius * (np.cos(angle)[:, None] * pose[:3, 0] + np.sin(angle)[:, None] * pose[:3, 1])
    found = []
    for offset in [np.zeros(3), *rim]:
        start = point + offset - 0.02 * approach
        found.append(min(float(solid.hit(start, approach[None])[0]) for solid in solids) - 0.02)
    return np.array(found)


def body_collides(grasp: Grasp, solids: list[Solid], gripper: Gripper = CUP, slack: float = 0.0) -> bool:
    """Whether the cup, but for a lip of 6 mm, would enter a solid or the table on its straight way in."""
    point, approach = contact(grasp, gripper)
    pose = np.asarray(grasp.pose_base)
    radius = gripper.cup_radius - slack
    grid = np.meshgrid([0.3 * radius, radius], np.linspace(0, 2 * math.pi, 32), np.linspace(0.006 + slack, 0.3, 120))
    r, a, back = (values.reshape(-1, 1) for values in grid)
    points = point + r * np.cos(a) * pose[:3, 0] + r * np.sin(a) * pose[:3, 1] - back * approach
    return bool((points[:, 2] < 0).any() or any(solid.inside(points).any() for solid in solids))
