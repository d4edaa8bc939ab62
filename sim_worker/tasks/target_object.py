"""Which object a grasp was meant for."""

from __future__ import annotations

import numpy as np

from grasp_client.geometry import deproject
from sim_worker.world import CameraView


def object_at(view: CameraView, pose: np.ndarray) -> str | None:
    """The object whose visible part lies nearest to a grasp at `pose` (4, 4; base frame); None when none is seen."""
    depth = view.observation.depth
    if depth is None:
        return None
    v, u = np.nonzero((view.segmentation > 0) & (depth > 0))
    if not len(v):
        return None
    points = deproject(np.stack([u, v], axis=1), depth[v, u], view.camera)
    origin = np.linalg.inv(np.asarray(view.camera_pose)) @ pose[:, 3]
    nearest = int(np.argmin(np.linalg.norm(points - origin[:3], axis=1)))
    result: str | None = view.objects[view.segmentation[v[nearest], u[nearest]] - 1]
    return result
