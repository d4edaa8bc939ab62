"""Places on a colour picture, the best first: heat maps and refined grasps rank them together, and what is round them."""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields

import torch
from torch import Tensor

from planning.base import PlanItem
from planning.rgb.maps import Peaks, QualityMaps, allowed
from planning.rgb.refinement import GraspRefiner, adjusted
from planning.rgb.unlike_table import Things
from shared.networks.height_from_rgb import BINS
from shared.table_grasp import ROTATIONS

REFINED = 24
"""Best local maxima at each height of the tips that are looked at; as many as grasps are wanted, if that is more."""
SQUARE = 4
"""Side of the squares, pixels of the refiner's picture (6.7 mm of table), each of which is looked at once."""
BEST = 4
"""All squares round so many of the best are looked at, too."""
NEAR = 6.5
"""Pixels of the refiner's picture: logits of places so near is averaged, for no hand goes quite where it is sent."""
THINGS = 0.7
"""Weight of the logit that a thing is seen there, beside the maps' alone."""
PROPOSED = 16
"""Places of things that are looked at."""
TEMPERED = (0.87, -0.03)
"""Slope and intercept of high logits as they are promised, from `benchmarks.colour_score`: of the best grasps of 1,000 scenes
of validation objects, half plain and half photographic, 0.77 and 0.69 held, 0.75 and 0.71 are predicted to. Low ones, where
little looks like a thing, stay."""
MAPS_TEMPERED = (0.39, -0.35)
"""The same of what the maps alone say, of 180 such scenes."""


@dataclass(frozen=True)
class RankWeights:
    """Weights of the logits that make up that of success: of the maps, of holding, of fitting, and that a thing is seen there;
    and what is added."""

    maps: float
    holds: float
    fits: float
    things: float
    intercept: float


RANK_WEIGHTS = RankWeights(maps=0.44, holds=0.20, fits=0.79, things=0.13, intercept=0.39)
"""From `benchmarks.colour_score`, 4,000 grasps in the same scenes."""


@dataclass(frozen=True)
class RgbCandidates:
    """Places (N, 2) as (u, v) of the sent image, at each of T heights of the tips and ROTATIONS angles. terms (4, N, T,
    ROTATIONS): what the weights of `RankWeights` multiply, in their order. highest (N, 2, BINS): logits of the
    highest points. near (N, N): share of each other place in what a place is taken for, since no hand goes quite where it
    is sent."""

    pixels: Tensor
    terms: Tensor
    highest: Tensor
    near: Tensor

    def logits(self) -> Tensor:
        """Of success, (N, T, ROTATIONS)."""
        return self.averaged(_weighted(self.terms))

    def averaged(self, values: Tensor) -> Tensor:
        """values (..., N, T, ROTATIONS), each with those of near places and of the two next angles."""
        together = (self.near @ values.flatten(-2)).view_as(values)
        return (2 * together + together.roll(1, -1) + together.roll(-1, -1)) / 4


def candidates_of(
    peaks: Peaks,
    maps: QualityMaps,
    calibrate: Callable[[Tensor], Tensor],
    refiner: GraspRefiner,
    things: Things,
    item: PlanItem,
) -> RgbCandidates:
    """The squares of the best peaks, of the likeliest things and those next to the best of them.

    calibrate: of the maps' logits.
    """
    first = peaks.pixels[_first(peaks, len(maps.logits), max(REFINED, item[1].n_grasps))]
    places = things.places[allowed(things.places, *item)][:PROPOSED].to(first.device)
    pixels = _distinct(torch.cat([first, places]), refiner, item)
    terms, highest = _told(pixels, maps, calibrate, refiner, things)
    likely = _weighted(terms).flatten(1).amax(1)
    more = _next_to(pixels[likely.topk(min(BEST, len(likely))).indices], pixels, refiner)
    more = more[allowed(more, *item)]
    beside = _told(more, maps, calibrate, refiner, things)
    pixels = torch.cat([pixels, more])
    places = refiner.seen(pixels)
    near = (torch.cdist(places, places) < NEAR).float()
    near = near / near.sum(1, keepdim=True)
    return RgbCandidates(pixels, torch.cat([terms, beside[0]], 1), torch.cat([highest, beside[1]]), near)


def rank_refined(candidates: RgbCandidates, heights: Tensor, finger_depth: float) -> tuple[Peaks, Tensor]:
    """Each candidate at its best angle and height of the tips, of `heights` (T,), m; and the heights (N,) to which those go."""
    value, which = candidates.logits().flatten(1).max(1)
    order = torch.argsort(value, descending=True, stable=True)
    levels, turns = which[order] // ROTATIONS, which[order] % ROTATIONS
    tips = adjusted(heights[levels], candidates.highest[order], finger_depth)
    return Peaks(candidates.pixels[order], turns * math.pi / ROTATIONS, levels, tempered(value[order], TEMPERED)), tips


