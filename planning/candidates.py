"""What candidates of every gripper have in common: N poses and what was measured of each, picked and joined together.

And which of many to keep, so that they differ: suppression of those near a better one, and the best of every tile.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from shared.grasp_poses import CupPose, HandPose

LEAST_DISTANCE = 0.015
"""Two grasps nearer than this to each other, m, and turned by less than LEAST_TURN, are one grasp."""
LEAST_TURN = math.radians(30)
TILE = 0.016
"""Side of the tiles from which candidates are taken in turn, m."""
TURN_COST = 0.15
"""What a candidate of a tile must be better by, for each that has been taken from that tile before it."""

Record = TypeVar("Record")
Self = TypeVar("Self", bound="Candidates")


@dataclass(frozen=True)
class Candidates:
    """Base of frozen dataclasses of tensors, and of dataclasses of them, whose first axis has the same length N."""

    pose: HandPose | CupPose

    def pick(self: Self, which: Tensor) -> Self:
        """The candidates at indices or where a mask (N,) is true; these themselves where it is true for all."""
        if which.dtype == torch.bool:
            if which.all():
                return self
            which = torch.nonzero(which).squeeze(1)
        return _combined([self], lambda columns: columns[0].index_select(0, which))

    def best_first(self: Self, values: Tensor) -> Self:
        """The candidates sorted by their values (N,)."""
        return self.pick(torch.argsort(values, descending=True, stable=True))

    def distinct(
        self: Self,
        values: Tensor,
        most: int,
        distance: float = LEAST_DISTANCE,
        turn: float = LEAST_TURN,
        least: float = -math.inf,
    ) -> tuple[Self, Tensor]:
        """At most `most` candidates, best first by their values (N,), none of less than `least`, of which none repeats a better
        one as in `distinct_poses`; and their values."""
        which = distinct_poses(self.pose, values, most, distance, turn, least)
        return self.pick(which), values[which]

    def filtered(self: Self, reasons: Mapping[str, Tensor]) -> tuple[Self, Counter[str]]:
        """The candidates that none of the reasons, masks (N,), refuses, and how many each does: the first tried counts."""
        rejected: Counter[str] = Counter()
        keep = torch.ones_like(next(iter(reasons.values())))
        for reason, refused in reasons.items():
            rejected[reason] += int((keep & refused).sum())
            keep &= ~refused
        return self.pick(keep), rejected

    def join(self: Self, *others: Self) -> Self:
        """These candidates followed by the others."""
        return _combined([self, *others], torch.cat)


def _combined(records: Sequence[Record], change: Callable[[list[Tensor]], Tensor]) -> Record:
    """A record of the same kind, each tensor what `change` makes of those of the records; a flag holds that holds for all."""
    kind = type(records[0])
    made = object.__new__(kind)  # what a record derives from its fields is combined as they are, not derived again
    for field in fields(kind):  # type: ignore[arg-type]
        values = [getattr(record, field.name) for record in records]
        if isinstance(values[0], Tensor):
            made.__dict__[field.name] = change(values)
        else:
            made.__dict__[field.name] = all(values) if isinstance(values[0], bool) else _combined(values, change)
    return made


def distinct_poses(
    pose: HandPose | CupPose,
    values: Tensor,
    most: int,
    distance: float = LEAST_DISTANCE,
    turn: float = LEAST_TURN,
    least: float = -math.inf,
) -> Tensor:
    """Indices of at most `most` poses, best first by their values (N,), none of less than `least`, of which none repeats a
    better one.

    Hands are compared in the frame of the better one: by how far their ways in lie apart, since how deep a hand goes follows
    from what it holds, and by the angle of the rotation between them. Half a turn about the approach gives the same jaw. Cups
    are compared by where they lie on the map, since how they lean follows from the surface.
    """
    best_first = torch.argsort(values, descending=True, stable=True)
    order = best_first[values[best_first] >= least].cpu().numpy()
    position, rotation = pose.position.cpu().numpy()[order], pose.rotation.cpu().numpy()[order]
    closing, approach = rotation[:, :, :2].reshape(-1, 6), np.ascontiguousarray(rotation[:, :, 2])
    x, y = np.ascontiguousarray(position[:, :2].T)
    straight = not isinstance(pose, HandPose) or pose.straight  # ways in lie as far apart as places on the map
    # cos(turn) = (trace - 1) / 2; half a turn about the approach changes the sign of the closing axis' and its normal's share.
    least_trace = 1 + 2 * math.cos(turn)
    alive = np.ones(len(position), dtype=bool)
    chosen: list[int] = []
    for index in range(len(position)):
        if not alive[index]:
            continue
        chosen.append(index)
        if len(chosen) == most:
            break
        if straight:
            near = (x - x[index]) ** 2 + (y - y[index]) ** 2 < distance**2
        else:
            offset = position - position[index]
            beside = offset - (offset @ approach[index])[:, None] * approach[index]
            near = (beside**2).sum(1) < distance**2
        if not pose.axisymmetric:
            near &= np.abs(closing @ closing[index]) + approach @ approach[index] > least_trace
        alive &= ~near
    return torch.as_tensor(order[chosen], dtype=torch.int64, device=pose.position.device)


def best_by_tile(values: Tensor, x: Tensor, y: Tensor, most: int) -> Tensor:
    """Indices of the best `most` of values (N,), taken in turn from every tile of the map that their x, y (N,), m, lie in."""
    tile = torch.round(y / TILE) * 4096 + torch.round(x / TILE)
    # Sorted by tile, and within a tile by value: the rank within the tile is the distance from where it starts.
    order = torch.argsort(values, descending=True)
    order = order[torch.argsort(tile[order], stable=True)]
    sorted_tile = tile[order]
    start = torch.ones_like(sorted_tile, dtype=torch.bool)
    start[1:] = sorted_tile[1:] != sorted_tile[:-1]
    place = torch.arange(len(order), device=values.device)
    rank = place - torch.cummax(torch.where(start, place, 0), 0).values if len(order) else place
    key = rank.to(torch.float32) * TURN_COST - values[order]
    return order[torch.argsort(key)[:most]]
