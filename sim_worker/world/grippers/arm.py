"""The whole Franka Panda arm: inverse kinematics, joint limits, straight approach, grasp, straight lift."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pybullet
import pybullet_data

from grasp_client.contract import Gripper
from grasp_client.geometry import invert, pose_from
from sim_worker.world.grippers.attempt import LIFT_HEIGHT, STRAIGHT_UP, AttemptResult
from sim_worker.world.grippers.grip import close_and_lift, heights_of
from sim_worker.world.grippers.jaw import Fingers
from sim_worker.world.grippers.kinematics import (
    HOME,
    MOST_JOINT_SPEED,
    TIP_FROM_FLANGE,
    forward,
    inverse,
    inverse_from_anywhere,
)
from sim_worker.world.grippers.mounted_jaw import arm_with, tip_from_flange
from sim_worker.world.simulation.physics import FAR_AWAY, Physics
from sim_worker.world.simulation.spec import SceneError

BASE = pose_from(np.eye(3), np.array([-0.5, 0.0, 0.0]))
"""The arm stands here in the base frame of the cell: it reaches the whole workspace from behind."""
APPROACH_DISTANCE = 0.10
"""m of straight approach."""
APPROACH_SPEED = 0.20
"""m/s on the approach."""
WAYPOINT = 0.01
"""m between solved points of a straight path; joints move linearly in between."""
EFFORT = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])
"""N m"""
HALF_TURN = pose_from(np.diag([-1.0, -1.0, 1.0]), np.zeros(3))
_JOINTS = tuple(range(7))
_FINGERS = (9, 10)
_HAND_LINKS = (7, 8, 9, 10, 11)

PANDA = Gripper()
PANDA_SIZES = ("finger_width", "finger_thickness", "finger_depth", "pad", "palm_width", "palm_thickness")


def carries_own_hand(gripper: Gripper) -> bool:
    """Whether a jaw is the Panda hand, as far as its sizes say: it may open less wide."""
    return gripper.max_width <= PANDA.max_width and all(getattr(gripper, size) == getattr(PANDA, size) for size in PANDA_SIZES)


class Arm:
    """The arm in the world of `physics`, with its own hand where `gripper` has its sizes, else with a jaw of other sizes."""

    lift_acceleration = 1.0
    """m/s2; joint speeds allow no more."""
    rising = STRAIGHT_UP

    def __init__(self, physics: Physics, gripper: Gripper, friction: float) -> None:
        self.physics, self.gripper = physics, gripper
        self.body, longer = _load(physics, gripper)
        self._as_panda = pose_from(np.eye(3), np.array([0.0, 0.0, -longer]))
        self.fingers = Fingers(physics, self.body, _FINGERS, gripper, friction)
        self._lift: list[np.ndarray] = []
        self._height = 0.0
        self._sent = HOME
        self.park()

    def park(self) -> None:
        """Out of sight and out of reach."""
        self._place_base(-FAR_AWAY)
        self._set_joints(HOME)
        self.fingers.open(self.gripper.max_width)

    def _place_base(self, height: float) -> None:
        """Stand the arm's base at BASE, `height` m above the table. PyBullet places its centre of mass."""
        middle = np.array(self.physics.client.getDynamicsInfo(self.body, -1)[3])
        position = BASE[:3, 3] + middle + [0, 0, height]
        self.physics.client.resetBasePositionAndOrientation(self.body, position.tolist(), [0, 0, 0, 1])

    def _set_joints(self, joints: np.ndarray) -> None:
        for joint, angle in enumerate(joints):
            self.physics.client.resetJointState(self.body, joint, angle)
        self._drive(joints)

    def _drive(self, joints: np.ndarray) -> None:
        self._sent = joints
        self.physics.client.setJointMotorControlArray(
            self.body,
            _JOINTS,
            pybullet.POSITION_CONTROL,
            targetPositions=joints.tolist(),
            positionGains=[0.6] * 7,
            velocityGains=[1.0] * 7,
            forces=EFFORT.tolist(),
        )

    def reach(self, tip_pose: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """Joint paths of approach and lift for a tip pose in the cell's base frame, or None if it cannot be reached.

        The jaw is symmetric: the pose turned by half a turn about the approach is the same grasp.
        """
        tip_pose = tip_pose @ self._as_panda
        for pose in (tip_pose, tip_pose @ HALF_TURN):
            grasp = inverse_from_anywhere(invert(BASE) @ pose)
            if grasp is None:
                continue
            back = self._straight(pose, -pose[:3, 2], APPROACH_DISTANCE, grasp, APPROACH_SPEED)
            peak = math.sqrt(LIFT_HEIGHT * self.lift_acceleration)
            lift = self._straight(pose, np.array([0.0, 0.0, 1.0]), LIFT_HEIGHT, grasp, peak)
            if back is not None and lift is not None:
                return back[::-1], lift
        return None

    @staticmethod
    def _straight(
        pose: np.ndarray, direction: np.ndarray, length: float, start: np.ndarray, speed: float
    ) -> list[np.ndarray] | None:
        """Joint angles every WAYPOINT m from `pose` along `direction`; None if limits of angle or speed are in the way."""
        path, joints = [start], start
        for distance in np.linspace(0, length, round(length / WAYPOINT) + 1)[1:]:
            moved = pose.copy()
            moved[:3, 3] += distance * direction
            # From the last point's joints, so that the path never flips to another branch of solutions.
            found = inverse(invert(BASE) @ moved, joints)
            if found is None or (np.abs(found - joints) > MOST_JOINT_SPEED * WAYPOINT / speed).any():
                return None
            joints = found
            path.append(joints)
        return path

    def place(self, tip_pose: np.ndarray, opening: float) -> None:
        """Put the arm, at rest, with its tips at `tip_pose` (4, 4; cell's base frame), open by `opening` m.

        Raises SceneError when it cannot reach.
        """
        joints = inverse_from_anywhere(invert(BASE) @ tip_pose @ self._as_panda)
        if joints is None:
            raise SceneError(f"the arm does not reach {np.round(tip_pose, 3).tolist()} within its joint limits")
        self._place_base(0.0)
        self._set_joints(joints)
        self.fingers.open(opening)

    def tip_pose(self) -> np.ndarray:
        """Where the tips are now, (4, 4) in the cell's base frame."""
        joints = np.array([state[0] for state in self.physics.client.getJointStates(self.body, _JOINTS)])
        tip: np.ndarray = BASE @ forward(joints)[0] @ invert(self._as_panda)
        return tip

    def follow(self, target: np.ndarray, steps: int) -> None:
        """Move towards the tip pose `target` (4, 4) over the next `steps` steps, as fast as the joints may turn; stay where the
        joints end."""
        start, goal = self._sent, inverse(invert(BASE) @ target @ self._as_panda, self._sent)
        most = MOST_JOINT_SPEED * steps / self.physics.hz
        way = np.zeros(7) if goal is None else np.clip(goal - start, -most, most)
        for step in range(1, steps + 1):
            self._drive(start + way * step / steps)
            self.physics.step()

    def plan_lift(self) -> bool:
        """Find the way straight up from here, which `lift` then follows; False where the joints do not allow it."""
        peak = math.sqrt(LIFT_HEIGHT * self.lift_acceleration)
        pose = BASE @ forward(self._sent)[0]
        path = self._straight(pose, np.array([0.0, 0.0, 1.0]), LIFT_HEIGHT, self._sent, peak)
        self._lift, self._height = path or [], 0.0
        return path is not None

    def lift(self, speed: float) -> None:
        """Follow the lift path at `speed` m/s for the next step."""
        self._height = min(self._height + speed / self.physics.hz, LIFT_HEIGHT)
        self._drive(_along(self._lift, self._height))

    def execute(
        self, bodies: Mapping[int, str], fixed: Mapping[int, str], tip_pose: np.ndarray, opening: float, force: float
    ) -> AttemptResult:
        """Approach, close with `force` N per finger, lift, hold. The arm itself must clear everything."""
        paths = self.reach(tip_pose)
        if paths is None:
            return AttemptResult(False, "unreachable", details={"reason": "no path of the arm within its joint limits"})
        start, (approach, self._lift), self._height = self.physics.seconds, paths, 0.0
        heights = heights_of(self.physics, bodies)
        self._place_base(0.0)
        self._set_joints(approach[0])
        self.fingers.open(opening)
        obstacle = self._approach(approach, {**bodies, **fixed})
        if obstacle is not None:
            seconds = round(self.physics.seconds - start, 4)
            return AttemptResult(False, "collision", obstacle, seconds, {"phase": "arm"})
        least = max(self.gripper.min_width, 1e-3)
        return close_and_lift(self.physics, self, self.fingers, bodies, heights, least, force, start)

    def _approach(self, path: list[np.ndarray], names: Mapping[int, str]) -> str | None:
        """Follow the approach path; the name of what the arm (not the hand) ran into, if anything."""
        steps = self.physics.steps_in(APPROACH_DISTANCE / APPROACH_SPEED)
        for step in range(1, steps + 1):
            self._drive(_along(path, APPROACH_DISTANCE * step / steps))
            self.physics.step()
        # Let the drives catch up before contacts are read: they lag behind on the way.
        self.physics.step(self.physics.steps_in(0.1))
        for point in self.physics.client.getContactPoints(bodyA=self.body):
            if point[2] in names and point[3] not in _HAND_LINKS and point[3] >= 0 and point[8] < -0.001:
                return names[point[2]]
        return None


def _load(physics: Physics, gripper: Gripper) -> tuple[int, float]:
    """The arm's body with the hand, and how much longer than the Panda hand that hand is, m."""
    panda = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
    where = {"basePosition": BASE[:3, 3].tolist(), "useFixedBase": True}
    if carries_own_hand(gripper):
        return physics.client.loadURDF(str(panda), **where), 0.0
    with tempfile.NamedTemporaryFile("w", suffix=".urdf") as file:
        file.write(arm_with(gripper, panda))
        file.flush()
        return physics.client.loadURDF(file.name, **where), tip_from_flange(gripper) - TIP_FROM_FLANGE


def _along(path: list[np.ndarray], distance: float) -> np.ndarray:
    """Joint angles (7,) at `distance` m along a path of points WAYPOINT apart."""
    position = min(distance / WAYPOINT, len(path) - 1)
    index = min(int(position), len(path) - 2)
    result: np.ndarray = path[index] + (position - index) * (path[index + 1] - path[index])
    return result
