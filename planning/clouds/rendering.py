"""From a cloud to the depth image of its view, and from the plan for that back to the cloud's frame."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np

from grasp_client.contract import FailedGrasp, Grasp, GraspPlan, PlanRequest, Proposal, RefusedGrasp
from grasp_client.geometry import invert, transform
from planning.base import PlanItem, PlannerError
from planning.clouds.checks import cloud_warnings
from planning.clouds.view import IN_FRONT, CloudView, alone, thinned, view_of
from planning.scene.support_plane import TABLE_SHARE, dominant_plane

CLOSINGS = 3
"""Times that gaps between points are closed: a pixel at a time, from all sides but one."""
COMPANY = 5
"""A pixel with so many neighbours on one surface in front of it lies on that surface."""
STEP = 0.003
"""Neighbours whose distances differ by less than this and three pixels lie on one surface, m."""
LEAST_RISE = 0.02
"""The ground under such a cloud lies at least so far under its highest point, m: from above only that may be seen."""
LEVEL = math.cos(math.radians(30))
"""A large plane is the ground if it leans no farther from level."""
GRAZING = 0.05
"""Rays that meet the ground at a smaller sine see none of it."""
SAME = 0.004
"""A point of the object that lies this far behind one of the scene is the same one, m."""
GraspLike = TypeVar("GraspLike", bound=Grasp)


def rendered(item: PlanItem) -> PlanItem:
    """The cloud of an item as a depth image, with a segmask of what may be grasped where its surroundings are told.

    What nobody has seen has no reading, as in any depth image, or counts as free: it is ground. Raises PlannerError 422 for a
    cloud of which nothing is seen, and for options that need a picture.
    """
    observation, request = item
    view = view_of(observation, request)
    assert observation.points is not None
    points = transform(invert(view.pose), observation.points)
    depth, mask, scene = _surface(points, view), None, None
    if observation.scene_points is not None and len(observation.scene_points):
        scene = transform(invert(view.pose), observation.scene_points)
        around = _surface(scene, view)
        mask = (depth > 0) & ((around == 0) | (depth < around + SAME))
        depth = np.where(mask, depth, around)
    if not (depth > 0).any():
        raise PlannerError(422, "cloud_out_of_view", "no point lies in the picture of `camera`: are they of another camera?")
    lonely = scene is None and alone(observation.points, view)
    if lonely or (request.viewpoint is None and request.camera is None):
        ground = _ground(points if scene is None else scene, view, request, lonely)
        depth = np.where(depth > 0, depth, ground)
    return type(observation)(depth=depth, segmask=mask), request.model_copy(update=_options(request, view))


def in_cloud_frame(plan: GraspPlan, sent: PlanItem) -> GraspPlan:
    """A plan for the depth image of a cloud in the frame of the cloud that was sent, with what is to be said of it."""
    observation, request = sent
    view = view_of(observation, request)

    def moved(grasps: Sequence[GraspLike]) -> list[GraspLike]:
        return [grasp.model_copy(update=_in_cloud(grasp, view, request.camera_pose is not None)) for grasp in grasps]

    refused = None if plan.refused is None else moved(plan.refused)
    warnings = [*cloud_warnings(observation, request, view), *plan.warnings]
    return plan.model_copy(update={"grasps": moved(plan.grasps), "refused": refused, "warnings": warnings})


def _surface(points: np.ndarray, view: CloudView) -> np.ndarray:
    """Depth image (rows, columns) float32 of points (N, 3) in the camera frame, the gaps between them closed."""
    x, y, z = points[points[:, 2] > IN_FRONT].T
    camera = view.camera
    u, v = np.rint(camera.fx * x / z + camera.cx), np.rint(camera.fy * y / z + camera.cy)
    inside = (u >= 0) & (u < view.columns) & (v >= 0) & (v < view.rows)
    nearest = np.full(view.rows * view.columns, np.inf, np.float32)
    place = v[inside].astype(np.int64) * view.columns + u[inside].astype(np.int64)
    np.minimum.at(nearest, place, z[inside].astype(np.float32))
    depth = nearest.reshape(view.rows, view.columns)
    for _ in range(CLOSINGS):
        depth = _closed(depth, 3 / min(camera.fx, camera.fy))
    return np.where(np.isfinite(depth), depth, np.float32(0))


def _closed(depth: np.ndarray, steep: float) -> np.ndarray:
    """The image, infinite where nothing is, with pixels drawn forward that most of their neighbours lie in front of.

    steep: by how much neighbours of one surface may differ, as a share of their distance.
    """
    around = np.pad(depth, 1, constant_values=np.inf)
    rows, columns = depth.shape
    beside = [around[i : i + rows, j : j + columns] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    front = cv2.erode(depth, np.ones((3, 3), np.uint8))
    with np.errstate(invalid="ignore", over="ignore"):
        limit = front + np.float32(STEP) + np.float32(steep) * front
        near = [(each <= limit) & np.isfinite(each) for each in beside]
        count = np.sum(near, axis=0)
        total = np.sum([np.where(mask, each, np.float32(0)) for mask, each in zip(near, beside, strict=True)], axis=0)
        behind = (depth > limit) & (count >= COMPANY)
    return np.where(behind, total / np.maximum(count, 1), depth).astype(np.float32)


def _ground(points: np.ndarray, view: CloudView, request: PlanRequest, lonely: bool) -> np.ndarray:
    """Depth image (rows, columns) float32 of the ground under points (N, 3), camera frame: the plane on which most of a scene
    lies; under an object alone, or where there is none, a level one at its lowest point."""
    some = thinned(points)
    normal = view.upwards
    heights = some @ normal
    level = min(float(np.percentile(heights, 1)), float(np.percentile(heights, 99)) - LEAST_RISE)
    if request.table_depth is not None:
        level = float(normal @ [0.0, 0.0, request.table_depth - view.pose[2, 3]])
    elif not lonely:
        plane = dominant_plane(some[:: max(1, len(some) // 400)].T.astype(float), normal)
        if plane is not None and plane.share >= TABLE_SHARE and abs(plane.normal @ normal) > LEVEL:
            normal = plane.normal if plane.normal @ normal > 0 else -plane.normal
            level = -plane.distance if plane.normal @ view.upwards > 0 else plane.distance
    u, v = np.arange(view.columns), np.arange(view.rows)
    camera = view.camera
    slope = (normal[0] * (u - camera.cx) / camera.fx)[None, :] + (normal[1] * (v - camera.cy) / camera.fy)[:, None] + normal[2]
    seen = slope * np.sign(level) > GRAZING
    return np.where(seen, level / np.where(seen, slope, 1.0), 0.0).astype(np.float32)


def _options(request: PlanRequest, view: CloudView) -> dict[str, Any]:
    """What changes in a request for the depth image of its cloud. Raises PlannerError 422 for what cannot be told."""
    for name in ("region", "point"):
        if request.camera is None and getattr(request, name) is not None:
            message = f"`{name}` is in pixels: send the `camera` whose pixels are meant"
            raise PlannerError(422, "pixels_without_camera", message)
    turned = bool(np.abs(view.pose[:3, :3] - np.eye(3)).max() > 1e-6)
    if request.table_depth is not None and turned:
        raise PlannerError(
            422, "table_depth_of_cloud", "`table_depth` lies along the optical axis of a camera: send the table in scene_points"
        )
    failed = [each.model_copy(update=_failed(each, view)) for each in request.failed]
    proposals = [each.model_copy(update=_seen_from(each, view)) for each in request.proposals]
    return {
        "camera": view.camera,
        "camera_pose": (view.up @ view.pose).tolist() if turned or request.camera_pose is not None else None,
        "viewpoint": None,
        "table_depth": None if request.table_depth is None else request.table_depth - float(view.pose[2, 3]),
        "region": None if request.region is None else [_scaled(edge, view.scale) for edge in request.region],
        "point": None if request.point is None else [_scaled(each, view.scale) for each in request.point],
        "failed": failed,
        "proposals": proposals,
        "return_heatmap": False,
        "checks": "off",
    }


def _failed(failed: FailedGrasp, view: CloudView) -> dict[str, Any]:
    changes = _seen_from(failed, view)
    if failed.center_px is not None:
        changes["center_px"] = [_scaled(each, view.scale) for each in failed.center_px]
    return changes


def _seen_from(told: FailedGrasp | Proposal, view: CloudView) -> dict[str, Any]:
    if told.pose_camera is None:
        return {}
    return {"pose_camera": (invert(view.pose) @ np.asarray(told.pose_camera)).tolist()}


def _scaled(pixel: float, scale: float) -> float:
    return (pixel + 0.5) * scale - 0.5


def _in_cloud(grasp: Grasp, view: CloudView, based: bool) -> dict[str, Any]:
    """Fields of a grasp in the frame of the cloud. based: the request tells where that lies in the base frame."""
    changes: dict[str, Any] = {}
    for name in ("pose_camera", "pregrasp_camera"):
        if (pose := getattr(grasp, name)) is not None:
            changes[name] = (view.pose @ np.asarray(pose)).tolist()
    if "pose_camera" in changes:
        changes["depth"] = changes["pose_camera"][2][3]
    if isinstance(grasp, RefusedGrasp) and grasp.obstacle_camera is not None:
        changes["obstacle_camera"] = transform(view.pose, np.array(grasp.obstacle_camera)).tolist()
    for name in ("center_px", "obstacle_px"):
        if (pixel := getattr(grasp, name, None)) is not None:
            changes[name] = [_scaled(each, 1 / view.scale) for each in pixel]
    if grasp.width_px is not None:
        changes["width_px"] = grasp.width_px / view.scale
    if not based:
        changes |= dict.fromkeys(
            ("pose_base", "pregrasp_base", *(["obstacle_base"] if isinstance(grasp, RefusedGrasp) else []))
        )
    return changes
