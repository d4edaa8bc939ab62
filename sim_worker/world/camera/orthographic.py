"""A view of the simulator seen straight from above, as Q-maps of pushes have it."""

import numpy as np

from shared.maps.orthographic import OrthographicMaps, orthographic
from sim_worker.world.camera.camera import CameraView


def orthographic_maps(view: CameraView, mask: np.ndarray) -> OrthographicMaps:
    """Of a view and a mask (H, W) bool in its pixels."""
    depth = view.observation.depth
    assert depth is not None
    return orthographic(depth, view.rgb, mask, view.camera, np.asarray(view.camera_pose))
