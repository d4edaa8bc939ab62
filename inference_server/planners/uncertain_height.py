"""Hands for heights that are likely rather than known: how deep the tips go, and how wide the jaw opens."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from inference_server.planners.grip import MARGIN, PALM_GAP
from inference_server.planners.hands import Hands
from inference_server.planners.placement import map_pixels
from inference_server.planners.proposal import FLOOR, LEAST_OVERLAP
from inference_server.planners.relief import ToldRelief
from inference_server.planners.scene import Scene
from inference_server.planners.selection import veto
from inference_server.planners.sweep import finger_height
from shared.networks.relief import below

NEAR = (-0.0035, 0.0, 0.0035)
"""Tips are tried so far from the heights that the maps know, m: near enough for the maps to be right and to learn from it."""
STRAY = 0.01 / 0.010
"""Probability that a metre away from where geometry would have the tips must win."""
UNKNOWN = 0.05
"""Probability that is lost where the maps know nothing."""
PALM_ALONG, PALM_ACROSS = 13, 5
"""Places under the palm that are looked at."""


def well_deep(scene: Scene, told: ToldRelief, hands: Hands, known: Tensor) -> tuple[Hands, Tensor]:
    """The same hands with their tips where they most probably hold something and the palm touches nothing; the probabilities
    (N,), as if all that is under a hand were taller or lower than told together.

    The fingers stay over what is told to be under them. known: heights (T,) of the tips over the table that the maps know.
    """
    gripper, table = scene.request.gripper, scene.table_at(hands.x, hands.y)
    proposed = (hands.tip - table)[:, None]
    least = (finger_height(scene, gripper, hands) + MARGIN - table).clamp(min=FLOOR)[:, None]
    near = (known[:, None] + torch.tensor(NEAR, device=known.device)).reshape(-1)
    tips = torch.cat([proposed, near.expand(len(hands), -1)], 1)
    middle = told.at(map_pixels(scene, hands.x, hands.y, hands.tip + hands.overlap))
    missed = below(middle, tips + LEAST_OVERLAP)
    free = below(_under_palm(scene, told, hands), (tips + gripper.finger_depth - PALM_GAP)[:, None]).amin(1)
    chance = (free - missed).clamp(min=0.0)
    cost = STRAY * (tips - proposed).abs()
    cost[:, 0] = UNKNOWN
    best = torch.where(tips >= torch.minimum(least, proposed), chance - cost, -1.0).argmax(1, keepdim=True)
    return replace(hands, tip=tips.gather(1, best)[:, 0] + table), chance.gather(1, best)[:, 0]


def _under_palm(scene: Scene, told: ToldRelief, hands: Hands) -> Tensor:
    """(N, places, bins): probabilities of heights under the palm; certainly low where the table shows."""
    gripper, device = scene.request.gripper, hands.x.device
    along = torch.linspace(-0.5, 0.5, PALM_ALONG, device=device) * gripper.palm_width
    across = torch.linspace(-0.5, 0.5, PALM_ACROSS, device=device) * gripper.palm_thickness
    along, across = (each.reshape(-1) for each in torch.meshgrid(along, across, indexing="ij"))
    cos, sin = torch.cos(hands.angle)[:, None], torch.sin(hands.angle)[:, None]
    x, y = hands.x[:, None] + along * cos - across * sin, hands.y[:, None] + along * sin + across * cos
    found = told.at(_pixels_of_top(scene, x, y))
    low = torch.zeros_like(found)
    low[..., 1] = 1.0
    return torch.where(found[..., :1] < 0.5, found, low)


def _pixels_of_top(scene: Scene, x: Tensor, y: Tensor) -> Tensor:
    """Pixels (N, K, 2) that see the top of what is at map x, y (N, K)."""
    height = scene.sample(scene.bound, x, y)
    return map_pixels(scene, x.reshape(-1), y.reshape(-1), height.reshape(-1)).reshape(*x.shape, 2)


def wide_open(scene: Scene, hands: Hands) -> Hands:
    """The same hands, with the jaw at its widest where that touches nothing: an error of what is told then costs least."""
    gripper = scene.request.gripper
    wide = replace(hands, width=torch.full_like(hands.width, gripper.max_width), source=torch.arange(len(hands)))
    free = veto(scene, gripper, wide)[0].source
    return replace(hands, width=hands.width.index_fill(0, free, gripper.max_width))
