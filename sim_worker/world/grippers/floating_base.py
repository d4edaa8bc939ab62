"""The base of a floating hand: a fixed root at the grasp pose and three prismatic joints along the hand's own axes.

It can approach and lift in any direction and is stiff against turning. Links 0 to 2 are the base; the hand's own links
hang on link 2, whose frame is the tip frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import pybullet
from scipy.spatial.transform import Rotation

from grasp_client.geometry import pose_from
from sim_worker.world.grippers.attempt import STRAIGHT_UP
from sim_worker.world.simulation.physics import FAR_AWAY, Physics

BASE_FORCE = 400.0
"""N per axis while closing and lifting."""
METAL = (0.85, 0.85, 0.88, 1.0)
RUBBER = (0.2, 0.2, 0.25, 1.0)


@dataclass(frozen=True)
class Solid:
    """A primitive of a hand in the tip frame. `size`: half extents of a box, or radius and length of a cylinder, m."""

    size: tuple[float, ...]
    centre: tuple[float, float, float]
    colour: tuple[float, float, float, float]

    def shapes(self, physics: Physics) -> tuple[int, int]:
        """Collision and visual shape."""
        client, where = physics.client, self.centre
        look = {"visualFramePosition": where, "rgbaColor": self.colour}
        if len(self.size) == 3:
            collision = client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=self.size, collisionFramePosition=where)
            return collision, client.createVisualShape(pybullet.GEOM_BOX, halfExtents=self.size, **look)
        radius, length = self.size
        collision = client.createCollisionShape(
            pybullet.GEOM_CYLINDER, radius=radius, height=length, collisionFramePosition=where
        )
        return collision, client.createVisualShape(pybullet.GEOM_CYLINDER, radius=radius, length=length, **look)


@dataclass(frozen=True)
class Boxes:
    """Boxes that are one part of a hand."""

    boxes: tuple[Solid, ...]

    def shapes(self, physics: Physics) -> tuple[int, int]:
        """Collision and visual shape."""
        kinds, halves = [pybullet.GEOM_BOX] * len(self.boxes), [box.size for box in self.boxes]
        centres = [box.centre for box in self.boxes]
        collision = physics.client.createCollisionShapeArray(
            shapeTypes=kinds, halfExtents=halves, collisionFramePositions=centres
        )
        visual = physics.client.createVisualShapeArray(
            shapeTypes=kinds, halfExtents=halves, visualFramePositions=centres, rgbaColors=[box.colour for box in self.boxes]
        )
        return collision, visual


class Part(Protocol):
    """What a hand is made of."""

    def shapes(self, physics: Physics) -> tuple[int, int]:
        """Collision and visual shape, in the tip frame."""


@lru_cache(maxsize=16)
def _quaternion(rotation: bytes) -> list[float]:
    """Quaternion (xyzw) of a rotation matrix's bytes: a hand is parked, and probed and placed at a pose, again and again."""
    quaternion: list[float] = Rotation.from_matrix(np.frombuffer(rotation).reshape(3, 3)).as_quat().tolist()
    return quaternion


def quaternion_of(rotation: np.ndarray) -> list[float]:
    """Quaternion (xyzw) of a rotation matrix (3, 3)."""
    return _quaternion(rotation.astype(float, copy=False).tobytes())


