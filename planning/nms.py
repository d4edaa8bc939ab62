"""Which of many candidates to keep, so that they differ: suppression of those near a better one, and the best of every tile."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from planning.jaw.candidates import JawCandidates
from planning.suction.candidates import SuctionCandidates

LEAST_DISTANCE = 0.015
"""Two grasps nearer than this to each other, m, and turned by less than LEAST_TURN, are one grasp."""
LEAST_TURN = math.radians(30)
TILE = 0.016
"""Side of the tiles from which candidates are taken in turn, m."""
TURN_COST = 0.15
"""What a candidate of a tile must be better by, for each that has been taken from that tile before it."""


def distinct(
    hands: JawCandidates | SuctionCandidates, most: int, distance: float = LEAST_DISTANCE, turn: float = LEAST_TURN
) -> Tensor:
    """Indices of at most `most` hands or cups, which are sorted best first, of which none repeats a better one."""
    x, y, angle = (values.detach().cpu().numpy() for values in (hands.x, hands.y, hands.angle))
    alive = np.ones(len(x), dtype=bool)
    chosen: list[int] = []
    for index in range(len(x)):
        if not alive[index]:
            continue
        chosen.append(index)
        if len(chosen) == most:
            break
        near = (x - x[index]) ** 2 + (y - y[index]) ** 2 < distance**2
        between = np.abs((angle - angle[index] + math.pi / 2) % math.pi - math.pi / 2)
        alive &= ~(near & (between < turn))
    return torch.as_tensor(chosen, dtype=torch.int64, device=hands.x.device)


def best_by_tile(values: Tensor, x: Tensor, y: Tensor, most: int) -> Tensor:
    """Indices of the best `most` of values (N,), taken in turn from every tile of the map that their x, y (N,), m, lie in."""
    tile = torch.round(y / TILE) * 4096 + torch.round(x / TILE)
    order = torch.argsort(values, descending=True)
    order = order[torch.argsort(tile[order], stable=True)]
    sorted_tile = tile[order]
    start = torch.ones_like(sorted_tile, dtype=torch.bool)
    start[1:] = sorted_tile[1:] != sorted_tile[:-1]
    place = torch.arange(len(order), device=values.device)
    rank = place - torch.cummax(torch.where(start, place, 0), 0).values if len(order) else place
    key = rank.to(torch.float32) * TURN_COST - values[order]
    return order[torch.argsort(key)[:most]]
