"""Planners without learning or search, as floors that a benchmark prints beside every figure.

They see what any planner sees: depth, camera, camera_pose; objects are what stands above the base plane.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from grasp_client.contract import Grasp, GraspPlan, Gripper, PlanRequest
from grasp_client.observation import Observation
from sim_worker.grasp_poses import jaw_grasp, top_down
from sim_worker.sampling.samplers import cup_on, promising, random_on_object, tip_height
from sim_worker.sampling.surface import Surface

WINDOW = 0.08
"""The centroid baseline looks at what lies this near the highest point, m."""
CLEARANCE = 0.02
PATCHES = 80
"""Points of a thing that the flattest patch is looked for at."""
AS_FLAT = 1.25
"""Patches that depart from flat by so many times the least are as flat."""


Propose = Callable[[Surface, Gripper, int, np.random.Generator], list[Grasp]]
"""Up to so many grasps of a surface, best first."""


@dataclass(frozen=True)
class Baseline:
    """A `GraspPlanner` that proposes grasps from the surface it sees."""

    name: str
    propose: Propose

    def plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        """Raises ValueError when camera or camera_pose is missing."""
        if request.camera is None or request.camera_pose is None:
            raise ValueError(f"{self.name} needs `camera` and `camera_pose`")
        started = time.perf_counter()
        surface = Surface.of(observation, request.camera, np.asarray(request.camera_pose), request.gripper)
        rng = np.random.default_rng(request.seed)
        grasps = self.propose(surface, request.gripper, request.n_grasps, rng)
        rejections = {} if grasps else {"no_depth": int(np.isnan(surface.points[..., 2]).sum())}
        timings = {"plan": (time.perf_counter() - started) * 1000}
        return GraspPlan(planner=self.name, grasps=grasps, rejections=rejections, timings_ms=timings)


def centroid_minor_axis(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """Through the centroid of what lies round the highest point, closing along its minor axis; a cup there. One grasp."""
    points = _around_the_top(surface)
    if len(points) < 3:
        return []
    centre = points[:, :2].mean(axis=0)
    if gripper.kind == "suction":
        return [cup_on(surface, points[np.argmin(np.linalg.norm(points[:, :2] - centre, axis=1))], gripper)[0]]
    offset = points[:, :2] - centre
    _, axes = np.linalg.eigh(np.cov(offset.T))
    closing = axes[:, 0]
    yaw = math.atan2(closing[1], closing[0])
    middle = np.abs(offset @ axes[:, 1]) < gripper.finger_width / 2
    extent = float(np.ptp(offset[middle] @ closing)) if middle.any() else gripper.max_width
    width = float(np.clip(extent + CLEARANCE, gripper.min_width, gripper.max_width))
    height = tip_height(surface, centre, yaw, width, gripper, above_fingers=True)
    return [jaw_grasp(top_down(centre, height, yaw), width, 0.0, surface.camera, surface.camera_pose, gripper.tcp_offset)]


def flattest_nearest_middle(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """A cup on that of the flattest patches of the highest thing which lies nearest its middle. One grasp, none with a jaw."""
    points = _around_the_top(surface, within=math.inf)
    if len(points) < 3 or gripper.kind != "suction":
        return []
    drawn = points[rng.integers(len(points), size=PATCHES)]
    grasps, departures = zip(*(cup_on(surface, point, gripper) for point in drawn), strict=True)
    departure = np.array(departures)
    away = np.linalg.norm(drawn[:, :2] - points[:, :2].mean(axis=0), axis=1)
    away[departure > max(AS_FLAT * departure.min(), gripper.lip[0] / 2)] = math.inf
    return [grasps[int(np.argmin(away))]]


def _around_the_top(surface: Surface, within: float = WINDOW) -> np.ndarray:
    """Object points (N, 3) in one piece with the highest point and nearer than `within` to it."""
    if not surface.on_object.any():
        return np.empty((0, 3))
    smooth = cv2.medianBlur(surface.heights, 3)
    top = np.unravel_index(np.argmax(np.where(surface.on_object, smooth, -1.0)), smooth.shape)
    _, pieces = cv2.connectedComponents(surface.on_object.astype(np.uint8))
    piece = surface.points[(pieces == pieces[top]) & surface.on_object]
    result: np.ndarray = piece[np.linalg.norm(piece[:, :2] - surface.points[top][:2], axis=1) < within]
    return result


BASELINES = {
    # A random pixel of an object: a jaw at a random angle, a cup along the normal.
    "random": Baseline("random", random_on_object),
    # A jaw between two depth edges that face away from each other; a cup on the flattest of a few random patches.
    "edges": Baseline("edges", promising),
    "centroid": Baseline("centroid", centroid_minor_axis),
    # A cup on the flattest patch nearest the middle of what it holds.
    "flattest": Baseline("flattest", flattest_nearest_middle),
}
