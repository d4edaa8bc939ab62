"""A bin in the map: where its walls stand, what lies inside of them, and how it is told in a request."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import Bin
from shared.maps.heightmap import HeightMap

TOLD_THICKNESS = 0.012
"""m: walls of a bin that is told may be thinner, and what stands against them outside is never gripped."""
SMEARED = 0.004
"""m: a sensor shows so much of a wall beside it."""


@dataclass(frozen=True)
class SeenBin:
    """Four straight walls. angle: by which the bin's axes are turned against the map's, rad. low, high: inner faces along both
    axes, m, infinite where a side lies out of view. thickness: of the walls, m. rim: its height over the table, m."""

    angle: float
    low: tuple[float, float]
    high: tuple[float, float]
    thickness: float
    rim: float

    def axes(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map x, y (any shape), m, along the bin's axes."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return cos * x + sin * y, cos * y - sin * x

    def gap(self, x: Tensor, y: Tensor) -> Tensor:
        """How far (any shape) map x, y, m, lie inside of the nearest inner face, m; negative in the walls and beyond them."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        u, v = cos * x + sin * y, cos * y - sin * x
        (left, top), (right, bottom) = self.low, self.high
        result: Tensor = torch.minimum(torch.minimum(u - left, right - u), torch.minimum(v - top, bottom - v))
        return result


def told_bin(told: Bin, camera_pose: np.ndarray, map: HeightMap) -> SeenBin:
    """The bin that a request names, its corners in the base frame, in the map."""
    to_map = np.linalg.inv(map.pose) @ np.linalg.inv(camera_pose)
    corners = np.asarray(told.corners) @ to_map[:3, :3].T + to_map[:3, 3]
    side = corners[1, :2] - corners[0, :2]
    angle = math.atan2(side[1], side[0])
    bare = SeenBin(angle, (0.0, 0.0), (0.0, 0.0), TOLD_THICKNESS, 0.0)
    u, v = bare.axes(corners[:, 0], corners[:, 1])
    u, v = np.sort(u), np.sort(v)  # a corner may be a few millimetres off: two of them make a side
    floor = float(np.mean(-corners[:, 2] - corners[:, :2] @ map.table))
    low, high = (float(u[:2].mean()), float(v[:2].mean())), (float(u[2:].mean()), float(v[2:].mean()))
    return SeenBin(angle, low, high, TOLD_THICKNESS, floor + told.wall_height)


def with_walls(map: HeightMap, bin: SeenBin) -> tuple[np.ndarray, np.ndarray]:
    """Upper bound of heights (H, W), m, that the walls of the bin stand in, and which cells lie inside of them, bool (H, W).

    What a sensor smears of a rim over the cells beside it is taken back: they get the heights farther inside.
    """
    rows, columns = map.height.shape
    x = map.corner[0] + map.resolution * np.arange(columns, dtype=np.float32)[None, :]
    y = map.corner[1] + map.resolution * np.arange(rows, dtype=np.float32)[:, None]
    u, v = bin.axes(x, y)
    (left, top), (right, bottom) = bin.low, bin.high
    depth = np.minimum(np.minimum(u - left, right - u), np.minimum(v - top, bottom - v))
    upper_bound = map.upper_bound.copy()
    wall = (depth < 0) & (depth > -bin.thickness)
    upper_bound[wall] = np.maximum(upper_bound, map.table_map + np.float32(bin.rim))[wall]
    beside = np.nonzero((depth >= 0) & (depth < SMEARED))
    far = SMEARED + map.resolution
    u, v = u[beside].clip(left + far, right - far), v[beside].clip(top + far, bottom - far)
    cos, sin = math.cos(bin.angle), math.sin(bin.angle)
    column = np.rint((cos * u - sin * v - map.corner[0]) / map.resolution).astype(int).clip(0, columns - 1)
    row = np.rint((sin * u + cos * v - map.corner[1]) / map.resolution).astype(int).clip(0, rows - 1)
    upper_bound[beside] = np.minimum(map.upper_bound[beside], map.upper_bound[row, column])
    return upper_bound, depth >= 0
