"""Pushes and grasps at a place of an orthographic map, as published work executes them."""

import numpy as np

from grasp_client.contract import Grasp, Gripper, Push
from shared.maps.orthographic import CELL, CELLS, OrthographicMaps
from sim_worker.grasp_poses import jaw_grasp, top_down
from sim_worker.world import CameraView

PUSH_LENGTH = 0.10
"""m."""
PUSH_GAP, PUSH_LEAST = 0.004, 0.010
"""m: tips stay so far above what lies under the closed fingers, and at least so high."""
FOOTPRINT = 0.016
"""m: half side of the square under the closed fingers."""
GRASP_DEPTH, GRASP_LEAST = 0.04, 0.004
"""m: tips go so far below the highest reading near a cell, but no lower than this."""
REACH = 0.02
"""m round a grasp's cell in which that reading is looked for."""


def push_at(maps: OrthographicMaps, place: np.ndarray, angle: float) -> Push:
    """A push from a place (2,), m, along an angle from x towards y, rad, in the base frame."""
    height = max(PUSH_LEAST, _highest(maps, place, FOOTPRINT) + PUSH_GAP)
    # The closing axis lies across the push, so that both fingers push.
    start = top_down(place, height, angle + np.pi / 2)
    end = start.copy()
    end[:2, 3] += PUSH_LENGTH * np.array([np.cos(angle), np.sin(angle)])
    return Push(start_base=start.tolist(), end_base=end.tolist(), length=PUSH_LENGTH)


def grasp_at(maps: OrthographicMaps, place: np.ndarray, angle: float, view: CameraView, gripper: Gripper) -> Grasp:
    """A grasp straight down at a place (2,), m, wide open, that closes along an angle, rad."""
    tips = max(GRASP_LEAST, _highest(maps, place, REACH) - GRASP_DEPTH)
    return jaw_grasp(top_down(place, tips, angle), gripper.max_width, 0.0, view.camera, np.asarray(view.camera_pose))


def _highest(maps: OrthographicMaps, place: np.ndarray, half: float) -> float:
    """m: of what is seen in the square about a place (2,)."""
    low, high = (np.floor((place + sign * half) / CELL + CELLS / 2).astype(int) for sign in (-1, 1))
    (left, top), (right, bottom) = low.clip(0, CELLS - 1), high.clip(0, CELLS - 1) + 1
    return float(maps.height[top:bottom, left:right].max())
