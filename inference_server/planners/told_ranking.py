"""Places on a colour picture, the best first, by what heat maps and told grasps say together of them and what is round them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from inference_server.planners.heat_maps import HeatMaps, Peaks, allowed
from inference_server.planners.planner import Item
from inference_server.planners.told_grasps import Teller
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS

TOLD = 24
"""Best local maxima at each height of the tips that are looked at; as many as grasps are wanted, if that is more."""
SQUARE = 4
"""Side of the squares, pixels of the teller's picture (6.7 mm of table), each of which is looked at once."""
BEST = 4
"""All squares round so many of the best are looked at, too."""
NEAR = 6.5
"""Pixels of the teller's picture: what is told of places so near is averaged, for no hand goes quite where it is sent."""
MAPS, HOLDS, FITS, ALWAYS = 0.3, 0.5, 0.4, 0.13
"""Logit of success by the logits of the maps, of holding and of fitting, and what is added: by the best candidates of 800
scenes of validation objects. Those that are chosen promise 0.869 on average, and 0.869 hold."""


def rank_told(peaks: Peaks, maps: HeatMaps, calibrate: Callable[[Tensor], Tensor], teller: Teller, item: Item) -> Peaks:
    """The squares of the best peaks and those next to the best of them, each at its best angle and height of the tips.

    calibrate: of the maps' logits.
    """
    together = lambda places: _together(places, maps, calibrate, teller)  # noqa: E731
    places = _distinct(teller.seen(peaks.pixels[_first(peaks, max(TOLD, item[1].n_grasps))]))
    logits = together(places)
    best = places[logits.flatten(1).amax(1).topk(min(BEST, len(places))).indices]
    more = _next_to(best, places)
    more = more[allowed(teller.sent(more), *item)]
    places, logits = torch.cat([places, more]), torch.cat([logits, together(more)])
    near = (torch.cdist(places, places) < NEAR).float()
    logits = (near @ logits.flatten(1) / near.sum(1, keepdim=True)).view_as(logits)
    logits = (2 * logits + logits.roll(1, 2) + logits.roll(-1, 2)) / 4
    value, which = logits.flatten(1).max(1)
    order = torch.argsort(value, descending=True, stable=True)
    levels, turns = which[order] // ROTATIONS, which[order] % ROTATIONS
    return Peaks(teller.sent(places[order]), turns * math.pi / ROTATIONS, levels, value[order])


def _together(places: Tensor, maps: HeatMaps, calibrate: Callable[[Tensor], Tensor], teller: Teller) -> Tensor:
    """Logits of success (N, T, ROTATIONS) at places (N, 2) of the teller's picture."""
    if not len(places):
        return places.new_zeros(0, len(TIP_HEIGHTS), ROTATIONS)
    holds, fits = teller.tell(places)
    angles = torch.arange(ROTATIONS, device=places.device) * math.pi / ROTATIONS
    return MAPS * calibrate(maps.at_angles(teller.sent(places), angles)) + HOLDS * holds + FITS * fits + ALWAYS


def _first(peaks: Peaks, most: int) -> Tensor:
    """(N,) bool: the first `most` of every height of the tips."""
    rank = torch.stack([(peaks.levels == level).cumsum(0) for level in range(len(TIP_HEIGHTS))])
    return rank.gather(0, peaks.levels[None])[0] <= most


def _distinct(pixels: Tensor) -> Tensor:
    """(M, 2): the mean of those of pixels (N, 2) that lie in each square."""
    _, square = torch.unique((pixels / SQUARE).floor(), dim=0, return_inverse=True)
    count = torch.bincount(square)
    return pixels.new_zeros(len(count), 2).index_add_(0, square, pixels) / count[:, None]


def _next_to(best: Tensor, places: Tensor) -> Tensor:
    """(M, 2): middles of the squares round those of `best` (B, 2) in which none of `places` (N, 2) lies."""
    steps = torch.arange(-1, 2, device=best.device)
    around = (best / SQUARE).floor()[:, None] + torch.cartesian_prod(steps, steps)
    squares = torch.unique(around.flatten(0, 1), dim=0)
    taken = (squares[:, None] == (places / SQUARE).floor()[None]).all(2).any(1)
    return (squares[~taken] + 0.5) * SQUARE
