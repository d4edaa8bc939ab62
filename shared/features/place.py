"""Where a hand is told to go: its pose in the frame in which an error of a cell's calibration is the same every time."""

import numpy as np
import torch
from torch import Tensor

from shared.grasp_poses import HandPose


def frame_of(map_pose: np.ndarray, camera_pose: np.ndarray | None) -> np.ndarray:
    """(4, 4): a map's frame to the robot's base frame, or to that of the camera where nobody tells its pose."""
    return map_pose if camera_pose is None else np.asarray(camera_pose, dtype=float) @ map_pose


def places(hands: HandPose, frame: np.ndarray) -> Tensor:
    """(N, 9) float32 of hands in a map: closing axis, axis across it, and position, m, in `frame` (see `frame_of`)."""
    turn, shift = (
        torch.as_tensor(part, dtype=torch.float32, device=hands.width.device) for part in (frame[:3, :3], frame[:3, 3])
    )
    closing, across = hands.rotation[:, :, 0] @ turn.T, hands.rotation[:, :, 1] @ turn.T
    return torch.cat([closing, across, hands.position @ turn.T + shift], 1).to(torch.float32)
