"""The camera through which a cloud is seen: where it stands, which way it looks, how fine its pixels are."""

import math
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.geometry import invert, look_at, pose_from, transform
from grasp_client.observation import Observation
from planning.base import PlannerError

OVERHEAD = 1.5
"""A camera that sees a cloud of nobody's view stands so far over it, m: its rays are nearly parallel."""
AT_ORIGIN = 0.005
"""A viewpoint this near to the origin of the cloud's frame is a camera's, whose frame that is, m."""
IN_FRONT = 0.02
"""Nearer than this to the camera nothing is seen, m."""
WIDEST = 2.0
"""Farthest off the optical axis that is seen, as a share of the distance along it."""
CROWDED = 8
"""Points to a cell, on average, of the lattice by which the area of a cloud is measured."""
COARSER = 1.3
"""A pixel is so many times as wide as points lie apart: most then have a point."""
OWN_PIXELS = 1.6
"""Where points lie no farther apart than so many pixels of the camera that is told, its pixels are taken as they are."""
LONGEST = 640
"""Pixels of the longer side, at most."""
MARGIN = 24
"""Pixels around what is seen."""
SAMPLE = 20_000
ALONE = 0.30
"""A cloud narrower than this is of an object, and nothing is known of what lies around it, m."""
FORWARD = pose_from(np.diag([1.0, -1.0, -1.0]), np.zeros(3))
"""A camera's frame to one whose z points up, where nobody told: straight down is along the optical axis."""


@dataclass(frozen=True)
class CloudView:
    """camera: intrinsics of the picture, rows x columns. pose (4, 4): its camera frame to the cloud's. up (4, 4): the cloud's
    frame to one whose z points up. scale: pixels of the picture to one of the camera that the request tells."""

    camera: CameraIntrinsics
    rows: int
    columns: int
    pose: np.ndarray
    up: np.ndarray
    scale: float = 1.0

    @property
    def upwards(self) -> np.ndarray:
        """Unit vector (3,) in the camera frame of the picture."""
        upwards: np.ndarray = self.up[2, :3] @ self.pose[:3, :3]
        return upwards


