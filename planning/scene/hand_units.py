"""Small hands are planned for in units of the hand: what thresholds call a millimetre is then a smaller one."""

from dataclasses import replace

import numpy as np

from grasp_client.contract import Gripper
from shared.maps.heightmap import HeightMap, hand_scale

LEAST_SCALE = 0.5
"""Of a hand (1: opens 80 mm) that is planned for in metres. One that is smaller is planned for as one of this scale: noise and
errors of poses do not shrink with the hand, so that thresholds do not all the way."""
_SIZES = (
    *("max_width", "min_width", "finger_width", "finger_thickness", "finger_depth", "pad_thickness", "pad_depth"),
    *("palm_width", "palm_thickness", "tcp_offset"),
)


def hand_unit(gripper: Gripper) -> float:
    """Length of the unit that a jaw is planned for in, m: at most 1."""
    return unit_of_scale(hand_scale(gripper)) if gripper.kind == "parallel_jaw" else 1.0


def unit_of_scale(scale: float) -> float:
    """The same of a hand of this scale."""
    return min(1.0, scale / LEAST_SCALE)


def gripper_in(gripper: Gripper, unit: float) -> Gripper:
    """The jaw with its sizes in units of so many metres."""
    sizes = {name: size / unit for name in _SIZES if (size := getattr(gripper, name)) is not None}
    return gripper.model_copy(update=sizes)


def map_in(map: HeightMap, unit: float) -> HeightMap:
    """The height map in units of so many metres."""
    pose = map.pose.copy()
    pose[:3, 3] /= unit
    return replace(
        map,
        height=map.height / np.float32(unit),
        upper_bound=map.upper_bound / np.float32(unit),
        pose=pose,
        corner=(map.corner[0] / unit, map.corner[1] / unit),
        table_noise=map.table_noise / unit,
        resolution=map.resolution / unit,
        levels=None if map.levels is None else map.levels / np.float32(unit),
    )
