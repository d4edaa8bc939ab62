"""The plain way to try a grasp, for comparison: a whole Panda arm at 240 Hz, a fresh scene and an image for every attempt.

Follows the simulator of the RGB heatmap system (100 solver iterations, teleport over the object, descend, close, lift, each
moved by position control until it is reached): nothing is cached, checked beforehand or ended early.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pybullet
import pybullet_data
from pybullet_utils.bullet_client import BulletClient

HOME = (-0.60, -0.14, 1.19, -2.40, 0.11, 2.28, -1.0)
ARM, FINGERS, TOOL = tuple(range(7)), (9, 10), 11
WORKSPACE = ((0.30, 0.50), (-0.10, 0.10))
IMAGE = 128
DOWN = (math.pi, 0.0, math.pi / 2)


class PandaBaseline:
    """One PyBullet client that is emptied for every attempt."""

    def __init__(self) -> None:
        self.client = BulletClient(connection_mode=pybullet.DIRECT)
        self.client.setAdditionalSearchPath(pybullet_data.getDataPath())

    def attempt(self, seed: int) -> bool:
        """Build a scene with one object, take a picture, grasp over the object's middle, lift; True when it came up."""
        rng = np.random.default_rng(seed)
        client = self.client
        client.resetSimulation()
        client.setGravity(0, 0, -9.8)
        client.setPhysicsEngineParameter(numSolverIterations=100, fixedTimeStep=1 / 240)
        client.loadURDF("plane.urdf")
        panda = client.loadURDF("franka_panda/panda.urdf", basePosition=(-0.1, 0, 0), useFixedBase=True)
        for joint, angle in zip(ARM, HOME, strict=True):
            client.resetJointState(panda, joint, angle)
        for finger in FINGERS:
            client.resetJointState(panda, finger, 0.04)
        item = self._drop(rng)
        self._picture()
        x, y, rest = client.getBasePositionAndOrientation(item)[0]
        yaw = rng.uniform(-math.pi / 2, math.pi / 2)
        for height in (0.20, 0.06, 0.01):
            self._move(panda, (x, y, height), yaw, opening=0.04)
        self._jaw(panda, 0.0)
        self._step(100)
        self._move(panda, (x, y, 0.15), yaw, opening=0.0)
        self._step(50)
        result: bool = client.getBasePositionAndOrientation(item)[0][2] > rest + 0.05
        return result

    def _drop(self, rng: np.random.Generator) -> int:
        number = int(rng.integers(0, 100))
        (x0, x1), (y0, y1) = WORKSPACE
        position = (rng.uniform(x0, x1), rng.uniform(y0, y1), 0.08)
        orientation = self.client.getQuaternionFromEuler((0, 0, rng.uniform(-math.pi, math.pi)))
        item = self.client.loadURDF(f"random_urdfs/{number:03d}/{number:03d}.urdf", position, orientation)
        self._step(120)
        result: int = item
        return result

    def _picture(self) -> None:
        view = self.client.computeViewMatrix((0.35, 0, 0.25), (0.35, 0, 0), (-1, 0, 0))
        projection = self.client.computeProjectionMatrixFOV(61.93, 1, 0.01, 1)
        self.client.getCameraImage(IMAGE, IMAGE, view, projection, renderer=pybullet.ER_TINY_RENDERER)

    def _move(self, panda: int, position: tuple[Any, ...], yaw: float, opening: float) -> None:
        """Up to 10 rounds of inverse kinematics, each followed for up to 100 steps, until the tool is within 1 mm."""
        orientation = self.client.getQuaternionFromEuler((DOWN[0], DOWN[1], DOWN[2] + yaw))
        self._jaw(panda, opening)
        for _ in range(10):  # inverse kinematics converges over a few calls, each from where the arm now is
            angles = self.client.calculateInverseKinematics(panda, TOOL, position, orientation, maxNumIterations=50)
            self.client.setJointMotorControlArray(
                panda, ARM, pybullet.POSITION_CONTROL, angles[:7], forces=[240] * 7, positionGains=[0.05] * 7
            )
            for _ in range(100):
                self.client.stepSimulation()
                reached = self.client.getLinkState(panda, TOOL, computeForwardKinematics=True)[4]
                if math.dist(reached, position) < 1e-3:
                    return

    def _jaw(self, panda: int, opening: float) -> None:
        self.client.setJointMotorControlArray(panda, FINGERS, pybullet.POSITION_CONTROL, [opening] * 2, forces=[20] * 2)

    def _step(self, steps: int) -> None:
        for _ in range(steps):
            self.client.stepSimulation()
