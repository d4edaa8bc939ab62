"""What colours tell of heights: how likely each is, and the depth image that a camera over the same table would have taken."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference_server.planners.heat_maps import as_tensor, directions
from shared.contract import PlanRequest
from shared.networks.picture import Picture, factor_to, fit
from shared.networks.relief import Relief, median
from shared.planner import Observation
from shared.table_grasp import table_up

AROUND = 3
"""Heights of a place are those of a square of so many pixels."""


@dataclass(frozen=True)
class ToldRelief:
    """shares (bins, H, W): probabilities of heights over the table at the pixels of a picture (shared.networks.relief)."""

    shares: Tensor
    picture: Picture

    def heights(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W) float32, m, in the pixels of the sent image of `size`: as likely exceeded as not; 0 on the table."""
        of_thing, table = median(self.shares.movedim(0, -1)), self.shares[0]
        rows, columns = self.picture.size
        shown = (np.ascontiguousarray(layer[:rows, :columns].cpu().numpy()) for layer in (of_thing, table))
        thing, bare = (cv2.resize(layer, size[::-1], interpolation=cv2.INTER_LINEAR) for layer in shown)
        return np.where(bare < 0.5, thing, 0.0).astype(np.float32)

    def at(self, pixels: Tensor) -> Tensor:
        """Probabilities (..., bins) around pixels (..., 2) as (u, v) of the sent image."""
        height, width = self.picture.image.shape[:2]
        seen = self.picture.to_picture(pixels.reshape(-1, 2).cpu().numpy())
        grid = torch.from_numpy((seen + 0.5) * 2 / np.array([width, height]) - 1).to(self.shares)
        around = F.avg_pool2d(self.shares[None], AROUND, 1, AROUND // 2, count_include_pad=False)
        found = F.grid_sample(around, grid[None, None], padding_mode="border", align_corners=False)
        return found[0, :, 0].T.reshape(*pixels.shape[:-1], -1)


def told_relief(relief: Relief, observation: Observation, request: PlanRequest) -> ToldRelief:
    """What the network tells of an observation with colours, whose camera and distance to the table the request knows."""
    rgb, device = observation.rgb, next(relief.parameters()).device
    assert rgb is not None
    scale = factor_to(rgb.shape[:2], 0, relief.pixels_per_metre, request.camera, request.table_depth)
    picture = fit(rgb, scale)
    inputs = torch.cat([as_tensor(picture, device) / 255, directions(picture, request, None, device)], 1)
    return ToldRelief(relief(inputs.contiguous(memory_format=torch.channels_last))[0].softmax(0), picture)


def seen_depth(heights: np.ndarray, request: PlanRequest) -> np.ndarray:
    """Depth (H, W) float32, m, at which pixels see what rises `heights` (H, W), m, over the table; 0 beyond the horizon."""
    camera = request.camera
    assert camera is not None
    assert request.table_depth is not None
    up = table_up(None if request.camera_pose is None else np.asarray(request.camera_pose))
    v, u = np.ogrid[: heights.shape[0], : heights.shape[1]]
    towards = up[0] * (u - camera.cx) / camera.fx + up[1] * (v - camera.cy) / camera.fy + up[2]
    with np.errstate(divide="ignore"):
        depth = (heights + request.table_depth * up[2]) / towards
    return np.where((towards < 0) & (depth > 0), depth, 0.0).astype(np.float32)
