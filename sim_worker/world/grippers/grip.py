"""One jaw grasp in physics: come in, close, lift, hold."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import numpy as np

from grasp_client.contract import Failure
from sim_worker.world.grippers.attempt import (
    HOLD_SECONDS,
    LIFT_HEIGHT,
    REQUIRED_RISE,
    STRAIGHT_UP,
    AttemptResult,
    Detail,
    lift_profile,
)
from sim_worker.world.grippers.jaw import Fingers, Jaw
from sim_worker.world.simulation.physics import Physics

APPROACH_SPEED = 0.06
"""m/s while contact is possible. Faster, a finger tip 1 mm inside an object's edge is squeezed past it between two steps."""
APPROACH_FORCE = 60.0
"""N: the hand pushes this hard before it stops short."""
REST_SPEED, REST_TURN = 0.003, 0.05
"""m/s and rad/s of a held object that count as rest: at most 1.5 mm over the whole hold."""
RESTS_TO_TRUST = 2


class Lifter(Protocol):
    """Whatever can raise a hand. `lift_acceleration`: m/s2. `rising`: unit vector (3,) along which it does."""

    lift_acceleration: float
    rising: np.ndarray

    def lift(self, speed: float) -> None: ...


def execute_jaw_grasp(
    physics: Physics,
    jaw: Jaw,
    bodies: Mapping[int, str],
    pose: np.ndarray,
    opening: float,
    force: float,
    behind: float = 0.0,
    rising: np.ndarray = STRAIGHT_UP,
) -> AttemptResult:
    """Grasp with the jaw at the tip `pose` (4, 4), open by `opening` m, closing with `force` N per finger.

    `behind`: come in from so many m short of the pose, pushing what is in the way. `bodies`: names of what can be grasped.
    `rising`: unit vector (3,) along which the hand carries what it holds.
    """
    start = physics.seconds
    heights = heights_of(physics, bodies, rising)
    jaw.place(pose, opening, behind, rising)
    if behind > 0:
        jaw.approach(behind, APPROACH_SPEED, APPROACH_FORCE)
    return close_and_lift(physics, jaw, jaw.fingers, bodies, heights, max(jaw.gripper.min_width, 1e-3), force, start)


def heights_of(physics: Physics, bodies: Collection[int], rising: np.ndarray = STRAIGHT_UP) -> dict[int, float]:
    """How far along `rising` each centre of mass is, m: its height where that is straight up."""
    return {body: float(rising @ physics.client.getBasePositionAndOrientation(body)[0]) for body in bodies}


def close_and_lift(
    physics: Physics,
    lifter: Lifter,
    fingers: Fingers,
    bodies: Mapping[int, str],
    heights: Mapping[int, float],
    least: float,
    force: float,
    start: float,
) -> AttemptResult:
    """From the open hand in place to the outcome. `least`: m, a smaller opening after closing means nothing is held.

    `heights`: m along the lifter's way, where the centres of mass were before the hand came; `start`: the physics clock at that
    time.
    """
    left = fingers.close(force)
    details: dict[str, Detail] = {"opening": round(left, 5)}

    def result(failure: Failure | None, body: int | None) -> AttemptResult:
        name = None if body is None else bodies[body]
        return AttemptResult(failure is None, failure, name, round(physics.seconds - start, 4), details)

    held = fingers.holding(bodies)
    if not held or left < least:
        touched = (fingers.touching(0) | fingers.touching(1)) & set(bodies)
        return result("missed", min(touched, default=None))
    target = min(held)
    # Of several things between the fingers only what stays there to the end was grasped.
    held = lift_and_hold(physics, lifter, fingers.holding, held)
    target = min(held, default=target)
    rise = heights_of(physics, [target], lifter.rising)[target] - heights[target]
    details["rise"] = round(rise, 5)
    return result(None if held and rise >= REQUIRED_RISE else "slipped", target)


def lift_and_hold(physics: Physics, lifter: Lifter, holding: Callable[[Collection[int]], set[int]], held: set[int]) -> set[int]:
    """Bodies of `held` still held at the end; empty as soon as none is. `holding` says which of some bodies are held now."""
    stride = physics.steps_in(0.05)
    lift = lift_profile(LIFT_HEIGHT, physics.hz, lifter.lift_acceleration)
    speeds = [*lift, *[0.0] * physics.steps_in(HOLD_SECONDS)]
    quiet = 0
    for step, speed in enumerate(speeds, start=1):
        lifter.lift(speed)
        physics.step()
        # Contacts cost more than a step: asked for every 50 ms, and at the very end, on which success hangs.
        if step % stride and step != len(speeds):
            continue
        held = holding(held)
        if not held:
            break
        quiet = quiet + 1 if step > len(lift) and _at_rest(physics, held) else 0
        if quiet == RESTS_TO_TRUST:
            break
    return held


def _at_rest(physics: Physics, bodies: set[int]) -> bool:
    """Whether nothing held moves or turns any more: what stays so for RESTS_TO_TRUST looks stays to the end of the hold."""
    return all(linear < REST_SPEED and angular < REST_TURN for linear, angular in physics.speeds(list(bodies)))
