"""A floating parallel jaw of the request's sizes: a palm box and two fingers of boxes that a gear keeps mirrored."""

from collections.abc import Collection

import numpy as np
import pybullet

from grasp_client.contract import Gripper
from sim_worker.world.grippers.attempt import STRAIGHT_UP
from sim_worker.world.grippers.floating_base import BASE_FORCE, METAL, RUBBER, Boxes, FloatingBase, Part, Solid
from sim_worker.world.simulation.physics import OBJECT_FRICTION, Physics

PALM_HEIGHT = 0.066
"""m from the palm's face backwards; the contract does not give it. That of the Franka Panda hand."""
CLOSING_SPEED = 0.15
"""m/s per finger."""
PAD_RADIUS = 0.008
"""m: a soft pad touches with a patch, a simulated one with a few points. Torsion per N of grip is friction times this.
Without it an object turns in the jaw on a hair's breadth, and labels with it."""
_FINGERS = (3, 4)


class Fingers:
    """Two fingers of a simulated body: drive them, read them, feel with them. Shared by the floating jaw and the arm's hand."""

    def __init__(self, physics: Physics, body: int, links: tuple[int, int], gripper: Gripper, friction: float) -> None:
        self.physics, self.body, self.links = physics, body, links
        for link in links:
            physics.client.changeDynamics(
                body,
                link,
                # PyBullet multiplies the coefficients of two bodies; every object has OBJECT_FRICTION.
                lateralFriction=friction / OBJECT_FRICTION,
                spinningFriction=PAD_RADIUS * friction / OBJECT_FRICTION,
                jointLowerLimit=0.0,
                jointUpperLimit=gripper.max_width / 2 + 0.001,
            )
        # Real jaws have one drive: without the gear the finger that meets nothing would close all the way and push the
        # object off the centre line.
        gear = physics.client.createConstraint(
            body, links[0], body, links[1], pybullet.JOINT_GEAR, [1, 0, 0], [0, 0, 0], [0, 0, 0]
        )
        physics.client.changeConstraint(gear, gearRatio=-1, maxForce=1000, erp=0.2)

    def open(self, opening: float) -> None:
        """Put the fingers `opening` m apart and hold them there."""
        for link in self.links:
            self.physics.client.resetJointState(self.body, link, opening / 2)
        self._drive(0.0, BASE_FORCE)

    def _drive(self, speed: float, force: float) -> None:
        self.physics.client.setJointMotorControlArray(
            self.body, self.links, pybullet.VELOCITY_CONTROL, targetVelocities=[speed] * 2, forces=[force] * 2
        )

    def close(self, force: float, timeout: float = 1.5) -> float:
        """Close with `force` N per finger until the fingers stall or meet; the opening left, m."""
        self._drive(-CLOSING_SPEED, force)
        opening, stalled, stride = self.opening(), 0, self.physics.steps_in(0.025)
        # Twice at rest, 25 ms apart: an object that is being turned or dragged into the jaw stops for a moment, too.
        for _ in range(self.physics.steps_in(timeout) // stride):
            self.physics.step(stride)
            before, opening = opening, self.opening()
            stalled = stalled + 1 if abs(before - opening) < 1e-4 else 0
            if stalled == 2 or opening < 5e-4:
                break
        return opening

    def opening(self) -> float:
        """Distance between the inner faces, m."""
        result: float = max(0.0, sum(state[0] for state in self.physics.client.getJointStates(self.body, self.links)))
        return result

    def touching(self, finger: int) -> set[int]:
        """Bodies that a finger (0 or 1) presses on."""
        points = self.physics.client.getContactPoints(bodyA=self.body, linkIndexA=self.links[finger])
        return {point[2] for point in points if point[9] > 0}

    def holding(self, bodies: Collection[int]) -> set[int]:
        """Those of `bodies` that both fingers press on."""
        return self.touching(0) & self.touching(1) & set(bodies)


class Jaw(FloatingBase):
    """The jaw in the world of `physics`."""

    def __init__(
        self, physics: Physics, gripper: Gripper, friction: float, parts: tuple[Part, Part, Part] | None = None
    ) -> None:
        """parts: palm and fingers, in place of boxes of the gripper's sizes."""
        palm, *fingers = parts or (_palm(gripper), _finger(gripper, 1), _finger(gripper, -1))
        super().__init__(physics, palm, tuple(fingers))
        self.gripper = gripper
        self.fingers = Fingers(physics, self.body, _FINGERS, gripper, friction)
        self.park()

    def place(self, tip_pose: np.ndarray, opening: float, behind: float = 0.0, rising: np.ndarray = STRAIGHT_UP) -> None:
        """Put the hand, at rest, `behind` m short of `tip_pose` (4, 4; base frame), open by `opening` m; it will carry what it
        grasps along `rising` (3,)."""
        self.set_pose(tip_pose, behind)
        self.rising = rising
        self.fingers.open(opening)


def _palm(gripper: Gripper) -> Part:
    half = (gripper.palm_width / 2, gripper.palm_thickness / 2, PALM_HEIGHT / 2)
    return Solid(half, (0, 0, -gripper.finger_depth - PALM_HEIGHT / 2), METAL)


def _finger(gripper: Gripper, side: int) -> Part:
    """One finger, closed: its inner face lies in the middle, the finger on this side (1 or -1) of it along x."""
    boxes = finger_boxes(gripper)
    return Boxes(
        tuple(
            Solid((t / 2, gripper.finger_width / 2, (high - low) / 2), (side * t / 2, 0, -(low + high) / 2), RUBBER)
            for t, low, high in boxes
        )
    )


def finger_boxes(gripper: Gripper) -> list[tuple[float, float, float]]:
    """Thickness of each box of a finger, and from where to where it reaches, counted from the tip backwards, m."""
    thin, pad_depth = gripper.pad
    pads = [(thin, 0.0, pad_depth), (gripper.finger_thickness, pad_depth, gripper.finger_depth)]
    return [box for box in pads if box[2] > box[1]]