class FloatingBase:
    """A base that carries `solid`, and fingers that slide along x. It waits far away until it is placed."""

    lift_acceleration = 3.0
    """m/s2, up and down."""

    def __init__(self, physics: Physics, solid: Part, fingers: tuple[Part, ...] = ()) -> None:
        self.physics = physics
        collision, visual = zip(*(part.shapes(physics) for part in (solid, *fingers)), strict=True)
        links = 3 + len(fingers)
        # A massless (immovable) root and one small mass per axis: a reset of the root alone then sets the whole pose, and the
        # joints' motors, not a constraint, carry what the hand lifts, so that their force is a known bound.
        self.body: int = physics.client.createMultiBody(
            baseMass=0,
            basePosition=[0, 0, -FAR_AWAY],
            linkMasses=[0.2, 0.2, 0.6, *[0.1] * len(fingers)],
            linkCollisionShapeIndices=[-1, -1, *collision],
            linkVisualShapeIndices=[-1, -1, *visual],
            linkPositions=[[0, 0, 0]] * links,
            linkOrientations=[[0, 0, 0, 1]] * links,
            linkInertialFramePositions=[[0, 0, 0]] * links,
            linkInertialFrameOrientations=[[0, 0, 0, 1]] * links,
            linkParentIndices=[0, 1, 2, *[3] * len(fingers)],
            linkJointTypes=[pybullet.JOINT_PRISMATIC] * links,
            linkJointAxis=[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [-1, 0, 0]][:links],
        )
        self.rising = STRAIGHT_UP
        self._root = np.eye(4)
        self._travel = [0.0, 0.0, 0.0]
        self._along: list[float] = []
        """`rising` in the hand's frame; empty where it is not known yet."""
        self._driven: tuple[object, ...] = ()
        """What the motors were told last, until the hand is put elsewhere."""

    def set_pose(self, tip_pose: np.ndarray, behind: float = 0.0) -> None:
        """Put the hand, at rest, `behind` m short of `tip_pose` (4, 4; base frame)."""
        client = self.physics.client
        client.resetBasePositionAndOrientation(self.body, tip_pose[:3, 3].tolist(), quaternion_of(tip_pose[:3, :3]))
        for joint, value in enumerate((0.0, 0.0, -behind)):
            client.resetJointState(self.body, joint, value)
        self._root = tip_pose.copy()
        self._travel = [0.0, 0.0, -behind]
        self._along, self._driven = [], ()
        self.set_velocity([0.0, 0.0, 0.0])

    def park(self) -> None:
        """Out of sight and out of reach."""
        away = np.eye(4)
        away[2, 3] = -FAR_AWAY
        self.set_pose(away)

    def set_velocity(self, velocity: Sequence[float], force: float = BASE_FORCE) -> None:
        """Move at `velocity` (3,), m/s in the hand frame, for the next step, with at most `force` N per axis."""
        # Position control towards where the hand should be by now: with velocity control alone a load would let it sag, and
        # the rise that decides on success would be short by that.
        # Plain arithmetic: this runs at every step, and numpy takes several times as long for three numbers.
        hz = self.physics.hz
        self._travel = [at + speed / hz for at, speed in zip(self._travel, velocity, strict=True)]
        driven = self._travel, velocity, force, hz
        if driven == self._driven:
            return  # holds still, as it was told
        self._driven = driven
        self.physics.client.setJointMotorControlArray(
            self.body,
            (0, 1, 2),
            pybullet.POSITION_CONTROL,
            targetPositions=self._travel,
            targetVelocities=velocity,
            positionGains=[0.3] * 3,
            velocityGains=[1.0] * 3,
            forces=[force] * 3,
        )

    def hold_position(self) -> None:
        """Hold the hand where it is now, for instance where something stopped it."""
        # Without this the motors would keep pulling towards where the hand was to go, through what stopped it.
        states = self.physics.client.getJointStates(self.body, (0, 1, 2))
        self._travel = [state[0] for state in states]
        self.set_velocity([0.0, 0.0, 0.0])

    def lift(self, speed: float) -> None:
        """Move along `rising`, straight up unless told otherwise, at `speed` m/s for the next step."""
        if not self._along:
            self._along = (self.rising @ self._root[:3, :3]).tolist()
        self.set_velocity([speed * along for along in self._along])

    def approach(self, distance: float, speed: float, force: float) -> None:
        """Advance `distance` m along the approach at `speed` m/s, pushing with at most `force` N, and stay there."""
        steps = self.physics.steps_in(distance / speed)
        velocity = [0.0, 0.0, distance / steps * self.physics.hz]
        for _ in range(steps):
            self.set_velocity(velocity, force)
            self.physics.step()
        self.hold_position()

    def tip_pose(self) -> np.ndarray:
        """Where the tips are now, (4, 4) in the base frame."""
        state = self.physics.client.getLinkState(self.body, 2, computeForwardKinematics=True)
        return pose_from(Rotation.from_quat(state[5]).as_matrix(), np.array(state[4]))

    def follow(self, target: np.ndarray, steps: int) -> None:
        """Move towards the tip pose `target` (4, 4), evenly over the next `steps` steps. Turns are set, not driven."""
        turn = Rotation.from_matrix(self._root[:3, :3].T @ target[:3, :3]) ** (1 / steps)
        for left in range(steps, 0, -1):
            if turn.magnitude() > 1e-6:
                self._turn(turn)
            way = self._root[:3, :3].T @ (target[:3, 3] - self._root[:3, 3]) - self._travel
            self.set_velocity((way / left * self.physics.hz).tolist())
            self.physics.step()

    def _turn(self, turn: Rotation) -> None:
        """Turn about the tips, in the hand's frame; where they are to go stays."""
        client, sent = self.physics.client, self._root[:3, 3] + self._root[:3, :3] @ self._travel
        turned = pose_from(self._root[:3, :3] @ turn.as_matrix(), self.tip_pose()[:3, 3])
        client.resetBasePositionAndOrientation(
            self.body, turned[:3, 3].tolist(), Rotation.from_matrix(turned[:3, :3]).as_quat().tolist()
        )
        for joint in range(3):
            client.resetJointState(self.body, joint, 0.0)
        self._along, self._driven = [], ()
        self._root, self._travel = turned, (turned[:3, :3].T @ (sent - turned[:3, 3])).tolist()
