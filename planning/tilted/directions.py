"""Along which directions a hand may come: gravity and the camera give them, the request bounds them. Camera frame."""

import math
from collections.abc import Callable

import numpy as np

from grasp_client.contract import Approach

MOST = 4
"""Directions per plan: four towards the camera found as much as eleven."""
NEAR = math.radians(15)
"""Directions nearer than this to each other say the same."""
STRAIGHT = 1e-4
"""What leans less than this from straight down, rad, is that."""
LEANS = ((0, 0), (30, 40), (30, -40), (60, 0), (60, 40), (60, -40), (30, 0), (75, 0), (45, 80), (45, -80))
"""Angle from straight down and turn about it from the camera's heading, degrees, in the order in which they are taken."""
RING = (0.0, 120.0, 240.0)
"""Turns of directions round the axis of a request, degrees."""
OUT = 0.7
"""They lean from it by so much of what it allows."""


OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])


def heading(down: np.ndarray) -> np.ndarray:
    """Level direction (3,) in which the camera looks; of one that looks straight down the picture's upper edge."""
    for axis in (OPTICAL_AXIS, np.array([0.0, -1.0, 0.0])):
        level = axis - (axis @ down) * down
        length = float(np.linalg.norm(level))
        if length > 0.2:
            return np.asarray(level / length)
    raise AssertionError("two axes at right angles are not both along gravity")


def leaning(down: np.ndarray, lean: float, turn: float) -> np.ndarray:
    """Direction (3,) that leans from straight down by `lean` towards what lies `turn` beside the camera's heading, rad."""
    ahead = heading(down)
    aside = np.cross(down, ahead)
    return np.asarray(math.cos(lean) * down + math.sin(lean) * (math.cos(turn) * ahead + math.sin(turn) * aside))


def axis_of(approach: Approach, camera_pose: np.ndarray | None) -> np.ndarray:
    """Unit vector (3,) along the axis of a request, camera frame."""
    if approach.axis == "camera":
        return OPTICAL_AXIS
    assert camera_pose is not None  # the contract has checked it
    axis = camera_pose[:3, :3].T @ np.asarray(approach.axis)
    return np.asarray(axis / np.linalg.norm(axis))


def angle(one: np.ndarray, other: np.ndarray) -> float:
    """Between two unit vectors (3,), rad."""
    return math.acos(max(-1.0, min(1.0, float(one @ other))))


def directions(
    down: np.ndarray,
    allowed: tuple[np.ndarray, float] | None,
    usable: Callable[[np.ndarray], bool],
    least: float = 0.0,
) -> list[np.ndarray]:
    """At most MOST approach directions (3,), the most useful first.

    down: straight down (3,). allowed: axis (3,) and greatest angle from it, rad; none: every one that leans by `least` or more.
    usable: whether what is seen can be approached along a direction.
    """
    leans = [(math.radians(lean), math.radians(turn)) for lean, turn in LEANS]
    if least:  # a camera that looks level sees most of what stands before it along its own axis
        leans.insert(0, (min(angle(down, OPTICAL_AXIS), math.pi / 2), 0.0))
    wanted = [leaning(down, *each) for each in leans if allowed is not None or each[0] >= least]
    if allowed is not None:
        axis, most = allowed
        ring = [leaning(axis, OUT * most, math.radians(turn)) for turn in RING] if most > NEAR else []
        wanted = [each for each in (axis, *wanted, *ring) if angle(each, axis) <= most + 1e-6]
    chosen: list[np.ndarray] = []
    for each in wanted:
        if len(chosen) < MOST and usable(each) and all(angle(each, other) >= 0.99 * NEAR for other in chosen):
            chosen.append(down if angle(each, down) < STRAIGHT else each)
    return chosen
