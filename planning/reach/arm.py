"""An arm from its URDF: whether there are joint angles, within their limits, at which its tool stands at a pose.

Damped least squares (Nakamura and Hanafusa 1986) for many poses and starts in step, over the kinematics of Pinocchio. It starts
from what of a fixed sample of joint angles brings the tool nearest, so that few steps are needed; what no start leads to counts
as out of reach. Nothing is said of what the arm itself would hit on the way.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pinocchio
from numpy.typing import ArrayLike

SAMPLE = 4_000
"""Joint angles that are known beforehand, with where the tool then stands."""
TURN = 0.25
"""So many metres a unit of a rotation's matrix counts where the nearest of poses are looked for."""
FEW, MANY = 1, 6
"""Starts that are tried first, and of what these do not lead to."""
STEPS = 25
"""Of a start, at most."""
DAMPING = 0.02
"""m and rad."""
LONGEST = 0.6
"""Of one step, rad."""
NEAR, TURNED = 1e-3, 0.01
"""The tool stands at a pose where it is so near to it, m and rad."""
BOUNDLESS = 1e3
"""A limit beyond this is none, rad."""
APPROACH = [0, 1, 2, 9, 10, 11]
"""Of the coordinates of a pose."""
HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])
"""About the approach: the same jaw."""


