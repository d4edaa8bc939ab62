"""The depth camera: any intrinsics, any pose; metric depth, colour and segmentation.

PyBullet's CPU renderer draws the scene half a pixel too far right and half a pixel too far up; its OpenGL renderer does
not. The projection here takes that out, so that both give the same image and `deproject` hits the drawn surface.
The table is not rendered but computed: exact, and it halves the time of an image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pybullet

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import deproject, look_at, pose_from
from grasp_client.observation import Observation
from sim_worker.world.simulation.physics import Physics
from sim_worker.world.simulation.profiles import Conditions
from sim_worker.world.simulation.spec import CameraSpec

NEAR, FAR = 0.05, 3.0
"""m along the optical axis. The hand waits beyond FAR."""
BACKGROUND, TABLE = -1, 0
"""Segmentation values besides the objects' (1, 2, ...): nothing within FAR; table and bin."""
UPRIGHT = math.radians(45)
"""A camera that leans more stands at the side: what is up is up in its image, rad."""
OPENGL_TO_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class CameraView:
    """One look at the scene. `observation`: depth, as the sensor gives it. `segmentation` (H, W) int32: 0 table and bin, i + 1
    object i of `objects`, -1 nothing. `exact_depth` (H, W), m. `paint`: gives the colours, when they are asked for."""

    observation: Observation
    camera: CameraIntrinsics
    camera_pose: np.ndarray
    true_camera_pose: np.ndarray
    segmentation: np.ndarray
    objects: tuple[str, ...]
    exact_depth: np.ndarray
    paint: Callable[[], np.ndarray]

    @cached_property
    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self.paint()

    def object_at(self, pose: np.ndarray) -> str | None:
        """The object whose visible part lies nearest to a grasp at `pose` (4, 4; base frame); None when none is seen."""
        depth = self.observation.depth
        if depth is None:
            return None
        v, u = np.nonzero((self.segmentation > 0) & (depth > 0))
        if not len(v):
            return None
        points = deproject(np.stack([u, v], axis=1), depth[v, u], self.camera)
        origin = np.linalg.inv(np.asarray(self.camera_pose)) @ pose[:, 3]
        nearest = int(np.argmin(np.linalg.norm(points - origin[:3], axis=1)))
        return self.objects[int(self.segmentation[v[nearest], u[nearest]]) - 1]


def camera_poses(spec: CameraSpec, conditions: Conditions) -> tuple[np.ndarray, np.ndarray]:
    """Camera pose in the base frame, (reported, true), 4x4 each: calibration is off by what the scene drew."""
    if spec.pose is None:
        aim = np.asarray(spec.aim, dtype=float)
        lean, azimuth = spec.lean or (conditions.tilt, conditions.tilt_azimuth)
        back = np.array([math.sin(lean) * math.cos(azimuth), math.sin(lean) * math.sin(azimuth), math.cos(lean)])
        top = np.array([0.0, 0.0, 1.0] if lean > UPRIGHT else [0.0, 1.0, 0.0])
        reported = look_at(aim + spec.distance * back, aim, top)
    else:
        reported = np.array(spec.pose, dtype=float)
    turn = np.reshape(pybullet.getMatrixFromQuaternion(pybullet.getQuaternionFromEuler(conditions.camera_turn)), (3, 3))
    true = pose_from(reported[:3, :3] @ turn, reported[:3, 3] + np.asarray(conditions.camera_shift))
    return reported, true


def projection_matrix(camera: CameraIntrinsics, width: int, height: int, half_pixel: float) -> list[float]:
    """OpenGL projection, column-major, of a pinhole camera whose integer pixels lie at pixel centres."""
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[1, 1] = 2 * camera.fx / width, 2 * camera.fy / height
    matrix[0, 2] = 1 - 2 * (camera.cx + 0.5 - half_pixel) / width
    matrix[1, 2] = 2 * (camera.cy + 0.5 + half_pixel) / height - 1
    matrix[2, 2], matrix[2, 3] = -(FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    matrix[3, 2] = -1
    return matrix.T.ravel().tolist()


@dataclass(frozen=True)
class Image:
    """depth (H, W) float32 m, 0 where nothing is within FAR; rgb (H, W, 3) uint8; bodies (H, W) int32, -1 where no body is."""

    depth: np.ndarray
    rgb: np.ndarray
    bodies: np.ndarray


def render(
    physics: Physics, camera: CameraIntrinsics, width: int, height: int, pose: np.ndarray, light: np.ndarray | None = None
) -> Image:
    """Render the bodies (not the table) with the camera at `pose` (4, 4) in the base frame; `light`: direction towards it."""
    view = np.linalg.inv(pose @ OPENGL_TO_OPTICAL).T.ravel().tolist()
    hardware = physics.hardware_renderer
    _, _, rgba, buffer, bodies = physics.client.getCameraImage(
        width,
        height,
        view,
        projection_matrix(camera, width, height, 0.0 if hardware else 0.5),
        lightDirection=(light if light is not None else np.array([0.3, 0.2, 1.0])).tolist(),
        shadow=0,
        renderer=pybullet.ER_BULLET_HARDWARE_OPENGL if hardware else pybullet.ER_TINY_RENDERER,
    )
    bodies = np.array(bodies, dtype=np.int32).reshape(height, width)
    z = np.asarray(buffer, dtype=np.float64).reshape(height, width)
    depth = np.where(bodies >= 0, FAR * NEAR / (FAR - (FAR - NEAR) * z), 0.0).astype(np.float32)
    return Image(depth, np.array(rgba, dtype=np.uint8).reshape(height, width, 4)[..., :3], bodies)


def plane_depth(camera: CameraIntrinsics, width: int, height: int, pose: np.ndarray) -> np.ndarray:
    """Depth (H, W) float32, m, of the plane z = 0 of the base frame; 0 where it is behind the camera or beyond FAR."""
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u, dtype=float)], axis=-1)
    falling = rays @ pose[2, :3]
    with np.errstate(divide="ignore"):
        depth = np.where(falling < -1e-9, -pose[2, 3] / falling, 0.0)
    return np.where(depth < FAR, depth, 0.0).astype(np.float32)


def over_table(image: Image, camera: CameraIntrinsics, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W) each: depth, m, of what is drawn or of the table where it is nearer; where it is (bool); depth of the table."""
    height, width = image.depth.shape
    table = plane_depth(camera, width, height, pose)
    bare = (image.depth <= 0) | ((table > 0) & (table < image.depth))
    return np.where(bare, table, image.depth), bare, table
