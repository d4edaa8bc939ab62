"""Dense qualities: what a planner thinks of a jaw at every pixel and angle of the sent image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from planning.jaw.candidates import JawCandidates
from planning.jaw.filters import veto
from planning.jaw.fit import measure
from planning.jaw.sampling import ANGLES, survey
from planning.scene.projection import camera_pixels
from planning.scene.scene import PlanningScene

CHUNK = 1024
"""Hands measured and judged at once."""


@torch.inference_mode()
def quality_map(scene: PlanningScene, judge: Callable[[JawCandidates], Tensor]) -> np.ndarray:
    """Qualities (ANGLES, H, W) float32 in the pixels of the sent image; bin k closes along k pi / ANGLES from +u towards +v.

    judge: probabilities (N,) of hands. 0 where nothing was read, where no jaw fits, and where what would be held is not
    returned as a grasp.
    """
    x, y, scores, _ = survey(scene)
    centre, turn = torch.nonzero(torch.isfinite(scores), as_tuple=True)
    found = torch.zeros_like(scores)
    for chunk in torch.arange(len(centre), device=scene.device).split(CHUNK):
        which, bins = centre[chunk], turn[chunk]
        hands, _ = measure(scene, x[which], y[which], bins * (math.pi / ANGLES))
        hands, _ = veto(scene, hands)
        if len(hands):
            found[which[hands.source], bins[hands.source]] = judge(hands).to(found.dtype)
    return _in_image(scene, x, y, found).cpu().numpy()


def _in_image(scene: PlanningScene, x: Tensor, y: Tensor, values: Tensor) -> Tensor:
    """Values (N, ANGLES) of map positions x, y (N,) at the pixels that see the map there, (ANGLES, H, W)."""
    rows, columns = scene.map.height.shape
    cells = scene.map.resolution
    gap = spacing(x, y, cells)
    coarse_rows, coarse_columns = math.ceil(rows / gap) + 1, math.ceil(columns / gap) + 1
    lattice = torch.zeros((coarse_rows * coarse_columns, ANGLES), device=values.device)
    row, column = (
        torch.round((axis - corner) / cells / gap).to(torch.int64)
        for axis, corner in zip((y, x), scene.map.corner[::-1], strict=True)
    )
    lattice[row * coarse_columns + column] = values[:, angle_bins(scene)]
    points, seen = _points(scene)
    column = torch.round((points[..., 0] - scene.map.corner[0]) / cells / gap).to(torch.int64)
    row = torch.round((points[..., 1] - scene.map.corner[1]) / cells / gap).to(torch.int64)
    seen = seen & (row >= 0) & (row < coarse_rows) & (column >= 0) & (column < coarse_columns)
    picture: Tensor = lattice[torch.where(seen, row * coarse_columns + column, 0)] * seen[..., None]
    return picture.permute(2, 0, 1).contiguous()


def spacing(x: Tensor, y: Tensor, cells: float) -> int:
    """Cells between the positions of the lattice that x, y (N,) lie on."""
    steps = torch.cat([torch.diff(torch.unique(torch.round(axis / cells))) for axis in (x, y)])
    return int(steps.min()) if len(steps) else 1


def angle_bins(scene: PlanningScene) -> Tensor:
    """For every angle bin of the image the bin of the map that looks most like it from the camera, (ANGLES,)."""
    angles = torch.arange(ANGLES, device=scene.device) * (math.pi / ANGLES)
    seen = _image_angle(scene, angles)
    apart = (angles[:, None] - seen[None] + math.pi / 2) % math.pi - math.pi / 2
    return apart.abs().argmin(1)


def _image_angle(scene: PlanningScene, angles: Tensor) -> Tensor:
    """Angles (N,) in the image, from +u towards +v, of closing axes at map angles (N,) in the middle of the map's view."""
    pose = torch.as_tensor(scene.map.pose, dtype=torch.float64, device=angles.device)
    rows, columns = scene.map.height.shape
    x = scene.map.corner[0] + scene.map.resolution * columns / 2
    y = scene.map.corner[1] + scene.map.resolution * rows / 2
    middle = pose[:3, :3] @ torch.tensor([x, y, 0.0], dtype=torch.float64, device=angles.device) + pose[:3, 3]
    axes = torch.stack([torch.cos(angles), torch.sin(angles), torch.zeros_like(angles)], 1).to(torch.float64)
    step = 0.01 * axes @ pose[:3, :3].T
    ends = camera_pixels(scene, middle + step) - camera_pixels(scene, middle - step)
    return torch.atan2(ends[:, 1], ends[:, 0]).to(angles.dtype)


def _points(scene: PlanningScene) -> tuple[Tensor, Tensor]:
    """Map x, y (H, W, 2) of the image's readings, and where there are any (H, W) bool."""
    assert scene.observation.depth is not None
    depth = torch.from_numpy(np.ascontiguousarray(scene.observation.depth)).to(scene.device)
    rows, columns = depth.shape
    u = (torch.arange(columns, device=scene.device) - scene.camera.cx) / scene.camera.fx
    v = (torch.arange(rows, device=scene.device) - scene.camera.cy) / scene.camera.fy
    rays = torch.stack([u.expand(rows, columns), v[:, None].expand(rows, columns), torch.ones_like(depth)], -1)
    pose = torch.as_tensor(scene.map.pose, dtype=torch.float32, device=scene.device)
    points = (rays.to(torch.float32) * depth[..., None] - pose[:3, 3]) @ pose[:3, :3]
    return points[..., :2], depth > 0
