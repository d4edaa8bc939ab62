"""What one executed grasp came to."""

from dataclasses import dataclass, field

from grasp_client.contract import Failure

LIFT_HEIGHT = 0.15
"""m that the hand rises: more than REQUIRED_RISE, so that an object that swings in the jaw still counts as lifted."""
REQUIRED_RISE = 0.10
"""m that the object's centre of mass must have risen (the contract's rule)."""
HOLD_SECONDS = 0.5

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
