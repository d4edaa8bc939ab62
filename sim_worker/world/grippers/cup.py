"""A floating suction cup: does it seal, and does the seal carry the object up?"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pybullet
from scipy.spatial.transform import Rotation

from grasp_client.contract import Failure, Gripper
from grasp_client.geometry import invert, pose_from, transform
from sim_worker.world.grippers.attempt import REQUIRED_RISE, AttemptResult, Detail
from sim_worker.world.grippers.floating_base import METAL, RUBBER, FloatingBase, Solid
from sim_worker.world.grippers.grip import heights_of, lift_and_hold
from sim_worker.world.simulation.physics import GRAVITY, Physics

STEM_LENGTH = 0.10
LIP_STROKE = 0.006
"""m: a rim further from the surface than this, before or behind the grasp origin, does not reach it."""
DOME = 2.0
"""What reaches into the cup beyond its rim may do so by so many times the unevenness that the lip takes up."""
PRESS = 5e3
"""Pa: with so much over its area a cup is pressed on until it has sealed. What stands loosely or slants much gives way."""
PRESS_SECONDS = 0.1
LIP_FRICTION = 0.4
"""With this share of the press the lip keeps what is under it from sliding or rolling away."""
LIP_STIFFNESS = 0.1
"""Of the lip sideways, in object masses per step squared: as stiff as steps of this length allow of a rolling ball."""
BREAK_SHIFT = 0.003
"""m that the object may move under the cup before the seal is lost."""
BREAK_TURN = 0.15
"""rad that the object may turn under the cup before the seal is lost."""
RIM_RAYS = 24


class Cup(FloatingBase):
    """The cup in the world of `physics`; its rim lies in the tip frame's xy plane."""

    def __init__(self, physics: Physics, gripper: Gripper) -> None:
        radius = gripper.cup_radius
        super().__init__(physics, Solid((0.6 * radius, STEM_LENGTH), (0, 0, -STEM_LENGTH / 2 - LIP_STROKE), RUBBER))
        physics.client.changeVisualShape(self.body, 2, rgbaColor=METAL)
        # The sweep has already ruled collisions out; in physics a rigid lip would push away what a soft one seals on.
        physics.client.setCollisionFilterGroupMask(self.body, 2, 0, 0)
        self.gripper = gripper
        self.park()


def rim_points(radius: float) -> np.ndarray:
    """Points (RIM_RAYS + 9, 3) in the tip frame: the rim, a ring halfway in, the centre."""
    rim = np.linspace(0, 2 * math.pi, RIM_RAYS, endpoint=False)
    half = np.linspace(0, 2 * math.pi, 8, endpoint=False)
    rings = [np.stack([r * np.cos(a), r * np.sin(a), 0 * a], axis=1) for r, a in ((radius, rim), (radius / 2, half))]
    return np.concatenate([*rings, np.zeros((1, 3))])


def face_under(physics: Physics, tip_pose: np.ndarray, gripper: Gripper) -> int | None:
    """The one body that all of a cup at `tip_pose` would be pressed on, or None: where part of it meets another, or nothing."""
    touched = {hit[0] for hit in _rays(physics, tip_pose, gripper, rim_points(gripper.cup_radius))[0]}
    body = touched.pop() if len(touched) == 1 else -1
    return body if body >= 0 else None


def _rays(physics: Physics, tip_pose: np.ndarray, gripper: Gripper, points: np.ndarray) -> tuple[list[tuple[Any, ...]], float]:
    """What rays along the approach through `points` (N, 3) of the tip frame hit first, and from how far before them, m."""
    give, most_tilt = gripper.lip
    reach = LIP_STROKE + gripper.cup_radius * math.tan(most_tilt) + give
    way = np.array([0.0, 0.0, reach])
    start, end = (transform(tip_pose, points + each).tolist() for each in (-way, way))
    return physics.client.rayTestBatch(start, end), reach


def seal(
    physics: Physics, bodies: Mapping[int, str], tip_pose: np.ndarray, gripper: Gripper
) -> tuple[int | None, dict[str, Detail]]:
    """The body that a cup pressed on at `tip_pose` would seal on, or None, with the reason in the details."""
    points, (give, most_tilt) = rim_points(gripper.cup_radius), gripper.lip
    hits, reach = _rays(physics, tip_pose, gripper, points)
    touched = {hit[0] for hit in hits}
    if len(touched) != 1 or not touched <= set(bodies):
        return None, {"reason": "part of the rim meets nothing, or something else"}
    # A ray runs from `reach` before the cup to as far behind it: half of its length is the plane of the rim.
    offset = np.array([(hit[2] - 0.5) * 2 * reach for hit in hits])
    # A lip follows a tilted plane; what it cannot follow is the rim's departure from the best one.
    flat = np.column_stack([points[:, :2], np.ones(len(points))])
    plane, *_ = np.linalg.lstsq(flat[:RIM_RAYS], offset[:RIM_RAYS], rcond=None)
    behind = offset - flat @ plane
    gap, dome = float(np.abs(behind[:RIM_RAYS]).max()), float(max(0.0, -behind[RIM_RAYS:].min()))
    tilt = math.atan(math.hypot(plane[0], plane[1]))
    details: dict[str, Detail] = {
        "gap": round(gap, 5),
        "dome": round(dome, 5),
        "tilt": round(tilt, 4),
        "compliance": round(give, 6),
    }
    if abs(plane[2]) > LIP_STROKE:
        return None, {**details, "reason": "the surface is not where the cup is"}
    if gap > give or dome > DOME * give or tilt > most_tilt:
        return None, {**details, "reason": "too oblique" if gap <= give and dome <= DOME * give else "too curved"}
    return touched.pop(), details


