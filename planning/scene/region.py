"""Where the request wants grasps: its region and its segmask."""

import cv2
import numpy as np
import torch
from torch import Tensor

from planning.scene.scene import PlanningScene


def outside_region(scene: PlanningScene, pixels: Tensor, beside: float = 0.0) -> dict[str, Tensor]:
    """By reason, which pixels (N, 2) the request does not allow, (N,) bool, nor what lies so far beside, m at the table."""
    region, mask = scene.request.region, scene.observation.segmask
    u, v = pixels.unbind(1)
    # The same distance is more pixels nearer to the camera: measured at the table a margin is never too generous.
    margin = _margin(scene, beside) if beside else 0
    outside = {"region": torch.zeros_like(u, dtype=torch.bool), "segmask": torch.zeros_like(u, dtype=torch.bool)}
    if region is not None:
        low_u, low_v, high_u, high_v = region
        outside["region"] = (u < low_u - margin) | (u > high_u + margin) | (v < low_v - margin) | (v > high_v + margin)
    if mask is not None:
        outside["segmask"] = ~_inside(_grown(mask, margin), u, v)
    return outside


def _margin(scene: PlanningScene, beside: float) -> int:
    """A distance in pixels at the table."""
    return max(1, round(beside * max(scene.camera.fx, scene.camera.fy) / max(float(scene.map.pose[2, 3]), 0.05)))


def _grown(mask: np.ndarray, margin: int) -> np.ndarray:
    """A mask (H, W) bool with a margin of pixels around it."""
    if margin == 0:
        return mask
    return cv2.dilate(np.ascontiguousarray(mask, dtype=np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0


def _inside(mask: np.ndarray, u: Tensor, v: Tensor) -> Tensor:
    inside = torch.from_numpy(np.ascontiguousarray(mask, dtype=bool)).to(u.device)
    rows, columns = inside.shape
    column, row = torch.round(u).to(torch.int64), torch.round(v).to(torch.int64)
    within = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return within & inside[row.clamp(0, rows - 1), column.clamp(0, columns - 1)]
