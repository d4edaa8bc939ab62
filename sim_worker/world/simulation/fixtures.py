"""What stands in a cell and never moves: the table, the walls of a bin, a shelf."""

import math
from collections.abc import Sequence

import numpy as np
import pybullet

from sim_worker.world.simulation.bins import Bin
from sim_worker.world.simulation.physics import TABLE_FRICTION, Physics
from sim_worker.world.simulation.spec import SceneSpec


def fixed_box(physics: Physics, half: Sequence[float], position: Sequence[float], drawn: bool, yaw: float = 0.0) -> int:
    """A box that never moves. Not drawn: a speck out of sight stands for it, the camera computes the table itself."""
    client = physics.client
    collision = client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=list(half))
    if drawn:
        visual = client.createVisualShape(pybullet.GEOM_BOX, halfExtents=list(half), rgbaColor=[0.45, 0.5, 0.6, 1])
    else:
        visual = client.createVisualShape(pybullet.GEOM_SPHERE, radius=1e-4, visualFramePosition=[0, 0, -1])
    body = client.createMultiBody(0, collision, visual, list(position), [0, 0, math.sin(yaw / 2), math.cos(yaw / 2)])
    client.changeDynamics(body, -1, lateralFriction=TABLE_FRICTION)
    result: int = body
    return result


def walls(physics: Physics, tote: Bin, drawn: bool) -> list[int]:
    """The four walls of a bin, standing on the table."""
    (x, y), height, t = tote.half, tote.inner[2], tote.wall / 2
    sides = (((t, y + 2 * t), (x + t, 0)), ((t, y + 2 * t), (-x - t, 0)), ((x, t), (0, y + t)), ((x, t), (0, -y - t)))
    return [
        fixed_box(physics, (*half, height / 2), (*tote.in_base(np.array(middle)), height / 2), drawn, tote.yaw)
        for half, middle in sides
    ]


def surroundings(physics: Physics, spec: SceneSpec) -> dict[int, str]:
    """Table, and the bin or the shelf where the kind has one; names by body."""
    fixed = {fixed_box(physics, (1.0, 1.0, 0.05), (0, 0, -0.05), drawn=False): "table"}
    if spec.bin:
        fixed |= dict.fromkeys(walls(physics, spec.bin, drawn=True), "bin")
    if spec.shelf:
        boards = (fixed_box(physics, half, middle.tolist(), True, spec.shelf.yaw) for half, middle in spec.shelf.walls())
        fixed |= dict.fromkeys(boards, "shelf")
    return fixed
