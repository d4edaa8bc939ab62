"""A floating suction cup: does it seal, and does the seal carry the object up?"""

import math
from collections.abc import Mapping

import numpy as np
import pybullet
from scipy.spatial.transform import Rotation

from grasp_client.contract import Failure, Gripper
from grasp_client.geometry import transform
from sim_worker.world.grippers.attempt import REQUIRED_RISE, AttemptResult, Detail
from sim_worker.world.grippers.floating_base import METAL, RUBBER, FloatingBase, Solid
from sim_worker.world.grippers.grip import heights_of, lift_and_hold
from sim_worker.world.simulation.physics import GRAVITY, Physics

STEM_LENGTH = 0.10
LIP_STROKE = 0.006
"""m: a rim point further from the surface than this, before or behind the grasp origin, does not reach it."""
LIP_GIVE = 0.001
"""m: how far the surface under the rim may depart from a plane and still be sealed by the soft lip."""
MOST_TILT = math.radians(15)
"""Between approach and surface normal: bellows follow up to here."""
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


def seal(
    physics: Physics, bodies: Mapping[int, str], tip_pose: np.ndarray, radius: float
) -> tuple[int | None, dict[str, Detail]]:
    """The body that a cup pressed on at `tip_pose` would seal on, or None, with the reason in the details."""
    points = rim_points(radius)
    reach = np.array([0.0, 0.0, 2 * LIP_STROKE])
    start, end = (transform(tip_pose, points + way).tolist() for way in (-reach, reach))
    hits = physics.client.rayTestBatch(start, end)
    touched = {hit[0] for hit in hits}
    if len(touched) != 1 or not touched <= set(bodies):
        return None, {"reason": "part of the rim meets nothing, or something else"}
    # A ray runs from 2 LIP_STROKE before the cup to as far behind it: half of its length is the plane of the rim.
    offset = np.array([(hit[2] - 0.5) * 4 * LIP_STROKE for hit in hits])
    # A lip follows a tilted plane; what it cannot follow is the departure from the best one.
    flat = np.column_stack([points[:, :2], np.ones(len(points))])
    plane, *_ = np.linalg.lstsq(flat, offset, rcond=None)
    gap = float(np.abs(offset - flat @ plane).max())
    tilt = math.atan(math.hypot(plane[0], plane[1]))
    details: dict[str, Detail] = {"gap": round(gap, 5), "tilt": round(tilt, 4)}
    if abs(plane[2]) > LIP_STROKE:
        return None, {**details, "reason": "the surface is not where the cup is"}
    if gap > LIP_GIVE or tilt > MOST_TILT:
        return None, {**details, "reason": "too curved" if gap > LIP_GIVE else "too oblique"}
    return touched.pop(), details


class VacuumConstraint:
    """The vacuum between cup and object: a joint that gives way beyond the cup's force and moment."""

    def __init__(self, physics: Physics, cup: Cup, body: int, tip_pose: np.ndarray, pressure: float) -> None:
        self.physics, self.cup, self.body = physics, cup, body
        radius = cup.gripper.cup_radius
        self.force = pressure * math.pi * radius**2
        # The cup tips about its rim: the vacuum's force acts at the centre, one radius from there.
        self.moment = self.force * radius
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
    physics: Physics, cup: Cup, bodies: Mapping[int, str], tip_pose: np.ndarray, pressure: float
) -> AttemptResult:
    """Grasp with the cup pressed on at `tip_pose` (4, 4), evacuated by `pressure` Pa: seal, lift, hold."""
    start = physics.seconds
    body, details = seal(physics, bodies, tip_pose, cup.gripper.cup_radius)
    if body is None:
        return AttemptResult(False, "missed", details=details)
    before = heights_of(physics, [body])[body]
    cup.set_pose(tip_pose)
    physics.client.changeDynamics(body, -1, activationState=pybullet.ACTIVATION_STATE_WAKE_UP)
    bond = VacuumConstraint(physics, cup, body, tip_pose, pressure)
    held = lift_and_hold(physics, cup, lambda some: set(some) if bond.holds() else set(), {body})
    bond.release()
    rise = physics.client.getBasePositionAndOrientation(body)[0][2] - before
    details |= {"rise": round(rise, 5), "breakaway": round(bond.force, 2)}
    failure: Failure | None = None if held and rise >= REQUIRED_RISE else "slipped"
    return AttemptResult(failure is None, failure, bodies[body], round(physics.seconds - start, 4), details)
