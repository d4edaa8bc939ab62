"""One push in physics: the closed hand goes straight along the table."""

from dataclasses import dataclass

import numpy as np

from sim_worker.world.grippers.jaw import Jaw
from sim_worker.world.simulation.physics import Physics

STROKE_SPEED = 0.25
"""m/s."""
STROKE_FORCE = 60.0
"""N along each axis: a hand that meets more stops short, as one of a careful robot does."""


@dataclass(frozen=True)
class PushResult:
    """blocked: what the closed hand would have come down on, so that nothing was moved; None for a push that was made.

    travelled: m that the hand really went."""

    blocked: str | None = None
    travelled: float = 0.0
    simulated_seconds: float = 0.0


def execute_push(physics: Physics, jaw: Jaw, start: np.ndarray, travel: np.ndarray) -> PushResult:
    """Push with the closed jaw from the tip pose `start` (4, 4) by `travel` (3,), m, both in the base frame; its turn stays."""
    began = physics.seconds
    jaw.place(start, 0.0)
    length = float(np.linalg.norm(travel))
    steps = physics.steps_in(length / STROKE_SPEED)
    velocity = (start[:3, :3].T @ travel / steps * physics.hz).tolist()
    for _ in range(steps):
        jaw.set_velocity(velocity, STROKE_FORCE)
        physics.step()
    jaw.hold_position()
    gone = float((jaw.tip_pose()[:3, 3] - start[:3, 3]) @ travel) / max(length, 1e-9)
    return PushResult(None, round(gone, 5), round(physics.seconds - began, 4))
