"""How well a wide open hand fits at a place, at some angle and height of its tips, by what colours tell of heights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from shared.contract import CameraIntrinsics, PlanRequest
from shared.networks.outward import leans, outward_angles, outward_windows
from shared.networks.picture import factor_to, fit
from shared.networks.stature import PIXELS_PER_METRE, SIDE, Stature
from shared.planner import Observation
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS, table_up

STEEP = math.cos(math.radians(15))
"""Least cosine between the optical axis and straight down: heights were learned from cameras that look down."""
AT_ONCE = 128
"""Windows in a batch: what a request for a thousand grasps looks at would not fit into memory together."""
NEAR = 4
"""Places that lie in one square of so many pixels of the network's picture are looked at together."""


def can_tell(request: PlanRequest, heights: Tensor) -> bool:
    """Whether all is known that is needed: a metric camera that looks down, and heights (T,) of the tips that were learned."""
    if request.camera is None or request.table_depth is None or heights.tolist() != torch.tensor(TIP_HEIGHTS).tolist():
        return False
    return bool(-table_up(_base(request))[2] > STEEP)


def fit_logits(
    stature: Stature, observation: Observation, request: PlanRequest, pixels: Tensor, angles: Tensor, levels: Tensor
) -> Tensor:
    """(N,) logits that a hand fits which goes straight down at pixels (N, 2) as (u, v) of the sent image, closing along image
    angles (N,), rad, its tips at the heights TIP_HEIGHTS[levels (N,)]; of a request of which one `can_tell`."""
    camera, rgb = request.camera, observation.rgb
    assert camera is not None
    assert rgb is not None
    device = pixels.device
    picture = fit(rgb, factor_to(rgb.shape[:2], 0, PIXELS_PER_METRE, camera, request.table_depth))
    image = torch.from_numpy(np.ascontiguousarray(picture.image)).to(device).permute(2, 0, 1).float() / 255
    places = picture.to_picture(pixels.cpu().numpy())
    _, squares = np.unique(np.floor(places / NEAR), axis=0, return_inverse=True)
    count = int(squares.max(initial=-1)) + 1
    sums = np.stack([np.bincount(squares, values, count) for values in places.T], 1)
    middles = torch.from_numpy(sums / np.bincount(squares, minlength=count)[:, None]).float().to(device)
    nadir = picture.to_picture(nadir_of(camera, table_up(_base(request)))[None])
    focal = camera.fx * picture.scale[0]
    nadirs = torch.from_numpy(nadir).float().to(device).expand(count, 2)
    told = torch.cat(
        [
            stature(outward_windows(image.expand(len(some), -1, -1, -1), some, straight, SIDE), leans(some, straight, focal))
            for some, straight in zip(middles.split(AT_ONCE), nadirs.split(AT_ONCE), strict=True)
        ]
    )
    which = torch.from_numpy(squares).to(device)
    turned = (angles - outward_angles(middles, nadirs)[which]) * ROTATIONS / math.pi
    low = turned.floor()
    near, far = ((low.long() + step) % ROTATIONS for step in (0, 1))
    return torch.lerp(told[which, levels, near], told[which, levels, far], turned - low)


def nadir_of(camera: CameraIntrinsics, up: np.ndarray) -> np.ndarray:
    """(2,): pixel (u, v) that looks straight down, for a camera that looks down; up (3,): of the table, in its frame."""
    return np.array([camera.fx * up[0] / up[2] + camera.cx, camera.fy * up[1] / up[2] + camera.cy])


def _base(request: PlanRequest) -> np.ndarray | None:
    return None if request.camera_pose is None else np.asarray(request.camera_pose)
