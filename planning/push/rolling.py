"""Which way a goal would roll on when it is pushed: a ball any way, what lies round across its own axis."""

import numpy as np

from shared.features.push import raised_cells
from shared.maps.heightmap import HeightMap

ROUND = 0.004
"""Three quarters of the cells of what is round lie within this of a circle, m: on a cube, or half a cylinder, they do not."""
LEAST_RADIUS = 0.008
"""Of what rolls, m: what is lower is not told from what is flat."""
WIDTH = 0.75
"""Least half width of what is round, as a share of half its height: a narrow thing lies near to the crest of any circle."""
AXES = 12
"""Directions in half a turn that are tried."""
ACROSS = 0.5
"""Cosine of the angle to the way that it rolls, up to which a push makes it roll."""


def rolls(map: HeightMap, goal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Whether (N,) a goal rolls when it is pushed in directions (N,), rad, from map x to map y. goal: its cells (H, W) bool."""
    row, column = np.nonzero(goal & raised_cells(map))
    if not len(row):
        return np.zeros(len(direction), bool)
    rise = (map.height - map.table_map)[row, column]
    x, y = (map.resolution * (each - 0.5 * (each.min() + each.max())) for each in (column, row))
    radius = float(np.quantile(rise, 0.95)) / 2
    if radius < LEAST_RADIUS or _misfit(rise, radius, np.hypot(x, y)) < ROUND:
        return np.full(len(direction), radius >= LEAST_RADIUS)
    angles = np.pi / AXES * np.arange(AXES)
    misfits = [_misfit(rise, radius, x * np.cos(angle) + y * np.sin(angle)) for angle in angles]
    best = int(np.argmin(misfits))
    result: np.ndarray = (misfits[best] < ROUND) & (np.abs(np.cos(direction - angles[best])) > ACROSS)
    return result


def _misfit(rise: np.ndarray, radius: float, across: np.ndarray) -> float:
    """How far cells that rise so much (M,), m, lie from a circle on the table, so far (M,) across from its middle, m."""
    if np.quantile(np.abs(across), 0.95) < WIDTH * radius:
        return np.inf
    circle = radius + np.sqrt(np.clip(radius**2 - across**2, 0, None))
    return float(np.quantile(np.abs(rise - circle), 0.75))
