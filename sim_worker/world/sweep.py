"""Would the open hand touch anything on its way in? Answered by geometry, before any physics.

The volume that a hand sweeps along its approach is its own shape drawn out backwards, so a few tall boxes at the grasp
pose answer for the whole straight approach, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pybullet
from scipy.spatial.transform import Rotation

from shared.contract import Gripper
from shared.geometry import pose_from
from sim_worker.world.physics import Physics

SWEEP_LENGTH = 0.30
"""m of straight approach, from the tips backwards, that must be free."""
TOLERANCE = 0.0005
"""m of penetration that counts as touching only: contact up to this depth is no collision."""
CUP_CLEARANCE = 0.003
"""m in front of its rim that a suction cup may press into: its lip is soft."""

Box = tuple[np.ndarray, np.ndarray]
"""Centre and half extents in the hand frame, m."""


def jaw_boxes(gripper: Gripper, opening: float) -> list[Box]:
    """Both fingers and the palm of the jaw at this opening (m), drawn out backwards to SWEEP_LENGTH."""
    finger = np.array([gripper.finger_thickness, gripper.finger_width, SWEEP_LENGTH]) / 2
    x = (opening + gripper.finger_thickness) / 2
    palm_length = max(SWEEP_LENGTH - gripper.finger_depth, 0.05)
    palm = np.array([gripper.palm_width, gripper.palm_thickness, palm_length]) / 2
    return [
        (np.array([x, 0, -SWEEP_LENGTH / 2]), finger),
        (np.array([-x, 0, -SWEEP_LENGTH / 2]), finger),
        (np.array([0, 0, -gripper.finger_depth - palm_length / 2]), palm),
    ]


def below_table(boxes: list[Box], tip_pose: np.ndarray) -> bool:
    """Whether a corner of the boxes lies under the table top by more than TOLERANCE."""
    up = tip_pose[2, :3]
    return any(tip_pose[2, 3] + up @ centre - np.abs(up) @ half < -TOLERANCE for centre, half in boxes)


MOST_RETREAT = 0.12
"""m behind the grasp pose from which a hand that may push starts, at most."""


class Sweep:
    """Boxes that probe the world of `physics` without being in it. Shapes are kept per size for the life of the world."""

    def __init__(self, physics: Physics) -> None:
        self.physics = physics
        self._shapes: dict[tuple[float, ...], int] = {}

    def _shape(self, half: np.ndarray) -> int:
        key = tuple(half.tolist())
        if key not in self._shapes:
            self._shapes[key] = self.physics.client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=list(key))
        return self._shapes[key]

    def hit(self, boxes: list[Box], tip_pose: np.ndarray, skins: Mapping[int, float]) -> tuple[int, float] | None:
        """The first body that a box enters by more than TOLERANCE, and how deep (m); None if the way is free.

        `skins`: for each body to check, how far its contact surface lies outside the drawn one, m.
        """
        turn = Rotation.from_matrix(tip_pose[:3, :3]).as_quat().tolist()
        for centre, half in boxes:
            position, shape = (tip_pose[:3, :3] @ centre + tip_pose[:3, 3]).tolist(), self._shape(half)
            for body, skin in skins.items():
                points = self.physics.client.getClosestPoints(
                    bodyA=-1,
                    bodyB=body,
                    distance=0.0,
                    collisionShapeA=shape,
                    collisionShapePositionA=position,
                    collisionShapeOrientationA=turn,
                )
                depth = max((-point[8] for point in points), default=0.0) - skin
                if depth > TOLERANCE:
                    return body, depth
        return None

    def clear_distance(self, boxes: list[Box], tip_pose: np.ndarray, skins: Mapping[int, float]) -> float:
        """How far the hand must stand back to be free of all bodies, m, up to MOST_RETREAT, with 2 mm to spare."""
        low, high = 0.0, MOST_RETREAT
        while high - low > 0.001:
            middle = (low + high) / 2
            back = tip_pose @ pose_from(np.eye(3), np.array([0.0, 0.0, -middle]))
            low, high = (low, middle) if self.hit(boxes, back, skins) is None else (middle, high)
        return high + 0.002
