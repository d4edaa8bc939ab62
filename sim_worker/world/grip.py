"""One jaw grasp in physics: come in, close, lift, hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim_worker.world.attempt import HOLD_SECONDS, LIFT_HEIGHT, REQUIRED_RISE, AttemptResult, Detail, lift_profile
from sim_worker.world.jaw import Jaw
from sim_worker.world.physics import Physics

APPROACH_SPEED = 0.06
"""m/s while contact is possible. Faster, a finger tip 1 mm inside an object's edge is squeezed past it between two steps."""
APPROACH_FORCE = 60.0
"""N: the hand pushes this hard before it stops short."""

REST_SPEED, REST_TURN = 0.003, 0.05
"""m/s and rad/s of a held object that count as rest: at most 1.5 mm over the whole hold."""
RESTS_TO_TRUST = 2


def grip(
    physics: Physics,
    jaw: Jaw,
    bodies: Mapping[int, str],
    tip_pose: np.ndarray,
    opening: float,
    force: float,
    behind: float = 0.0,
) -> AttemptResult:
    """Grasp with the jaw at `tip_pose` (4, 4), open by `opening` m, closing with `force` N per finger.

    `behind`: come in from so many m short of the pose, pushing what is in the way. `bodies`: names of what can be grasped.
    """
    start = physics.steps
    heights = {body: physics.client.getBasePositionAndOrientation(body)[0][2] for body in bodies}
    jaw.place(tip_pose, opening, behind)
    if behind > 0:
        _come_in(physics, jaw, behind)
    left = jaw.close(force)
    details: dict[str, Detail] = {"opening": round(left, 5)}

    def result(failure, body: int | None) -> AttemptResult:
        name = None if body is None else bodies[body]
        return AttemptResult(failure is None, failure, name, (physics.steps - start) / physics.hz, details)

    held = jaw.holding(bodies)
    if not held or left < max(jaw.gripper.min_width, 1e-3):
        touched = (jaw.touching(0) | jaw.touching(1)) & set(bodies)
        return result("missed", min(touched, default=None))
    target = min(held)
    held = _lift_and_hold(physics, jaw, held)
    if held:
        target = min(held)
    rise = physics.client.getBasePositionAndOrientation(target)[0][2] - heights[target]
    details["rise"] = round(rise, 5)
    return result(None if held and rise >= REQUIRED_RISE else "slipped", target)


def _come_in(physics: Physics, jaw: Jaw, distance: float) -> None:
    steps = physics.steps_in(distance / APPROACH_SPEED)
    velocity = np.array([0.0, 0.0, distance / steps * physics.hz])
    for _ in range(steps):
        jaw.carry(velocity, APPROACH_FORCE)
        physics.step()
    jaw.stay()


def _lift_and_hold(physics: Physics, jaw: Jaw, held: set[int]) -> set[int]:
    """Bodies of `held` still between the fingers at the end; empty as soon as none is."""
    stride = physics.steps_in(0.05)
    lift = lift_profile(LIFT_HEIGHT, physics.hz)
    speeds = [*lift, *[0.0] * physics.steps_in(HOLD_SECONDS)]
    quiet = 0
    for step, speed in enumerate(speeds, start=1):
        jaw.raise_by(speed)
        physics.step()
        if step % stride and step != len(speeds):
            continue
        held = jaw.holding(held)
        if not held:
            break
        quiet = quiet + 1 if step > len(lift) and at_rest(physics, held) else 0
        if quiet == RESTS_TO_TRUST:
            break
    return held


def at_rest(physics: Physics, bodies: set[int]) -> bool:
    """Whether nothing held moves or turns any more: what stays so for RESTS_TO_TRUST looks stays to the end of the hold."""
    return all(linear < REST_SPEED and angular < REST_TURN for linear, angular in physics.speeds(list(bodies)))
