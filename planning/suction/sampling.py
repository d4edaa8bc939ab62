"""Where a cup could seal: every raised cell of a coarse grid, the promising ones closely. Tolerant: `veto` decides."""

import math
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from planning.candidates import best_by_tile
from planning.limits import NOISE_DEVIATIONS
from planning.scene.projection import map_pixels, map_points
from planning.scene.region import outside_region
from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates
from planning.suction.seal import centred, lay_cups

STRIDE = 2
"""Cells between the centres that are tried."""
MOST_CENTRES = 1600
"""More raised cells than this are tried on a wider lattice, so that a full picture costs no more than a full table."""
LEAST_RISE = 0.004
"""A contact lies at least this far above the table, m."""
HOPELESS_CURVE = 2.0
"""A first look leaves out what asks more of the lip than so many times what it takes up."""
HOPELESS_LOSS = 0.25
"""It leaves out cups of which a larger share lies over an edge."""
HOPELESS_UNSEEN = 0.4
"""It leaves out cups of whose rim a larger share has no reading."""
CENTRINGS = 3
"""Times that the better contacts are moved towards the middle."""


def propose(
    scene: PlanningScene, rate: Callable[[SuctionCandidates], Tensor], most: int, refined: int
) -> tuple[SuctionCandidates, Counter[str]]:
    """At most about `most` cups, the best in every part of the scene by `rate`, and counted rejections.

    The best `refined` are also tried where they lie in the middle between the ends of their surface.
    """
    rejected: Counter[str] = Counter()
    x, y = centres(scene, rejected)
    radius = scene.gripper.cup_radius
    coarse = lay_cups(scene, x, y, close=False)
    coarse, hopeless = coarse.filtered(
        {
            "no_depth": coarse.unseen > HOPELESS_UNSEEN,
            "over_edge": coarse.lost > HOPELESS_LOSS,
            "too_curved": coarse.curved > HOPELESS_CURVE,
        }
    )
    chosen = best_by_tile(rate(coarse), coarse.x, coarse.y, most)
    cups = lay_cups(scene, coarse.x[chosen], coarse.y[chosen], close=True)
    best = cups
    for _ in range(CENTRINGS):
        best = best.pick(torch.argsort(rate(best), descending=True)[:refined])
        best = lay_cups(scene, *centred(radius, best), close=True)
        cups = cups.join(best)
    return cups, rejected + hopeless


def centres(scene: PlanningScene, rejected: Counter[str]) -> tuple[Tensor, Tensor]:
    """Map x, y (N,) of every centre to try."""
    raised = scene.above_table >= least_rise(scene)
    if scene.goal is not None:
        rejected["not_goal"] += int((raised & ~scene.goal)[::STRIDE, ::STRIDE].sum())
        raised = raised & scene.goal
    stride = max(STRIDE, math.ceil(math.sqrt(int(raised.sum()) / MOST_CENTRES)))
    lattice, known = raised[::stride, ::stride], scene.known[::stride, ::stride]
    rejected["below_table"] += int((known & ~lattice).sum())
    rejected["no_depth"] += int((~known).sum())
    rows, columns = (stride * index for index in torch.nonzero(lattice, as_tuple=True))
    cells = scene.map.resolution
    x, y = scene.map.corner[0] + cells * columns, scene.map.corner[1] + cells * rows
    allowed = torch.ones_like(x, dtype=torch.bool)
    pixels = map_pixels(scene, map_points(x, y, scene.upper_bound[rows, columns]))
    for reason, outside in outside_region(scene, pixels).items():
        rejected[reason] += int((allowed & outside).sum())
        allowed &= ~outside
    return x[allowed], y[allowed]


def least_rise(scene: PlanningScene) -> float:
    """What a reading must rise over the table so that it is none of the table's, m."""
    return max(LEAST_RISE, NOISE_DEVIATIONS * scene.map.table_noise)