class Arm:
    """A robot arm. tool: name of the link that is sent to poses; tool_pose (4, 4): a grasp in that link's frame. base_pose
    (4, 4): the arm's first link in the base frame of requests.

    Raises ValueError for a file that cannot be read, or a tool that it does not name.
    """

    def __init__(self, urdf: Path, tool: str, tool_pose: ArrayLike, base_pose: ArrayLike) -> None:
        if not urdf.is_file():
            raise ValueError(f"{urdf}: no such file; expected the URDF of an arm")
        try:
            self._model = pinocchio.buildModelFromUrdf(str(urdf))
        except ValueError as error:
            raise ValueError(f"{urdf}: not a URDF that can be read: {error}") from error
        if not self._model.existFrame(tool):
            links = [frame.name for frame in self._model.frames if frame.type == pinocchio.FrameType.BODY]
            raise ValueError(f"{urdf}: no link {tool!r}; expected one of {', '.join(links)}")
        link = self._model.frames[self._model.getFrameId(tool)]
        placed = link.placement * pinocchio.SE3(np.asarray(tool_pose, dtype=float))
        grasp = pinocchio.Frame("grasp", link.parentJoint, placed, pinocchio.FrameType.OP_FRAME)
        self._frame = self._model.addFrame(grasp)
        self._data, self._to_arm = self._model.createData(), np.linalg.inv(np.asarray(base_pose, dtype=float))
        low, high = self._model.lowerPositionLimit, self._model.upperPositionLimit
        self._low, self._high = np.where(low > -BOUNDLESS, low, -np.pi), np.where(high < BOUNDLESS, high, np.pi)
        random = np.random.default_rng(0)
        turns = self._low + (self._high - self._low) * random.random((SAMPLE, self._model.nq))
        self._known = np.array([pinocchio.normalize(self._model, each) for each in turns])
        self._places = _coordinates(np.array([self._tool_at(angles).homogeneous for angles in self._known]))

    def reaches(self, poses: np.ndarray, before: np.ndarray, round_tool: bool) -> np.ndarray:
        """Whether (N,) bool the tool gets to grasps `poses` (N, 4, 4) from where it stands at `before` (N, 4, 4), both in the
        base frame of requests. round_tool: however it is turned about its approach, as a cup is; a jaw is the same half a turn
        on."""
        kinds = (np.eye(4),) if round_tool else (np.eye(4), HALF_TURN)
        targets, first = (np.stack([self._to_arm @ each @ kind for kind in kinds], 1) for each in (poses, before))
        starts = self._starts(targets, FEW + MANY, round_tool)
        found = np.zeros(len(poses), bool)
        for tried in (slice(0, FEW), slice(FEW, FEW + MANY)):
            left = np.flatnonzero(~found)
            kind, known = (each[left, tried].reshape(-1) for each in starts)
            grasp = np.repeat(left, starts[0][:1, tried].shape[1])
            angles = self._known[known]
            for goals in (targets, first):
                angles, there = self._solved(angles, goals[grasp, kind], round_tool)
                angles, grasp, kind = angles[there], grasp[there], kind[there]
            found[grasp] = True
            if found.all():
                break
        return found

    def _starts(self, targets: np.ndarray, most: int, round_tool: bool) -> tuple[np.ndarray, np.ndarray]:
        """Of targets (N, K, 4, 4): for `most` starts which of the K, and which of the known angles; (N, most) each, nearest
        first."""
        count, kinds = targets.shape[:2]
        wanted, known = _coordinates(targets.reshape(-1, 4, 4)), self._places
        if round_tool:  # the approach alone counts
            wanted, known = wanted[:, APPROACH], known[:, APPROACH]
        # Squares of distances, less what is the same for all.
        cost = ((known**2).sum(1) - 2 * wanted @ known.T).reshape(count, kinds * SAMPLE)
        nearest = np.argpartition(cost, most, axis=1)[:, :most]
        nearest = np.take_along_axis(nearest, np.take_along_axis(cost, nearest, 1).argsort(1), 1)
        return nearest // SAMPLE, nearest % SAMPLE

    def _solved(self, angles: np.ndarray, targets: np.ndarray, round_tool: bool) -> tuple[np.ndarray, np.ndarray]:
        """Joint angles (R, nq) to which those given lead for targets (R, 4, 4), and whether (R,) the tool stands there then."""
        angles, rows = angles.copy(), 5 if round_tool else 6
        goals = [pinocchio.SE3(target) for target in targets]
        there, moving = np.zeros(len(angles), bool), np.arange(len(angles))
        damping = DAMPING**2 * np.eye(rows)
        for _ in range(STEPS):
            error, slope = np.empty((len(moving), 6)), np.empty((len(moving), 6, self._model.nv))
            for k, row in enumerate(moving):
                pinocchio.computeJointJacobians(self._model, self._data, angles[row])
                placed = pinocchio.updateFramePlacement(self._model, self._data, self._frame)
                slope[k] = pinocchio.getFrameJacobian(self._model, self._data, self._frame, pinocchio.LOCAL)
                left = placed.actInv(goals[row])
                error[k, :3] = left.translation
                error[k, 3:] = _swing(left.rotation) if round_tool else pinocchio.log3(left.rotation)
            error, slope = error[:, :rows], slope[:, :rows]
            done = (np.linalg.norm(error[:, :3], axis=1) < NEAR) & (np.linalg.norm(error[:, 3:], axis=1) < TURNED)
            there[moving[done]] = True
            moving, error, slope = moving[~done], error[~done], slope[~done]
            if not len(moving):
                break
            across = slope.transpose(0, 2, 1)
            step = (across @ np.linalg.solve(slope @ across + damping, error[:, :, None]))[:, :, 0]
            step *= np.minimum(1.0, LONGEST / np.abs(step).max(1).clip(1e-9))[:, None]
            for k, row in enumerate(moving):
                angles[row] = pinocchio.integrate(self._model, angles[row], step[k]).clip(self._low, self._high)
        return angles, there

    def _tool_at(self, angles: np.ndarray) -> pinocchio.SE3:
        pinocchio.framesForwardKinematics(self._model, self._data, angles)
        return self._data.oMf[self._frame].copy()


def _coordinates(poses: np.ndarray) -> np.ndarray:
    """Points (N, 12) float32 that lie the nearer to each other the nearer poses (N, 4, 4) do."""
    turns = TURN * poses[:, :3, :3].transpose(0, 2, 1).reshape(-1, 9)
    return np.concatenate([poses[:, :3, 3], turns], 1).astype(np.float32)


def _swing(rotation: np.ndarray) -> tuple[float, float, float]:
    """The shortest turn, rad, that takes z to where a rotation (3, 3) takes it."""
    x, y, z = rotation[:, 2].tolist()
    across = math.hypot(x, y)
    share = math.atan2(across, z) / max(across, 1e-9)
    return -y * share, x * share, 0.0
