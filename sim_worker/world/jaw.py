"""A floating parallel jaw of the request's sizes: a palm box and two finger boxes on a carriage that moves it in a line.

The hand is one multi-body: a fixed root at the grasp pose, three prismatic joints along the hand's own axes (so that it
can approach and lift in any direction, stiff against turning), and two fingers that a gear keeps mirrored, as in a real hand.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pybullet
from scipy.spatial.transform import Rotation

from shared.contract import Gripper
from sim_worker.world.physics import FAR_AWAY, OBJECT_FRICTION, Physics

PALM_HEIGHT = 0.066
"""m from the palm's face backwards; the contract does not give it. That of the Franka Panda hand."""
CLOSING_SPEED = 0.15
"""m/s per finger."""
CARRIAGE_FORCE = 400.0
"""N per axis while closing and lifting."""
SPINNING_FRICTION = 0.002
"""m: torsional resistance of a soft pad, whose contact is a patch while a simulated one is a few points."""
_MASSES = [0.2, 0.2, 0.6, 0.1, 0.1]
_FINGERS = (3, 4)


class Jaw:
    """The jaw in the world of `physics`. It waits far away until it is placed."""

    def __init__(self, physics: Physics, gripper: Gripper, friction: float) -> None:
        self.physics, self.gripper = physics, gripper
        self.body = self._build(friction)
        self._up = np.zeros(3)
        self._travel = np.zeros(3)

    def _build(self, friction: float) -> int:
        client, g = self.physics.client, self.gripper
        finger = [g.finger_thickness / 2, g.finger_width / 2, g.finger_depth / 2]
        palm = [g.palm_width / 2, g.palm_thickness / 2, PALM_HEIGHT / 2]
        shapes = [
            (palm, [0, 0, -g.finger_depth - PALM_HEIGHT / 2]),
            (finger, [finger[0], 0, -finger[2]]),
            (finger, [-finger[0], 0, -finger[2]]),
        ]
        collision = [client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=h, collisionFramePosition=c) for h, c in shapes]
        visual = [
            client.createVisualShape(pybullet.GEOM_BOX, halfExtents=h, visualFramePosition=c, rgbaColor=colour)
            for (h, c), colour in zip(shapes, ([0.85, 0.85, 0.88, 1], [0.2, 0.2, 0.25, 1], [0.2, 0.2, 0.25, 1]), strict=True)
        ]
        body = client.createMultiBody(
            baseMass=0,
            basePosition=[0, 0, -FAR_AWAY],
            linkMasses=_MASSES,
            linkCollisionShapeIndices=[-1, -1, *collision],
            linkVisualShapeIndices=[-1, -1, *visual],
            linkPositions=[[0, 0, 0]] * 5,
            linkOrientations=[[0, 0, 0, 1]] * 5,
            linkInertialFramePositions=[[0, 0, 0]] * 5,
            linkInertialFrameOrientations=[[0, 0, 0, 1]] * 5,
            linkParentIndices=[0, 1, 2, 3, 3],
            linkJointTypes=[pybullet.JOINT_PRISMATIC] * 5,
            linkJointAxis=[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [-1, 0, 0]],
        )
        for link in _FINGERS:
            client.changeDynamics(
                body,
                link,
                lateralFriction=friction / OBJECT_FRICTION,
                spinningFriction=SPINNING_FRICTION,
                jointLowerLimit=0.0,
                jointUpperLimit=g.max_width / 2 + 0.001,
            )
        gear = client.createConstraint(body, 3, body, 4, pybullet.JOINT_GEAR, [1, 0, 0], [0, 0, 0], [0, 0, 0])
        client.changeConstraint(gear, gearRatio=-1, maxForce=1000, erp=0.2)
        return body

    def place(self, tip_pose: np.ndarray, opening: float, behind: float = 0.0) -> None:
        """Put the hand, at rest, `behind` m short of `tip_pose` (4, 4; base frame), open by `opening` m."""
        client = self.physics.client
        turn = Rotation.from_matrix(tip_pose[:3, :3]).as_quat().tolist()
        client.resetBasePositionAndOrientation(self.body, tip_pose[:3, 3].tolist(), turn)
        for joint, value in enumerate((0.0, 0.0, -behind, opening / 2, opening / 2)):
            client.resetJointState(self.body, joint, value)
        self._up = tip_pose[2, :3].copy()
        self._travel = np.array([0.0, 0.0, -behind])
        self.carry(np.zeros(3))
        self._drive_fingers(0.0, CARRIAGE_FORCE)

    def put_away(self) -> None:
        """Out of sight and out of reach."""
        away = np.eye(4)
        away[2, 3] = -FAR_AWAY
        self.place(away, self.gripper.max_width)

    def carry(self, velocity: np.ndarray, force: float = CARRIAGE_FORCE) -> None:
        """Move the carriage at `velocity` (3,), m/s in the hand frame, for the next step."""
        self._travel = self._travel + velocity / self.physics.hz
        self.physics.client.setJointMotorControlArray(
            self.body,
            (0, 1, 2),
            pybullet.POSITION_CONTROL,
            targetPositions=self._travel.tolist(),
            targetVelocities=velocity.tolist(),
            positionGains=[0.3] * 3,
            velocityGains=[1.0] * 3,
            forces=[force] * 3,
        )

    def stay(self) -> None:
        """Hold the carriage where it is now, for instance where something stopped it."""
        states = self.physics.client.getJointStates(self.body, (0, 1, 2))
        self._travel = np.array([state[0] for state in states])
        self.carry(np.zeros(3))

    def raise_by(self, speed: float) -> None:
        """Move the carriage straight up, against gravity, at `speed` m/s for the next step."""
        self.carry(speed * self._up)

    def _drive_fingers(self, speed: float, force: float) -> None:
        self.physics.client.setJointMotorControlArray(
            self.body, _FINGERS, pybullet.VELOCITY_CONTROL, targetVelocities=[speed] * 2, forces=[force] * 2
        )

    def close(self, force: float, timeout: float = 1.5) -> float:
        """Close with `force` N per finger until the fingers stall or meet; the opening left, m."""
        self._drive_fingers(-CLOSING_SPEED, force)
        opening, stalled, stride = self.opening(), 0, self.physics.steps_in(0.025)
        for _ in range(self.physics.steps_in(timeout) // stride):
            self.physics.step(stride)
            before, opening = opening, self.opening()
            stalled = stalled + 1 if abs(before - opening) < 1e-4 else 0
            if stalled == 2 or opening < 5e-4:
                break
        return opening

    def opening(self) -> float:
        """Distance between the inner faces, m."""
        return max(0.0, sum(state[0] for state in self.physics.client.getJointStates(self.body, _FINGERS)))

    def touching(self, finger: int) -> set[int]:
        """Bodies that a finger (0 or 1) presses on."""
        points = self.physics.client.getContactPoints(bodyA=self.body, linkIndexA=_FINGERS[finger])
        return {point[2] for point in points if point[9] > 0}

    def holding(self, bodies: Collection[int]) -> set[int]:
        """Those of `bodies` that both fingers press on."""
        return self.touching(0) & self.touching(1) & set(bodies)

    def position(self) -> np.ndarray:
        """Tip point (3,), m, in the base frame."""
        return np.array(self.physics.client.getLinkState(self.body, 2)[4])
