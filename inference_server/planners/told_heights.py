"""How likely tips at some height hold something while the palm touches nothing, by what colours tell of heights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from inference_server.planners.grip import PALM_GAP
from inference_server.planners.proposal import LEAST_OVERLAP
from shared.contract import CameraIntrinsics, PlanRequest
from shared.networks.outward import leans, outward_windows
from shared.networks.picture import factor_to, fit
from shared.networks.stature import PIXELS_PER_METRE, SIDE, Stature, below
from shared.planner import Observation
from shared.table_grasp import table_up

STEEP = math.cos(math.radians(15))
"""Least cosine between the optical axis and straight down."""
NEAR = 5
"""Places that lie in one square of so many pixels of the network's picture are looked at once."""
SURE = 0.01
"""No chance is taken for smaller than this, nor for larger than 1 minus this."""


def chances(stature: Stature, observation: Observation, request: PlanRequest, pixels: Tensor, tips: Tensor) -> Tensor:
    """(N, T) chances of hands that go straight down at pixels (N, 2) as (u, v) of the sent image until their tips are at
    heights `tips` (N, T), m, over the table. The request has a camera that looks towards the table, and a table_depth."""
    camera, gripper, rgb = request.camera, request.gripper, observation.rgb
    assert camera is not None
    assert rgb is not None
    device = pixels.device
    picture = fit(rgb, factor_to(rgb.shape[:2], 0, PIXELS_PER_METRE, camera, request.table_depth))
    image = torch.from_numpy(np.ascontiguousarray(picture.image)).to(device).permute(2, 0, 1).float() / 255
    base = None if request.camera_pose is None else np.asarray(request.camera_pose)
    nadir = picture.to_picture(nadir_of(camera, table_up(base))[None])
    places = picture.to_picture(pixels.cpu().numpy())
    _, squares = np.unique(np.floor(places / NEAR), axis=0, return_inverse=True)
    count = int(squares.max(initial=-1)) + 1
    sums = np.stack([np.bincount(squares, values, count) for values in places.T], 1)
    middles = torch.from_numpy(sums / np.bincount(squares, minlength=count)[:, None]).float().to(device)
    nadirs = torch.from_numpy(nadir).float().to(device).expand(count, 2)
    lean = leans(middles, nadirs, camera.fx * picture.scale[0])
    windows = outward_windows(image.expand(count, -1, -1, -1), middles, nadirs, SIDE)
    shares = stature(windows, lean).softmax(-1)[torch.from_numpy(squares).to(device)]
    free = below(shares[:, 0], tips + gripper.finger_depth - PALM_GAP)
    missed = below(shares[:, 1], tips + LEAST_OVERLAP)
    return (free - missed).clamp(SURE, 1 - SURE)


def can_tell(request: PlanRequest) -> bool:
    """Whether the camera looks down as steeply as those that heights were learned from."""
    base = None if request.camera_pose is None else np.asarray(request.camera_pose)
    return bool(-table_up(base)[2] > STEEP)


def nadir_of(camera: CameraIntrinsics, up: np.ndarray) -> np.ndarray:
    """(2,): pixel (u, v) that looks straight down, for a camera that looks down; up (3,): of the table, in its frame."""
    return np.array([camera.fx * up[0] / up[2] + camera.cx, camera.fy * up[1] / up[2] + camera.cy])
