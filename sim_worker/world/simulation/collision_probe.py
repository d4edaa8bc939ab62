"""Would the open hand touch anything on its way in? Answered by geometry, before any physics.

The volume that a hand sweeps along its approach is its own shape drawn out backwards, so a few tall solids at the grasp
pose answer for the whole straight approach, exactly.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pybullet
from scipy.spatial import ConvexHull

from grasp_client.contract import Gripper
from grasp_client.geometry import pose_from
from sim_worker.world.grippers.floating_base import quaternion_of
from sim_worker.world.simulation.physics import HULL_SKIN, Physics

SWEEP_LENGTH = 0.30
"""m of straight approach, from the tips backwards, that must be free."""
TOLERANCE = 0.0005
"""m of penetration that counts as touching only: contact up to this depth is no collision."""
LIP_CLEARANCE = 0.004
"""m behind the rim of a suction cup that is soft and may touch anything."""
Hit = tuple[int, float]
"""A body that is in the way, and how deep a probe enters it, m."""
MOST_RETREAT = 0.12
"""m behind the grasp pose from which a hand that may push starts, at most."""


@dataclass(frozen=True)
class CollisionProbe:
    """A solid in the tip frame, m. `size`: full extents of a box, or radius and length along z of a cylinder; none for the
    convex hull of `corners`, which lie round `centre`."""

    centre: tuple[float, float, float]
    size: tuple[float, ...] = ()
    corners: tuple[tuple[float, float, float], ...] = ()

    @property
    def skin(self) -> float:
        """How far its contact surface lies outside the drawn one, m."""
        return HULL_SKIN if self.corners else 0.0

    def lowest(self, tip_pose: np.ndarray) -> float:
        """Height of its lowest point with the tip frame at `tip_pose`, m."""
        up = tip_pose[2, :3]
        if self.corners:
            reach = -float((np.array(self.corners) @ up).min())
        elif len(self.size) == 3:
            reach = float(np.abs(up) @ np.asarray(self.size) / 2)
        else:
            # Support function of a cylinder: radius across its axis, half its length along it.
            reach = self.size[0] * float(np.hypot(up[0], up[1])) + abs(float(up[2])) * self.size[1] / 2
        return float(tip_pose[2, 3] + up @ np.asarray(self.centre)) - reach

    def shape(self, physics: Physics) -> int:
        """Its collision shape."""
        create = physics.client.createCollisionShape
        if self.corners:
            return int(create(pybullet.GEOM_MESH, vertices=self.corners))
        if len(self.size) == 3:
            return int(create(pybullet.GEOM_BOX, halfExtents=[extent / 2 for extent in self.size]))
        return int(create(pybullet.GEOM_CYLINDER, radius=self.size[0], height=self.size[1]))


def jaw_probes(gripper: Gripper, opening: float) -> list[CollisionProbe]:
    """Both fingers and the palm of the jaw at this opening (m), drawn out backwards to SWEEP_LENGTH."""
    thin, pad_depth = gripper.pad
    pads = [(thin, 0.0)] if thin == gripper.finger_thickness else [(thin, 0.0), (gripper.finger_thickness, pad_depth)]
    probes = []
    for (thickness, start), side in itertools.product(pads, (1, -1)):
        length = SWEEP_LENGTH - start
        centre = (side * (opening + thickness) / 2, 0, -start - length / 2)
        probes.append(CollisionProbe(centre, (thickness, gripper.finger_width, length)))
    palm_length = max(SWEEP_LENGTH - gripper.finger_depth, 0.05)
    palm = (gripper.palm_width, gripper.palm_thickness, palm_length)
    return [*probes, CollisionProbe((0, 0, -gripper.finger_depth - palm_length / 2), palm)]


def hull_probe(points: np.ndarray) -> CollisionProbe:
    """A convex piece of a hand, its corners (N, 3) in the tip frame (m), drawn out backwards to SWEEP_LENGTH."""
    back = points.copy()
    back[:, 2] = -SWEEP_LENGTH
    corners = np.vstack([points, back])
    # Bullet takes few corners; those within the hull say nothing.
    corners = corners[ConvexHull(corners).vertices]
    centre = corners.mean(0)
    return CollisionProbe(tuple(centre.tolist()), corners=tuple(map(tuple, (corners - centre).tolist())))


def cup_probes(gripper: Gripper, soft: float = LIP_CLEARANCE) -> list[CollisionProbe]:
    """The suction cup but for the `soft` part behind its rim (m), drawn out backwards to SWEEP_LENGTH."""
    return [CollisionProbe((0, 0, -soft - SWEEP_LENGTH / 2), (gripper.cup_radius, SWEEP_LENGTH))]


def lip_travel(gripper: Gripper) -> float:
    """How far (m) the face that a cup is pressed on may come in behind the rim, before it meets what is rigid.

    A lip that takes up so much unevenness, and follows a face by such an angle, is soft at least as far as both together move
    one side of the rim. What bulges into the hollow of the cup comes in less far: `seal` refuses it before that.
    """
    give, angle = gripper.lip
    return max(LIP_CLEARANCE, give + gripper.cup_radius * math.sin(angle))


def below_table(probes: Sequence[CollisionProbe], tip_pose: np.ndarray) -> bool:
    """Whether a point of the probes lies under the table top by more than TOLERANCE."""
    return any(probe.lowest(tip_pose) < -TOLERANCE for probe in probes)


class ApproachSweep:
    """Solids that probe the world of `physics` without being in it. Shapes are kept per size for the life of the world."""

    def __init__(self, physics: Physics) -> None:
        self.physics = physics
        self._shapes: dict[tuple[tuple[float, ...], ...], int] = {}

    def _shape(self, probe: CollisionProbe) -> int:
        key = probe.corners or (probe.size,)
        if key not in self._shapes:
            self._shapes[key] = probe.shape(self.physics)
        return self._shapes[key]

    def hit(self, probes: Sequence[CollisionProbe], tip_pose: np.ndarray, skins: Mapping[int, float]) -> Hit | None:
        """The first body that a probe enters by more than TOLERANCE, and how deep (m); None if the way is free.

        `skins`: for each body to check, how far its contact surface lies outside the drawn one, m.
        """
        turn = quaternion_of(tip_pose[:3, :3])
        for probe in probes:
            position, shape = (tip_pose[:3, :3] @ probe.centre + tip_pose[:3, 3]).tolist(), self._shape(probe)
            for body, skin in skins.items():
                points = self.physics.client.getClosestPoints(
                    bodyA=-1,
                    bodyB=body,
                    distance=0.0,
                    collisionShapeA=shape,
                    collisionShapePositionA=position,
                    collisionShapeOrientationA=turn,
                )
                # Bullet reports distances to the hull with its margin; the object that a camera sees ends before that.
                depth = max((-point[8] for point in points), default=0.0) - skin - probe.skin
                if depth > TOLERANCE:
                    return body, depth
        return None

    def clear_distance(self, probes: Sequence[CollisionProbe], tip_pose: np.ndarray, skins: Mapping[int, float]) -> float:
        """How far the hand must stand back to be free of all bodies, m, up to MOST_RETREAT, with 2 mm to spare."""
        # Retreat by bisection: on a straight way back, once free means free from there on.
        low, high = 0.0, MOST_RETREAT
        while high - low > 0.001:
            middle = (low + high) / 2
            back = tip_pose @ pose_from(np.eye(3), np.array([0.0, 0.0, -middle]))
            low, high = (low, middle) if self.hit(probes, back, skins) is None else (middle, high)
        return high + 0.002
