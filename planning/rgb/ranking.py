"""Places on a colour picture, the best first, by what heat maps and told grasps say together of them and what is round them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from planning.base import PlanItem
from planning.rgb.maps import Peaks, QualityMaps, allowed
from planning.rgb.refinement import GraspRefiner
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


def rank_refined(
    peaks: Peaks, maps: QualityMaps, calibrate: Callable[[Tensor], Tensor], teller: GraspRefiner, item: PlanItem
) -> Peaks:
    """The squares of the best peaks and those next to the best of them, each at its best angle and height of the tips.

    calibrate: of the maps' logits.
    """
    together = lambda pixels: _together(pixels, maps, calibrate, teller)  # noqa: E731
    pixels = _distinct(peaks.pixels[_first(peaks, max(TOLD, item[1].n_grasps))], teller, item)
    logits = together(pixels)
    best = pixels[logits.flatten(1).amax(1).topk(min(BEST, len(pixels))).indices]
    more = _next_to(best, pixels, teller)
    more = more[allowed(more, *item)]
    pixels, logits = torch.cat([pixels, more]), torch.cat([logits, together(more)])
    places = teller.seen(pixels)
    near = (torch.cdist(places, places) < NEAR).float()
    logits = (near @ logits.flatten(1) / near.sum(1, keepdim=True)).view_as(logits)
    logits = (2 * logits + logits.roll(1, 2) + logits.roll(-1, 2)) / 4
    value, which = logits.flatten(1).max(1)
    order = torch.argsort(value, descending=True, stable=True)
    levels, turns = which[order] // ROTATIONS, which[order] % ROTATIONS
    return Peaks(pixels[order], turns * math.pi / ROTATIONS, levels, value[order])


def _together(pixels: Tensor, maps: QualityMaps, calibrate: Callable[[Tensor], Tensor], teller: GraspRefiner) -> Tensor:
    """Logits of success (N, T, ROTATIONS) at pixels (N, 2) of the sent image."""
    if not len(pixels):
        return pixels.new_zeros(0, len(TIP_HEIGHTS), ROTATIONS)
    holds, fits = teller.tell(teller.seen(pixels))
    angles = torch.arange(ROTATIONS, device=pixels.device) * math.pi / ROTATIONS
    return MAPS * calibrate(maps.at_angles(pixels, angles)) + HOLDS * holds + FITS * fits + ALWAYS


def _first(peaks: Peaks, most: int) -> Tensor:
    """(N,) bool: the first `most` of every height of the tips."""
    rank = torch.stack([(peaks.levels == level).cumsum(0) for level in range(len(TIP_HEIGHTS))])
    return rank.gather(0, peaks.levels[None])[0] <= most


def _distinct(pixels: Tensor, teller: GraspRefiner, item: PlanItem) -> Tensor:
    """(M, 2): the mean of those of pixels (N, 2) of the sent image that lie in each square, or the first of them where that is
    not allowed."""
    _, square = torch.unique(_squares(pixels, teller), dim=0, return_inverse=True)
    count = torch.bincount(square)
    mean = pixels.new_zeros(len(count), 2).index_add_(0, square, pixels) / count[:, None]
    numbers = torch.arange(len(pixels), device=pixels.device)
    first = torch.full_like(count, len(pixels)).scatter_reduce_(0, square, numbers, "amin")
    return torch.where(allowed(mean, *item)[:, None], mean, pixels[first])


def _next_to(best: Tensor, pixels: Tensor, teller: GraspRefiner) -> Tensor:
    """(M, 2): middles, in the sent image, of the squares round those of `best` (B, 2) in which none of `pixels` (N, 2) lies."""
    steps = torch.arange(-1, 2, device=best.device)
    around = _squares(best, teller)[:, None] + torch.cartesian_prod(steps, steps)
    squares = torch.unique(around.flatten(0, 1), dim=0)
    taken = (squares[:, None] == _squares(pixels, teller)[None]).all(2).any(1)
    return teller.sent((squares[~taken] + 0.5) * SQUARE)


def _squares(pixels: Tensor, teller: GraspRefiner) -> Tensor:
    """(N, 2): column and row of the square in which each of pixels (N, 2) of the sent image lies."""
    return (teller.seen(pixels) / SQUARE).floor()