def rank(peaks: Peaks, maps: QualityMaps, calibrate: Callable[[Tensor], Tensor], things: Things, item: PlanItem) -> Peaks:
    """The peaks and the likeliest things, these at the angle and height of the tips that the maps like best about the
    narrowest way across them."""
    keep = allowed(things.places, *item)
    places, across = (each[keep][:PROPOSED].to(peaks.pixels.device) for each in (things.places, things.angles))
    turns = torch.arange(-1, 2, device=across.device) * math.pi / ROTATIONS
    each = [maps.at_angles(place[None], angle + turns)[0] for place, angle in zip(places, across, strict=True)]
    best = torch.stack([one.flatten().max(0).indices for one in each]) if each else across.long()
    own = Peaks(
        places,
        across + turns[best % len(turns)],
        best // len(turns),
        torch.stack([one.max() for one in each]) if each else across,
    )
    pixels, angles, levels, logits = (
        torch.cat([getattr(peaks, name), getattr(own, name)]) for name in ("pixels", "angles", "levels", "logits")
    )
    logits = calibrate(logits) + THINGS * things.logits_at(pixels)
    order = torch.argsort(logits, descending=True, stable=True)
    return Peaks(pixels[order], angles[order], levels[order], tempered(logits[order], MAPS_TEMPERED))


def tempered(logits: Tensor, by: tuple[float, float]) -> Tensor:
    """Logits (N,) of what is promised, in the same order. by: slope and intercept of high ones."""
    return torch.minimum(logits, by[0] * logits + by[1])


def _weighted(terms: Tensor) -> Tensor:
    """Logits of success, (N, T, ROTATIONS)."""
    *each, intercept = astuple(RANK_WEIGHTS)
    logits: Tensor = torch.tensordot(terms.new_tensor(each), terms, 1) + intercept
    return logits


def _told(
    pixels: Tensor, maps: QualityMaps, calibrate: Callable[[Tensor], Tensor], refiner: GraspRefiner, things: Things
) -> tuple[Tensor, Tensor]:
    """Terms (4, N, T, ROTATIONS) of pixels (N, 2) of the sent image, and logits (N, 2, BINS) of the highest points there."""
    if not len(pixels):
        terms = len(fields(RankWeights)) - 1
        return pixels.new_zeros(terms, 0, len(maps.logits), ROTATIONS), pixels.new_zeros(0, 2, BINS)
    holds, fits, highest = refiner.refine(refiner.seen(pixels))
    angles = torch.arange(ROTATIONS, device=pixels.device) * math.pi / ROTATIONS
    seen = things.logits_at(pixels)[:, None, None].expand_as(holds)
    return torch.stack([calibrate(maps.at_angles(pixels, angles)), holds, fits, seen]), highest


def _first(peaks: Peaks, heights: int, most: int) -> Tensor:
    """(N,) bool: the first `most` of every of so many heights of the tips."""
    rank = torch.stack([(peaks.levels == level).cumsum(0) for level in range(heights)])
    return rank.gather(0, peaks.levels[None])[0] <= most


def _distinct(pixels: Tensor, refiner: GraspRefiner, item: PlanItem) -> Tensor:
    """(M, 2): the mean of those of pixels (N, 2) of the sent image that lie in each square, or the first of them where that is
    not allowed."""
    _, square = torch.unique(_squares(pixels, refiner), dim=0, return_inverse=True)
    count = torch.bincount(square)
    mean = pixels.new_zeros(len(count), 2).index_add_(0, square, pixels) / count[:, None]
    numbers = torch.arange(len(pixels), device=pixels.device)
    first = torch.full_like(count, len(pixels)).scatter_reduce_(0, square, numbers, "amin")
    return torch.where(allowed(mean, *item)[:, None], mean, pixels[first])


def _next_to(best: Tensor, pixels: Tensor, refiner: GraspRefiner) -> Tensor:
    """(M, 2): middles, in the sent image, of the squares round those of `best` (B, 2) in which none of `pixels` (N, 2) lies."""
    steps = torch.arange(-1, 2, device=best.device)
    around = _squares(best, refiner)[:, None] + torch.cartesian_prod(steps, steps)
    squares = torch.unique(around.flatten(0, 1), dim=0)
    taken = (squares[:, None] == _squares(pixels, refiner)[None]).all(2).any(1)
    return refiner.sent((squares[~taken] + 0.5) * SQUARE)


def _squares(pixels: Tensor, refiner: GraspRefiner) -> Tensor:
    """(N, 2): column and row of the square in which each of pixels (N, 2) of the sent image lies."""
    return (refiner.seen(pixels) / SQUARE).floor()
