"""Whether a hand can come from straight above at all, as far as a thousand readings tell."""

import math

import numpy as np

from grasp_client.contract import CameraIntrinsics
from planning.scene.support_plane import FEWEST, thinned_points
from shared.maps.approach_map import LEVEL

ABOVE = 0.02
"""What lies so far over the camera hangs over what the camera sees, m."""
LEAST_SHARE = 0.03
"""Of the readings, that a ceiling has."""
CEILING = 0.4
"""Share of what lies over the camera that lies on one level, STEP thick, where it is a ceiling; a wall has no level."""
STEP = 0.02


def blocked_from_above(depth: np.ndarray, camera: CameraIntrinsics, camera_pose: np.ndarray | None) -> str | None:
    """Why no hand can come from straight above, in words, or None. depth (H, W), m; camera_pose: z up."""
    if camera_pose is None:
        return None
    up = camera_pose[2, :3]
    lean = math.acos(max(-1.0, min(1.0, -float(up[2]))))
    if lean > LEVEL:
        return f"the camera looks level, {math.degrees(lean):.0f} degrees from straight down"
    points = thinned_points(depth, camera)
    if points is None:
        return None
    height = up @ points
    over = height[height > ABOVE]
    if len(over) < max(FEWEST, LEAST_SHARE * len(height)):
        return None
    levels = np.bincount((over / STEP).astype(int))
    if (levels[:-1] + levels[1:]).max(initial=levels.max()) < CEILING * len(over):
        return None
    return f"a ceiling hangs {float(np.median(over)):.2f} m over the camera"
