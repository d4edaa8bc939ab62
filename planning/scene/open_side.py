"""Whether what looks like a bin stands open towards the camera, as a shelf does: then it is looked into through a side."""

from __future__ import annotations

import numpy as np

from shared.maps.heightmap import HeightMap

LOW = 0.5
"""What rises over the floor by less than this share of the rim is looked at."""
CLEAR = 0.015
"""m: lines of sight that pass so far under the rim pass through a side, not over it."""
MOST = 0.2
"""Share of what is seen low: of bins, from straight above to 57 degrees, none; of shelves that look like bins .4 to 1."""


def open_to_camera(map: HeightMap, turn: np.ndarray, low: np.ndarray, high: np.ndarray, rim: float) -> bool:
    """Whether most of what is seen low between sides is seen through one of them: where a wall stood, it would be hidden.

    turn (2, 2): rows of places from the map's first cell, m, times it lie along the sides. low, high (2,): of the sides along
    both axes, m; rim: height, m.
    """
    row, column = np.nonzero(map.known)
    places = np.column_stack([column, row]) * map.resolution @ turn
    rise = (map.height - map.table_map)[row, column]
    inside = ((places > low) & (places < high)).all(1) & (rise < LOW * rim)
    if not inside.any():
        return False
    places, rise = places[inside], rise[inside]
    camera = -map.pose[:3, :3].T @ map.pose[:3, 3]
    above = float(-camera[2] - map.table @ camera[:2])
    camera = (camera[:2] - map.corner) @ turn
    through = np.zeros(len(places), bool)
    for axis in (0, 1):
        for side, beyond in ((low[axis], camera[axis] < low[axis]), (high[axis], camera[axis] > high[axis])):
            if not beyond:
                continue
            share = (side - places[:, axis]) / (camera[axis] - places[:, axis])
            along = places[:, 1 - axis] + share * (camera[1 - axis] - places[:, 1 - axis])
            within = (along > low[1 - axis]) & (along < high[1 - axis])
            through |= within & (rise + share * (above - rise) < rim - CLEAR)
    return bool(through.mean() > MOST)
