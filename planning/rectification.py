"""Images and options as a pinhole camera of the image's own size would give them: intrinsics scaled, lens distortion undone.

Everything behind this, and what is learned from, sees one kind of camera. Replies are in pixels of the sent image again.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import cv2
import numpy as np

from grasp_client.contract import ActionPlan, CameraIntrinsics, Grasp, GraspPlan, PlanRequest, Push
from grasp_client.observation import Observation, View
from planning.base import PlanItem, PlannerError
from planning.clouds import in_cloud_frame, rendered

FIELDS = frozenset({"width", "height", "distortion"})
"""Of a camera: without any of them there is nothing to do."""
PIXELS = ("center_px", "obstacle_px")
"""Fields of grasps, refused or not, that lie in the picture."""
GraspLike = TypeVar("GraspLike", bound=Grasp)


def rectify(item: PlanItem) -> PlanItem:
    """The observation and its options with plain intrinsics, a cloud as a depth image; the same objects where nothing is to be
    done.

    Raises PlannerError 422 for intrinsics of an image with another ratio of the sides.
    """
    observation, request = item
    if observation.points is not None:
        return rendered(item)
    if observation.views:
        first, request = rectify((replace(observation, views=()), request))
        return replace(first, views=tuple(map(_rectified, observation.views))), request
    if request.camera is None or request.camera.is_plain:
        return item
    try:
        camera = request.camera.fitted(*observation.size)
    except ValueError as error:
        raise PlannerError(422, "camera_size", f"camera: {error}") from error
    if not any(camera.distortion or ()):
        return observation, request.model_copy(update={"camera": camera.model_copy(update={"distortion": None})})
    changes: dict[str, Any] = {"camera": camera.model_copy(update={"distortion": None})}
    if request.region is not None:
        u0, v0, u1, v1 = request.region
        edge = [(u, v) for u in (u0, (u0 + u1) / 2, u1) for v in (v0, (v0 + v1) / 2, v1)]
        corners = _undone(np.array(edge), camera)
        changes["region"] = [*corners.min(0).tolist(), *corners.max(0).tolist()]
    if request.point is not None:
        changes["point"] = _undone([request.point], camera)[0].tolist()
    changes["failed"] = [
        failed
        if failed.center_px is None
        else failed.model_copy(update={"center_px": _undone([failed.center_px], camera)[0].tolist()})
        for failed in request.failed
    ]
    return _undistorted(observation, camera), request.model_copy(update=changes)


def _rectified(view: View) -> View:
    seen, told = rectify((Observation(view.depth), PlanRequest(camera=view.camera)))
    assert seen.depth is not None
    assert told.camera is not None
    return replace(view, depth=seen.depth, camera=told.camera)


def in_sent_pixels(plan: GraspPlan, sent: PlanItem) -> GraspPlan:
    """A plan for the rectified image with the pixels of the one that was sent. Poses are the camera's, and stay; those of a
    cloud are in its frame."""
    observation, request = sent
    if observation.points is not None:
        return in_cloud_frame(plan, sent)
    if request.camera is None or not any(request.camera.distortion or ()):
        return plan
    camera = request.camera.fitted(*observation.size)

    def moved(grasps: Sequence[GraspLike]) -> list[GraspLike]:
        fields = {name: [k for k, each in enumerate(grasps) if getattr(each, name, None)] for name in PIXELS}
        changes: list[dict[str, Any]] = [{} for _ in grasps]
        for name, places in fields.items():
            sent_pixels = _distorted(np.array([getattr(grasps[k], name) for k in places]).reshape(-1, 2), camera).tolist()
            for k, pixel in zip(places, sent_pixels, strict=True):
                changes[k][name] = pixel
        return [grasp.model_copy(update=change) for grasp, change in zip(grasps, changes, strict=True)]

    refused = None if plan.refused is None else moved(plan.refused)
    return plan.model_copy(update={"grasps": moved(plan.grasps), "refused": refused})


def action_in_sent_pixels(plan: ActionPlan, sent: PlanItem) -> ActionPlan:
    """As `in_sent_pixels`, for grasps and pushes of an action."""
    observation, request = sent
    if request.camera is None or not any(request.camera.distortion or ()):
        return plan
    camera = request.camera.fitted(*observation.size)

    def moved(each: Grasp | Push, *names: str) -> Any:
        pixels = _distorted(np.array([getattr(each, name) for name in names]), camera).tolist()
        return each.model_copy(update=dict(zip(names, pixels, strict=True)))

    changes = {name: [moved(grasp, "center_px") for grasp in getattr(plan, name)] for name in ("grasps", "clears")}
    return plan.model_copy(update={**changes, "pushes": [moved(push, "start_px", "end_px") for push in plan.pushes]})


def map_in_sent_pixels(maps: np.ndarray, sent: PlanItem) -> np.ndarray:
    """A dense map (angles, H, W) of the rectified image in the pixels of the one that was sent."""
    observation, request = sent
    if request.camera is None or not any(request.camera.distortion or ()):
        return maps
    camera = request.camera.fitted(*observation.size)
    rows, columns = observation.size
    u, v = np.meshgrid(np.arange(columns, dtype=float), np.arange(rows, dtype=float))
    places = _undone(np.column_stack([u.ravel(), v.ravel()]), camera).reshape(rows, columns, 2).astype(np.float32)
    return np.stack([cv2.remap(each, places[..., 0], places[..., 1], cv2.INTER_LINEAR) for each in maps])


def _undistorted(observation: Observation, camera: CameraIntrinsics) -> Observation:
    rows, columns = observation.size
    u, v = cv2.initUndistortRectifyMap(
        _matrix(camera), _coefficients(camera), None, _matrix(camera), (columns, rows), cv2.CV_32FC1
    )

    def moved(image: np.ndarray | None, how: int) -> np.ndarray | None:
        return None if image is None else cv2.remap(image, u, v, how)

    def moved_mask(mask: np.ndarray | None) -> np.ndarray | None:
        return None if mask is None else cv2.remap(mask.astype(np.uint8), u, v, cv2.INTER_NEAREST) > 0

    # Depth is not mixed across edges: between an object and the table there is nothing.
    depth = moved(observation.depth, cv2.INTER_NEAREST)
    rgb = moved(observation.rgb, cv2.INTER_LINEAR)
    return Observation(depth, rgb, moved_mask(observation.segmask), moved_mask(observation.goal))


def _undone(pixels: Any, camera: CameraIntrinsics) -> np.ndarray:
    """Where pixels (N, 2) of the distorted image lie in the rectified one."""
    points = np.asarray(pixels, dtype=float).reshape(-1, 1, 2)
    result: np.ndarray = cv2.undistortPoints(points, _matrix(camera), _coefficients(camera), P=_matrix(camera)).reshape(-1, 2)
    return result


def _distorted(pixels: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """Where pixels (N, 2) of the rectified image lie in the distorted one."""
    rays = np.column_stack(
        [(pixels[:, 0] - camera.cx) / camera.fx, (pixels[:, 1] - camera.cy) / camera.fy, np.ones(len(pixels))]
    )
    if not len(rays):
        return pixels
    still = np.zeros(3)
    found, _ = cv2.projectPoints(rays, still, still, _matrix(camera), _coefficients(camera))
    result: np.ndarray = found.reshape(-1, 2)
    return result


def _matrix(camera: CameraIntrinsics) -> np.ndarray:
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])


def _coefficients(camera: CameraIntrinsics) -> np.ndarray:
    return np.array(camera.distortion, dtype=float)