def thinned(points: np.ndarray) -> np.ndarray:
    """About SAMPLE of points (N, 3), a view."""
    return points[:: max(1, len(points) // SAMPLE)]


def alone(points: np.ndarray, view: CloudView) -> bool:
    """Whether points (N, 3), in the cloud's frame, are of an object without what it stands on."""
    level = transform(view.up, thinned(points))[:, :2]
    return bool(np.ptp(level, axis=0).max() < ALONE)


def view_of(observation: Observation, request: PlanRequest) -> CloudView:
    """The view of a cloud. Raises PlannerError 422 for a viewpoint or camera from which none of it is seen."""
    assert observation.points is not None
    clouds = [cloud for cloud in (observation.points, observation.scene_points) if cloud is not None and len(cloud)]
    up = FORWARD if request.camera_pose is None else np.asarray(request.camera_pose, dtype=float)
    pose = _pose(thinned(clouds[0]), request, up)
    seen = [_rays(transform(invert(pose), thinned(cloud))) for cloud in clouds]
    if not len(seen[0]):
        raise PlannerError(
            422,
            "cloud_behind_camera",
            "no point lies in front of the camera: expected its frame (x right, y down, z forward), as OpenCV has it. "
            "Turn the points, or tell from where they were seen in `viewpoint`, and where up is in `camera_pose`",
        )
    apart = max(
        _spacing(rays) * math.sqrt(len(rays) / len(cloud)) for rays, cloud in zip(seen, clouds, strict=True) if len(rays)
    )
    if request.camera is not None:
        return _through(request.camera, apart, pose, up)
    rays = np.concatenate(seen)
    low, high = rays.min(0), rays.max(0)
    pixel = max(COARSER * apart, float((high - low).max()) / (LONGEST - 2 * MARGIN))
    columns, rows = (math.ceil(side / pixel) + 2 * MARGIN for side in (high - low).tolist())
    cx, cy = (MARGIN - low / pixel).tolist()
    return CloudView(CameraIntrinsics(fx=1 / pixel, fy=1 / pixel, cx=cx, cy=cy), rows, columns, pose, up)


def _pose(points: np.ndarray, request: PlanRequest, up: np.ndarray) -> np.ndarray:
    """(4, 4), camera frame to the cloud's: at the viewpoint, or over the cloud where none is told."""
    viewpoint = None if request.viewpoint is None else np.asarray(request.viewpoint, dtype=float)
    at_origin = viewpoint is not None and float(np.linalg.norm(viewpoint)) < AT_ORIGIN
    if request.camera is not None and viewpoint is not None and not at_origin:
        raise PlannerError(
            422, "viewpoint_and_camera", "`camera` stands at the origin of the cloud's frame: leave `viewpoint` or `camera` out"
        )
    if request.camera is not None or (at_origin and 2 * np.count_nonzero(points[:, 2] > IN_FRONT) > len(points)):
        return np.eye(4)
    middle, upwards = np.median(points, axis=0).astype(float), up[2, :3]
    if viewpoint is None:
        viewpoint = middle + upwards * (float((points @ upwards).max() - middle @ upwards) + OVERHEAD)
    elif np.linalg.norm(viewpoint - middle) < IN_FRONT:
        raise PlannerError(
            422, "viewpoint_in_cloud", "`viewpoint` lies inside of the cloud: expected where the camera stood, m"
        )
    forward = (middle - viewpoint) / np.linalg.norm(middle - viewpoint)
    top = np.array([0.0, -1.0, 0.0])  # of the picture: as in the cloud's own frame, if that can be
    return look_at(viewpoint, middle, top if abs(forward @ top) < 0.9 else np.array([0.0, 0.0, 1.0]))


def _rays(points: np.ndarray) -> np.ndarray:
    """(M, 2): x and y at unit distance of those of points (N, 3) that are seen."""
    points = points[points[:, 2] > IN_FRONT]
    rays: np.ndarray = points[:, :2] / points[:, 2:]
    inside: np.ndarray = rays[(np.abs(rays) < WIDEST).all(1)]
    return inside


def _spacing(rays: np.ndarray) -> float:
    """How far neighbours of rays (N, 2) lie apart, by the area of the cells of a lattice in which there are any."""
    low, extent = rays.min(0), max(float(np.ptp(rays, axis=0).max()), 1e-6)
    cell = extent / 4
    while True:
        column, row = ((rays - low) / cell).astype(np.int64).T
        taken = len(np.unique(row * 2**32 + column))
        if len(rays) <= CROWDED * taken or cell < 1e-5:
            return cell * math.sqrt(taken / len(rays))
        cell /= 1.4


def _through(camera: CameraIntrinsics, apart: float, pose: np.ndarray, up: np.ndarray) -> CloudView:
    """The view of a camera that is told, its picture shrunk where the points lie farther apart than its pixels."""
    columns, rows = camera.width or math.ceil(2 * camera.cx + 1), camera.height or math.ceil(2 * camera.cy + 1)
    if min(columns, rows) < 1 or max(columns, rows) > 100_000:
        raise PlannerError(422, "camera_size", "camera: tell `width` and `height` of the picture whose pixels are meant")
    scale = 1.0 if apart * max(camera.fx, camera.fy) < OWN_PIXELS else 1 / (COARSER * apart * max(camera.fx, camera.fy))
    scale = min(scale, 2 * LONGEST / max(columns, rows))
    size = max(1, round(rows * scale)), max(1, round(columns * scale))
    fitted = camera.model_copy(
        update={
            **{"fx": camera.fx * scale, "fy": camera.fy * scale, "width": None, "height": None, "distortion": None},
            **{"cx": (camera.cx + 0.5) * scale - 0.5, "cy": (camera.cy + 0.5) * scale - 0.5},
        }
    )
    return CloudView(fitted, *size, pose, up, scale)
