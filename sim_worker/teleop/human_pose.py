"""A person's arms to the joints of one or two robot arms, from body landmarks of any tracker.

The mapping of a webcam demonstration with two arms: the slope of the upper arm in the picture drives joint 3, how much
the forearm's slope differs from it joint 5, and joint 0 turns the arm aside. Angles are taken with their quadrant, so an arm
that points up or across the body means what it shows.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

Landmark = Annotated[list[Annotated[float, Field(ge=-1e3, le=1e3)]], Field(min_length=2, max_length=4)]
"""x to the right and y downwards, in shares of the picture; more numbers are depth and visibility, which are not read."""
Side = Literal["left", "right"]
POINTS: dict[Side, tuple[int, int, int]] = {"left": (11, 13, 15), "right": (12, 14, 16)}
"""Shoulder, elbow and wrist in MediaPipe Pose's numbering."""
OUTWARDS: dict[Side, float] = {"left": 1.0, "right": -1.0}
"""Way along the picture's x in which a person's own arm points, who faces an unmirrored camera."""
MOST_SLOPE = 0.67
"""rad to either side that the upper arm drives joint 3."""
MOST_BEND = math.pi / 2
"""rad to either side that the forearm drives joint 5."""
ASIDE = 1.57
"""rad of joint 0."""
JOINTS = 6
"""Numbers for an arm: five joints and the gripper (0 open to 1 closed)."""


def joints_of(landmarks: Sequence[Sequence[float]], aspect: float = 1.0) -> dict[Side, tuple[float, float]]:
    """Slope of each upper arm and bend of each forearm, rad, bounded; up is positive. aspect: width over height."""
    found: dict[Side, tuple[float, float]] = {}
    for side, (shoulder, elbow, wrist) in POINTS.items():
        upper = _slope(landmarks[shoulder], landmarks[elbow], OUTWARDS[side], aspect)
        fore = _slope(landmarks[elbow], landmarks[wrist], OUTWARDS[side], aspect)
        bend = math.remainder(fore - upper, math.tau)
        found[side] = _bounded(upper, MOST_SLOPE), _bounded(bend, MOST_BEND)
    return found


def arm_joints(slope: float, bend: float, gripper: float) -> list[float]:
    """(JOINTS,) of one arm: joint 0 aside, joint 3 by the upper arm, joint 5 by the forearm, rad; the others at rest.

    The arm's joints are numbered 0, 1, 2, 3 and 5 in a list of five, as the sixth number is the gripper's.
    """
    return [ASIDE, 0.0, 0.0, slope, bend, gripper]


def upper_arm_share(angle: float) -> float:
    """An angle as a deflection: MOST_SLOPE is 1."""
    return _bounded(angle / MOST_SLOPE, 1.0)


def _slope(start: Sequence[float], end: Sequence[float], outwards: float, aspect: float) -> float:
    return math.atan2(start[1] - end[1], outwards * aspect * (end[0] - start[0]))


def _bounded(value: float, most: float) -> float:
    return max(-most, min(most, value))
