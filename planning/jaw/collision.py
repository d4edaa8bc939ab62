"""The way in: what an open hand would hit on a straight approach over the height map.

A hand that comes down along the map's z hits what rises above its parts' lowest faces, so the swept volume reduces to the
highest cell under each finger and under the palm.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from grasp_client.contract import Gripper
from planning.jaw.candidates import JawCandidates
from planning.limits import PADDING
from planning.scene.scene import BLUNT, PlanningScene

DENSE = 0.0014
"""Samples this near to each other meet every 2 mm cell, however the grid is turned, m."""


def finger_height(scene: PlanningScene, gripper: Gripper, hands: JawCandidates) -> Tensor:
    """Greatest possible height under the padded open fingers of N hands, (N,), m; FORBIDDEN where anything may be."""
    thickness, width = gripper.finger_thickness + 2 * PADDING, gripper.finger_width + 2 * PADDING
    along, across = _lattice(thickness, DENSE, hands.x.device), _lattice(width, DENSE, hands.x.device)
    from_face = 0.5 * hands.width - PADDING + thickness / 2
    highest = []
    for sign in (-1, 1):
        cells = _cells(scene, hands.x, hands.y, hands.angle, sign * from_face[:, None] + along, across)
        highest.append(scene.read(scene.guarded, cells).amax((1, 2)))
    return torch.maximum(highest[0], highest[1])


def palm_height(scene: PlanningScene, gripper: Gripper, x: Tensor, y: Tensor, angle: Tensor) -> Tensor:
    """Greatest possible height under the palms at N poses, (N,), m; up to a cell beyond the palm's edge counts."""
    # Samples within `reach` of every point of the palm, however it is turned: that far apart and that far from its edge.
    reach = BLUNT * scene.map.resolution
    inset, step = 1.3 * reach, 1.3 * reach
    along = _lattice(max(gripper.palm_width - inset, inset), step, x.device)
    across = _lattice(max(gripper.palm_thickness - inset, inset), step, x.device)
    cells = _cells(scene, x, y, angle, along.expand(len(x), -1), across)
    return scene.read(scene.blunt, cells).amax((1, 2))


@lru_cache(maxsize=256)
def _lattice(length: float, step: float, device: torch.device) -> Tensor:
    """Positions from -length/2 to length/2, at most a step apart."""
    return torch.linspace(-length / 2, length / 2, max(2, math.ceil(length / step) + 1), device=device)


def _cells(scene: PlanningScene, x: Tensor, y: Tensor, angle: Tensor, along: Tensor, across: Tensor) -> Tensor:
    """Cells (N, across, along) under hand positions: along (N, A) the closing axis and across (B,) it."""
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    along, across = along[:, None, :], across[None, :, None]
    return scene.cells(x[:, None, None] + along * cos, y[:, None, None] + along * sin, (-across * sin, across * cos))
