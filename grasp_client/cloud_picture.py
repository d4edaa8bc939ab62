"""A cloud of points as a picture from above, and grasps in its pixels."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from grasp_client.contract import CameraIntrinsics, Grasp, RefusedGrasp
from grasp_client.geometry import invert, look_at, project, transform

DISTANCE = 1.5
"""Of the camera over the middle of what is seen, m."""
SIDE = 480
"""Pixels along the longer side."""
GraspLike = TypeVar("GraspLike", bound=Grasp)


class CloudPicture:
    """depth (H, W) float32, m, 0 where no point is, through `camera`, whose pose in the cloud's frame is `pose` (4, 4)."""

    def __init__(self, points: np.ndarray, up: Sequence[float] = (0.0, 0.0, -1.0)) -> None:
        """up: unit vector in the cloud's frame; that of a camera that looks straight down as long as nobody told."""
        upwards, middle = np.asarray(up, dtype=float), np.median(points, axis=0).astype(float)
        top = np.array([0.0, -1.0, 0.0]) if abs(upwards[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
        self.pose = look_at(middle + DISTANCE * upwards, middle, top)
        seen = transform(invert(self.pose), points)
        seen = seen[seen[:, 2] > 0.1]
        rays = seen[:, :2] / seen[:, 2:]
        low, high = np.percentile(rays, (0.5, 99.5), axis=0)
        focal = 0.9 * SIDE / max(float((high - low).max()), 1e-3)
        columns, rows = (math.ceil(side) for side in ((high - low) * focal + 0.1 * SIDE).tolist())
        cx, cy = ((0.05 * SIDE) - focal * low).tolist()
        self.camera = CameraIntrinsics(fx=focal, fy=focal, cx=cx, cy=cy)
        self.depth = np.zeros((rows, columns), np.float32)
        far_first = seen[np.argsort(-seen[:, 2])]
        size = max(1, round(0.5 * math.sqrt(rows * columns / max(1, len(far_first)))))
        u, v = np.rint(project(far_first, self.camera)).astype(int).T
        for i in range(-size, size + 1):
            for j in range(-size, size + 1):
                inside = (u + i >= 0) & (u + i < columns) & (v + j >= 0) & (v + j < rows)
                places = v[inside] + j, u[inside] + i
                z = far_first[inside, 2].astype(np.float32)
                before = self.depth[places]
                nearer = (before == 0) | (z < before)
                self.depth[places[0][nearer], places[1][nearer]] = z[nearer]

    def seen(self, grasps: Sequence[GraspLike]) -> list[GraspLike]:
        """Grasps with `pose_camera` in the cloud's frame, with their pixels in this picture; others are left out."""
        return [self._seen(grasp) for grasp in grasps if grasp.pose_camera is not None]

    def _seen(self, grasp: GraspLike) -> GraspLike:
        pose = invert(self.pose) @ np.asarray(grasp.pose_camera, dtype=float)
        half = 0.5 * (grasp.width or 0.0) * pose[:3, 0]
        ends = project(np.stack([pose[:3, 3] - half, pose[:3, 3], pose[:3, 3] + half]), self.camera)
        along = project(np.stack([pose[:3, 3], pose[:3, 3] + 0.01 * pose[:3, 0]]), self.camera)
        angle = math.remainder(math.atan2(*(along[1] - along[0])[::-1]), math.pi)
        changes = {"center_px": ends[1].tolist(), "angle": angle, "depth": float(pose[2, 3])}
        changes["width_px"] = float(np.linalg.norm(ends[2] - ends[0])) if grasp.width else None
        if isinstance(grasp, RefusedGrasp) and grasp.obstacle_camera is not None:
            changes["obstacle_px"] = project(transform(invert(self.pose), np.array([grasp.obstacle_camera])), self.camera)[
                0
            ].tolist()
        return grasp.model_copy(update=changes)
