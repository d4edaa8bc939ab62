"""The constant offset of a cell is found in the frame in which it is one."""

from __future__ import annotations

import numpy as np
import pytest
from block_world import block_outcome
from scipy.spatial.transform import Rotation

from grasp_client.contract import GraspMeta
from trainer_job.rl.constant_offset import AXES, fit

BEST = np.array([0.5, -0.3, 0.2, 0.1])


def trials(frame: str, count: int = 500) -> list[GraspMeta]:
    """Top-down grasps at any yaw, offset at random, that hold where they end near BEST in the frame."""
    random, found = np.random.default_rng(0), []
    for number in range(count):
        meta = block_outcome(0).meta
        turned = np.diag([1.0, -1.0, -1.0]) @ Rotation.from_euler("z", random.uniform(-3, 3)).as_matrix()
        pose = np.eye(4)
        pose[:3, :3] = turned
        own = random.uniform(-1, 1, 4) if number % 2 else np.zeros(4)
        moved = own if frame == "hand" else np.append(turned @ own[:3], -own[3])
        held = bool(np.square(moved - BEST).sum() < 0.7)
        grasp = meta.grasp.model_copy(update={"pose_camera": pose.tolist()})
        details = dict(zip(AXES, own.tolist(), strict=True)) if number % 2 else {}
        changes = {"grasp": grasp, "camera_pose": np.eye(4).tolist(), "success": held, "details": details}
        found.append(meta.model_copy(update=changes))
    return found


@pytest.mark.parametrize("frame", ["hand", "base"])
def test_it_is_found_in_its_frame(frame: str) -> None:
    found = fit(trials(frame))
    assert found["frame"] == frame
    assert found["trials"] == 500
    assert found["offset"] == pytest.approx(BEST, abs=0.12)
