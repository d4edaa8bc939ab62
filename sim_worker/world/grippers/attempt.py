"""What one executed grasp came to."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from grasp_client.contract import Failure

LIFT_HEIGHT = 0.15
"""m that the hand rises, or goes back: more than REQUIRED_RISE, so that an object that swings in the jaw counts as lifted."""
REQUIRED_RISE = 0.10
"""m that the object's centre of mass must have risen (the contract's rule), or gone along with a hand that goes another way."""
HOLD_SECONDS = 0.5
RetreatName = Literal["up", "approach", "up_beyond_60", "out"]
"""Which way a hand carries what it holds: straight up; back along its approach; the same, but straight up where it leans more
than 60 degrees (as VGN and GIGA do); level and slightly up, away from where it points, as out of a shelf."""
STRAIGHT_UP = np.array([0.0, 0.0, 1.0])
OUT_SLOPE = 0.2
"""Rise over run of the way out of a shelf."""


def retreat(pose: np.ndarray, name: RetreatName) -> np.ndarray:
    """Unit vector (3,) in the base frame along which a hand that has grasped at `pose` (4, 4) goes."""
    back = -pose[:3, 2]
    if name == "up" or (name == "up_beyond_60" and back[2] < math.cos(math.radians(60)) - 1e-6):
        return STRAIGHT_UP
    if name != "out":
        return back
    level = float(np.hypot(back[0], back[1]))
    if level < 1e-3:
        return STRAIGHT_UP
    way = np.array([back[0] / level, back[1] / level, OUT_SLOPE])
    unit: np.ndarray = way / np.linalg.norm(way)
    return unit


Detail = float | int | str | bool | None


@dataclass(frozen=True)
class AttemptResult:
    """`object_name`: what was held, or collided with, or touched last; `simulated_seconds`: physics time spent."""

    success: bool
    failure: Failure | None = None
    object_name: str | None = None
    simulated_seconds: float = 0.0
    details: dict[str, Detail] = field(default_factory=dict)


def lift_profile(height: float, hz: int, acceleration: float) -> list[float]:
    """Upward speed, m/s, for each step of a lift that starts and ends at rest and rises `height` m: a triangle of speed."""
    # height = acceleration t^2 for a triangle of half length t; whole steps, so the peak is scaled to give the height exactly.
    half = max(1, round((height / acceleration) ** 0.5 * hz))
    peak = height * hz / half
    speeds = [peak * (i + 0.5) / half for i in range(half)]
    return speeds + speeds[::-1]
