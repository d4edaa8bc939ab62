"""Which outcomes of grasps can be learned from, as far as that holds for every network.

The server asks before it takes an outcome, the trainer before it learns from it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shared.grasp_poses import STEEPEST

Rows = Sequence[Sequence[float]]

MAX_JAW_TILT = math.radians(91)
"""What a hand sees is projected along its own approach: one that comes level, up to the error of a camera pose, sees as well as
any, rad."""


def refusal(meta: Mapping[str, Any], max_tilt: float) -> str | None:
    """Why an outcome's meta (plain JSON) teaches nothing to a network that knows approaches up to `max_tilt`, rad.

    The strict rule alone says whether a grasp held. An unreachable pose says nothing about the grasp: the hand never got there.
    An approach that leans more than `max_tilt` from straight down looks to the network like another one.
    """
    if meta["contact_rule"] != "strict":
        return "contact_rule"
    if meta["failure"] == "unreachable":
        return "unreachable"
    return "approach" if not tilt_of(meta) <= max_tilt else None


def why_not_learnable(meta: Mapping[str, Any]) -> str | None:
    """In words, why no network learns from an outcome; None when there is one that does."""
    grasp = meta["grasp"]
    if not meta["images"]:
        return (
            "no image is known: report soon after the plan by its `request_id`, or send the depth image that was planned on as "
            "the part `depth` of a form"
        )
    if "rgb" not in meta["images"]:  # a colour image teaches also by where in it a grasp was tried
        if meta["camera"] is None:
            return "`camera` is missing, so the depth image has no scale"
        if grasp["pose_camera"] is None or (grasp["width"] is None and grasp["kind"] == "parallel_jaw"):
            return "the grasp has no `pose_camera` (and, of a jaw, `width`), so where the fingers went is unknown"
    max_tilt = STEEPEST if grasp["kind"] == "suction" else MAX_JAW_TILT
    reason = refusal(meta, max_tilt)
    if reason is None:
        return None
    return {
        "contact_rule": "only under `contact_rule` strict does success say that the grasp held",
        "unreachable": "the hand never got to an unreachable pose, which says nothing about the grasp",
        "approach": f"the approach leans {math.degrees(tilt_of(meta)):.0f} degrees from straight down, more than the "
        f"{math.degrees(max_tilt):.0f} that any network sees",
    }[reason]


def tilt_of(meta: Mapping[str, Any]) -> float:
    """Angle of an outcome's approach from straight down, rad; see `lean`."""
    grasp = meta["grasp"]
    return lean(grasp["pose_base"], grasp["pose_camera"], meta["camera_pose"])


def lean(pose_base: Rows | None, pose_camera: Rows | None, camera_pose: Rows | None) -> float:
    """Angle of the approach of a grasp with these poses (4, 4) from straight down, rad; without the camera's pose, from the
    optical axis.

    0 for a grasp without a pose: planners without a camera only propose straight down.
    """
    if pose_base is not None:
        down = -pose_base[2][2]
    elif pose_camera is None:
        return 0.0
    elif camera_pose is None:
        down = pose_camera[2][2]
    else:
        down = -sum(camera_pose[2][k] * pose_camera[k][2] for k in range(3))
    return math.acos(max(-1.0, min(1.0, down)))
