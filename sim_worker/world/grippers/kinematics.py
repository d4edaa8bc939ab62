"""Forward and inverse kinematics of the Franka Panda arm, in numpy: repeatable, and it never leaves the joint limits."""

import math

import numpy as np

LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
"""rad; Franka's published joint limits."""
HOME = np.array([0.0, -0.3, 0.0, -2.2, 0.0, 1.95, math.pi / 4])
"""rad; hand over the workspace, pointing down."""
MOST_JOINT_SPEED = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
"""rad/s"""
FLANGE_FROM_JOINT = 0.107
"""m along the last joint's z."""
TIP_FROM_FLANGE = 0.0584 + 0.0538
"""m along the flange's z: hand, fingers; to the outermost ends of the fingertips."""
_POSITION_TOLERANCE = 1e-4
_TURN_TOLERANCE = 1e-3

_JOINTS = (
    (0.0, (0.0, 0.0, 0.333)),
    (-math.pi / 2, (0.0, 0.0, 0.0)),
    (math.pi / 2, (0.0, -0.316, 0.0)),
    (math.pi / 2, (0.0825, 0.0, 0.0)),
    (-math.pi / 2, (-0.0825, 0.384, 0.0)),
    (math.pi / 2, (0.0, 0.0, 0.0)),
    (math.pi / 2, (0.088, 0.0, 0.0)),
)
"""Of each joint: turn about x (rad) and position (m) in its parent's frame; the joint then turns about its own z."""


def _fixed_frames() -> list[np.ndarray]:
    frames = []
    for turn, position in _JOINTS:
        frame = np.eye(4)
        c, s = math.cos(turn), math.sin(turn)
        frame[1:3, 1:3] = [[c, -s], [s, c]]
        frame[:3, 3] = position
        frames.append(frame)
    return frames


def _tool_frame() -> np.ndarray:
    """Jaw grasp frame in the last joint's frame: the hand is turned by -45 degrees, its fingers move along its y."""
    c = math.sqrt(0.5)
    hand = np.array([[c, c, 0.0], [-c, c, 0.0], [0.0, 0.0, 1.0]])
    tool = np.eye(4)
    tool[:3, :3] = hand @ np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    tool[2, 3] = FLANGE_FROM_JOINT + TIP_FROM_FLANGE
    return tool


_FRAMES = _fixed_frames()
TOOL = _tool_frame()


def forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tip pose (4, 4) in the arm's base frame and its Jacobian (6, 7), linear rows first, for joint angles (7,)."""
    pose, axes, origins = np.eye(4), [], []
    for frame, angle in zip(_FRAMES, joints, strict=True):
        pose = pose @ frame
        axes.append(pose[:3, 2].copy())
        origins.append(pose[:3, 3].copy())
        c, s = math.cos(angle), math.sin(angle)
        x, y = pose[:, 0].copy(), pose[:, 1].copy()
        pose[:, 0], pose[:, 1] = c * x + s * y, c * y - s * x
    pose = pose @ TOOL
    directions = np.array(axes)
    return pose, np.vstack([np.cross(directions, pose[:3, 3] - np.array(origins)).T, directions.T])


def pose_error(target: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Twist (6,) that takes `pose` towards `target`: m, then rad about the base frame's axes."""
    turn = target[:3, :3] @ pose[:3, :3].T
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    sine, cosine = np.linalg.norm(axis), (np.trace(turn) - 1) / 2
    angle = math.atan2(sine, cosine)
    if sine > 1e-9:
        axis = axis * angle / sine
    elif cosine < 0:
        axis = np.array([math.pi, 0.0, 0.0])
    return np.concatenate([target[:3, 3] - pose[:3, 3], axis])


def inverse(target: np.ndarray, start: np.ndarray, iterations: int = 60) -> np.ndarray | None:
    """Joint angles (7,) within the limits that put the tip at `target` (4, 4; arm's base frame), or None.

    Method: damped least squares (Wampler 1986) from `start` (7,), kept inside the limits; the arm's seventh degree of freedom
    is used to pull the joints to the middle of their ranges.
    """
    joints, middle = np.clip(start, LOWER, UPPER), (LOWER + UPPER) / 2
    for _ in range(iterations):
        pose, jacobian = forward(joints)
        error = pose_error(target, pose)
        if np.linalg.norm(error[:3]) < _POSITION_TOLERANCE and np.linalg.norm(error[3:]) < _TURN_TOLERANCE:
            result: np.ndarray | None = joints
            return result
        # The damping keeps steps finite near singular poses.
        inverse_jacobian = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + 1e-4 * np.eye(6))
        step = inverse_jacobian @ error
        # In the null space: moves the elbow, not the tip.
        step += (np.eye(7) - inverse_jacobian @ jacobian) @ (0.05 * (middle - joints))
        joints = np.clip(joints + step * min(1.0, 0.4 / max(np.abs(step).max(), 1e-9)), LOWER, UPPER)
    return None


def inverse_from_anywhere(target: np.ndarray) -> np.ndarray | None:
    """As `inverse`, from several starts; of the solutions the one farthest from the joint limits."""
    best, margin = None, -1.0
    for first in (0.0, 0.8, -0.8):
        for last in (math.pi / 4, math.pi / 4 + 1.6, math.pi / 4 - 1.6):
            start = HOME + np.array([math.atan2(target[1, 3], target[0, 3]), 0, first, 0, 0, 0, last - math.pi / 4])
            joints = inverse(target, start)
            if joints is not None:
                room = float(np.minimum(joints - LOWER, UPPER - joints).min())
                if room > margin:
                    best, margin = joints, room
        if margin > 0.2:
            break
    return best
