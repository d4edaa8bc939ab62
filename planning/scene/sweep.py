"""The way in: what a part of a gripper would hit on a straight approach over the height map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from planning.scene.scene import PlanningScene

LENGTH = 0.30
"""Straight approach that must be free, m."""
GROWTH = 1.25
"""By what the distance of samples along the approach grows: what leans out far only meets things that are tall, and those are
wide."""


@dataclass(frozen=True)
class Face:
    """Samples of the leading face of N parts, in the map: x, y, height (N, ...), m.

    beside: as for `PlanningScene.cells`, for faces whose samples form rows and columns.
    """

    x: Tensor
    y: Tensor
    height: Tensor
    beside: tuple[Tensor, Tensor] | None = None


def overlap(
    scene: PlanningScene, layer_at: Callable[[float], Tensor], face: Face, approach: Tensor, start: float, step: float
) -> Tensor:
    """How far (N,) the highest thing in the way of each part reaches into it, m; negative: the least free height.

    face: drawn back from where the part comes to rest by `start` and more, m, against its approach (N, 3), in steps that begin
    with `step`. layer_at: heights (H, W) that may not be entered by what is drawn back so far, m.

    The map holds one height per cell with everything below it filled. A part that comes straight down can only be entered from
    below, so its leading face alone tells, and the steps collapse to the first. One that leans enters cells beside it on its
    way: its face is followed until all of it is above whatever stands on the map.
    """
    ax, ay, az = (axis.reshape(-1, *(1,) * (face.x.ndim - 1)) for axis in approach.unbind(1))
    straight = not bool(approach[:, :2].any())
    top = torch.inf if straight else float(scene.upper_bound.max())
    around = tuple(range(1, face.x.ndim))
    deepest = torch.full_like(approach[:, 0], -torch.inf)
    back = start
    while True:
        level = face.height + back * az
        found = scene.sample(layer_at(back), face.x - back * ax, face.y - back * ay, face.beside)
        deepest = torch.maximum(deepest, (found - level).amax(around))
        back, step = back + step, step * GROWTH
        if straight or back > LENGTH or bool((level > top).all()):
            return deepest
