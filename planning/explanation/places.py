"""The places that were asked for: what rises over the table there, or as near to there as anything does."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from planning.limits import LEAST_OVERLAP, NOISE_DEVIATIONS
from planning.scene.projection import map_pixels, map_points
from planning.scene.scene import PlanningScene

MOST_PLACES = 160
"""Spread over what was asked for."""
MOST_LOOKED_AT = 20_000
"""Cells among which these are chosen."""


def nearest_places(scene: PlanningScene) -> tuple[Tensor, Tensor]:
    """Map x, y (N,), m, of raised cells: of those within what was asked for, or where there is none those nearest to it."""
    raised = scene.above_table >= max(LEAST_OVERLAP, NOISE_DEVIATIONS * scene.map.table_noise)
    stride = max(1, math.ceil(math.sqrt(int(raised.sum()) / MOST_LOOKED_AT)))
    rows, columns = (stride * index for index in torch.nonzero(raised[::stride, ::stride], as_tuple=True))
    x = scene.map.corner[0] + scene.map.resolution * columns
    y = scene.map.corner[1] + scene.map.resolution * rows
    far = outside_asked(scene, map_points(x, y, scene.top[rows, columns]))
    nearest = torch.argsort(far, stable=True)
    inside = nearest[: int((far == 0).sum())]
    step = max(1, len(inside) // MOST_PLACES)
    chosen = inside[::step][:MOST_PLACES] if len(inside) else nearest[:MOST_PLACES]
    return x[chosen], y[chosen]


def outside_asked(scene: PlanningScene, points: Tensor) -> Tensor:
    """How far (N,) map points (N, 3) lie outside of the request's region, segmask and goal, as m at the table."""
    region, mask = scene.request.region, scene.observation.graspable
    u, v = map_pixels(scene, points).unbind(1)
    far = torch.zeros_like(u)
    if region is not None:
        beside = torch.stack([region[0] - u, u - region[2]]).amax(0).clamp(min=0)
        above = torch.stack([region[1] - v, v - region[3]]).amax(0).clamp(min=0)
        far = torch.hypot(beside, above)
    if mask is not None and mask.any():
        away = torch.from_numpy(cv2.distanceTransform(np.where(mask, 0, 1).astype(np.uint8), cv2.DIST_L2, 5)).to(u.device)
        row, column = v.round().long().clamp(0, mask.shape[0] - 1), u.round().long().clamp(0, mask.shape[1] - 1)
        far = torch.maximum(far, away[row, column])
    metres = scene.unit * float(scene.map.pose[2, 3]) / max(scene.camera.fx, scene.camera.fy)
    result: Tensor = far * metres
    return result
