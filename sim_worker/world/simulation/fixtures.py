"""What stands in a cell and never moves: the table, the walls of a bin."""

from collections.abc import Sequence

import pybullet

from sim_worker.world.simulation.physics import TABLE_FRICTION, Physics
from sim_worker.world.simulation.spec import SceneSpec

WALL = 0.01
"""m: thickness of a wall."""


def fixed_box(physics: Physics, half: Sequence[float], position: Sequence[float], drawn: bool) -> int:
    """A box that never moves. Not drawn: a speck out of sight stands for it, the camera computes the table itself."""
    client = physics.client
    collision = client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=list(half))
    if drawn:
        visual = client.createVisualShape(pybullet.GEOM_BOX, halfExtents=list(half), rgbaColor=[0.45, 0.5, 0.6, 1])
    else:
        visual = client.createVisualShape(pybullet.GEOM_SPHERE, radius=1e-4, visualFramePosition=[0, 0, -1])
    body = client.createMultiBody(0, collision, visual, list(position))
    client.changeDynamics(body, -1, lateralFriction=TABLE_FRICTION)
    result: int = body
    return result


def walls(physics: Physics, length: float, width: float, height: float, drawn: bool) -> list[int]:
    """Four walls around an inner rectangle `length` (x) by `width` (y) m, standing on the table."""
    x, y, t = length / 2, width / 2, WALL / 2
    sides = (
        ((t, y + WALL, height / 2), (x + t, 0, height / 2)),
        ((t, y + WALL, height / 2), (-x - t, 0, height / 2)),
        ((x, t, height / 2), (0, y + t, height / 2)),
        ((x, t, height / 2), (0, -y - t, height / 2)),
    )
    return [fixed_box(physics, half, position, drawn) for half, position in sides]


def surroundings(physics: Physics, spec: SceneSpec) -> dict[int, str]:
    """Table, and the bin where the kind has one; names by body."""
    fixed = {fixed_box(physics, (1.0, 1.0, 0.05), (0, 0, -0.05), drawn=False): "table"}
    if spec.kind == "bin":
        fixed |= dict.fromkeys(walls(physics, *spec.bin_size, drawn=True), "bin")
    return fixed