def press_on(physics: Physics, body: int, tip_pose: np.ndarray, radius: float) -> bool:
    """Press a cup of a radius (m) on a body at `tip_pose` (4, 4); whether the body stays where it is."""
    client, contact, into = physics.client, tip_pose[:3, 3], tip_pose[:3, 2]
    force = PRESS * math.pi * radius**2
    stiffness = LIP_STIFFNESS * client.getDynamicsInfo(body, -1)[0] * physics.hz**2
    inside, slid = invert(_pose(physics, body)) @ tip_pose, np.zeros(3)
    for _ in range(physics.steps_in(PRESS_SECONDS)):
        # The soft lip sticks to the surface like a damped spring, as far as its friction goes.
        before, slid = slid, _pose(physics, body)[:3] @ [*inside[:3, 3], 1] - contact
        pull = -stiffness * (2 * slid - before)
        pull -= pull @ into * into
        pull *= min(1.0, LIP_FRICTION * force / max(float(np.linalg.norm(pull)), 1e-9))
        client.applyExternalForce(body, -1, (force * into + pull).tolist(), (contact + slid).tolist(), pybullet.WORLD_FRAME)
        physics.step()
    moved = invert(tip_pose) @ _pose(physics, body) @ inside
    return bool(np.linalg.norm(moved[:3, 3]) < BREAK_SHIFT and Rotation.from_matrix(moved[:3, :3]).magnitude() < BREAK_TURN)


def _pose(physics: Physics, body: int) -> np.ndarray:
    position, orientation = physics.client.getBasePositionAndOrientation(body)
    return pose_from(Rotation.from_quat(orientation).as_matrix(), np.array(position))


class VacuumConstraint:
    """The vacuum between cup and object: a joint that gives way beyond the cup's force and moment.

    lever: where the gripper does not say its moment, it is the vacuum's force times this share of the radius.
    """

    def __init__(self, physics: Physics, cup: Cup, body: int, tip_pose: np.ndarray, pressure: float, lever: float) -> None:
        self.physics, self.cup, self.body = physics, cup, body
        radius = cup.gripper.cup_radius
        self.force = pressure * math.pi * radius**2
        told = cup.gripper.cup_moment
        self.moment = self.force * radius * lever if told is None else told
        position, orientation = physics.client.getBasePositionAndOrientation(body)
        turn = Rotation.from_quat(orientation).inv()
        self._child = (turn.apply(tip_pose[:3, 3] - np.array(position)), turn * Rotation.from_matrix(tip_pose[:3, :3]))
        self.mass = physics.client.getDynamicsInfo(body, -1)[0]
        self.joint = physics.client.createConstraint(
            cup.body,
            2,
            body,
            -1,
            pybullet.JOINT_FIXED,
            [0, 0, 0],
            [0, 0, 0],
            self._child[0].tolist(),
            [0, 0, 0, 1],
            self._child[1].as_quat().tolist(),
        )
        physics.client.changeConstraint(self.joint, maxForce=self.force)

    def holds(self) -> bool:
        """Whether the object is still where the cup took it, and its weight does not peel the cup off."""
        client = self.physics.client
        state = client.getLinkState(self.cup.body, 2, computeForwardKinematics=1)
        tip, tip_turn = np.array(state[4]), Rotation.from_quat(state[5])
        position, orientation = client.getBasePositionAndOrientation(self.body)
        turn = Rotation.from_quat(orientation)
        shift = np.linalg.norm(turn.apply(self._child[0]) + position - tip)
        twist = (tip_turn.inv() * turn * self._child[1]).magnitude()
        lever = np.array(position) - tip
        peel = self.mass * GRAVITY * math.hypot(lever[0], lever[1])
        return bool(shift < BREAK_SHIFT and twist < BREAK_TURN and peel < self.moment)

    def release(self) -> None:
        self.physics.client.removeConstraint(self.joint)


def execute_suction_grasp(
    physics: Physics, cup: Cup, bodies: Mapping[int, str], tip_pose: np.ndarray, pressure: float, lever: float
) -> AttemptResult:
    """Grasp with the cup pressed on at `tip_pose` (4, 4), evacuated by `pressure` Pa: press, seal, lift, hold.

    lever: as of `VacuumConstraint`.
    """
    start = physics.seconds
    body, details = seal(physics, bodies, tip_pose, cup.gripper)
    if body is None:
        return AttemptResult(False, "missed", details=details)
    before = heights_of(physics, [body])[body]
    cup.set_pose(tip_pose)
    physics.client.changeDynamics(body, -1, activationState=pybullet.ACTIVATION_STATE_WAKE_UP)
    if not press_on(physics, body, tip_pose, cup.gripper.cup_radius):
        taken = round(physics.seconds - start, 4)
        return AttemptResult(False, "missed", bodies[body], taken, {**details, "reason": "gave way to the cup"})
    bond = VacuumConstraint(physics, cup, body, tip_pose, pressure, lever)
    held = lift_and_hold(physics, cup, lambda some: set(some) if bond.holds() else set(), {body})
    bond.release()
    rise = physics.client.getBasePositionAndOrientation(body)[0][2] - before
    details |= {"rise": round(rise, 5), "breakaway": round(bond.force, 2), "moment": round(bond.moment, 4)}
    failure: Failure | None = None if held and rise >= REQUIRED_RISE else "slipped"
    return AttemptResult(failure is None, failure, bodies[body], round(physics.seconds - start, 4), details)
