"""Height maps of several views of one scene as one: the highest reading of a cell counts, hidden is what is hidden from all."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grasp_client.observation import View
from shared.maps.heightmap import HeightMap, Table, map_of, pixel_rays
from shared.maps.resampling import readings_of

FEWEST = 200
"""Cells that two views share, at least, for anything to be said of how they fit."""


def merged(map: HeightMap, views: Sequence[View], scale: float) -> tuple[HeightMap, float]:
    """The map of the first view with what the others see of it, and how far the views' heights lie apart, m, by the median of
    the cells that they share, infinite where these are few. scale: of the hand."""
    apart = 0.0
    for view in views:
        other = _seen_by(map, view, scale)
        shared = map.known & other.known
        few = np.count_nonzero(shared) < FEWEST
        apart = max(apart, np.inf if few else float(np.median(np.abs(map.height - other.height)[shared])))
        known = map.known | other.known
        low = np.float32(-np.inf)
        height = np.where(known, np.maximum(np.where(map.known, map.height, low), np.where(other.known, other.height, low)), 0)
        bound = np.where(known, height, np.minimum(map.upper_bound, other.upper_bound))
        layers = {"height": height.astype(np.float32), "known": known, "upper_bound": bound.astype(np.float32)}
        map = replace(map, unobserved=map.unobserved & other.unobserved & ~known, **layers)
    unobserved = map.unobserved.copy()
    unobserved[0] = unobserved[-1] = unobserved[:, 0] = unobserved[:, -1] = True  # nobody knows what is beyond the map
    return replace(map, unobserved=unobserved), apart


def _seen_by(map: HeightMap, view: View, scale: float) -> HeightMap:
    """What another view shows, in the cells and heights of the map."""
    rotation = map.pose[:3, :3].T  # of the first camera's frame to the axes of the map
    foot = float((rotation @ map.pose[:3, 3])[2])  # of the first camera over the map's origin
    x, y, down = rotation @ view.pose[:3, 3]
    read = readings_of(view.depth, view.camera, scale, map.resolution)
    turned = rotation @ view.pose[:3, :3]
    slope = float(map.table @ [x, y])
    # The table in the axes of a map over this view: as high under its camera as the table leans up to there.
    table = Table(np.array([*map.table, slope - foot + down]), map.table_share, map.table_noise)
    rows, columns = map.height.shape
    box = (map.corner[0] - x, map.corner[1] - y, columns, rows)
    rays = pixel_rays(turned, view.camera, read.u, read.v)
    seen = map_of(read.depth, rays, read.depth > 0, box, map.resolution, turned, table, 0)
    # Heights count from the table under the first camera.
    lift = np.float32(slope)
    return replace(seen, height=np.where(seen.known, seen.height + lift, 0), upper_bound=seen.upper_bound + lift)
