"""Which thing every cell of a height map belongs to, as far as heights tell, and where its middle lies."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

RISE = 0.004
"""What rises so far over the table belongs to a thing, m."""
CLIFF = 0.006
"""Where heights within a cell's neighbours differ by more, one thing may end and another begin, m."""
ONE_THING = 0.050
"""What is connected is taken for one thing up to this root mean square distance of its cells from its middle, m; more is parted
at its cliffs. Middles found so are off by 2.3 mm on average with one object, in piles by about 7 mm."""
LONG_THING = 0.070
"""As ONE_THING, of what is narrow, m."""
NARROW = 0.013
"""Root mean square distance across its longer axis, at most, of what is narrow, m."""
GROWN = 5
"""Side of the square by which parts grow over the cliffs round them, cells."""


@dataclass(frozen=True)
class Things:
    """number (H, W) int64: of the thing that a cell belongs to, 0: of none. x, y (things + 1,): middle of the volume of each
    between what is seen of it and the table, m in the map."""

    number: Tensor
    x: Tensor
    y: Tensor

    def to_middle(self, cell: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """From map x, y (N,) to the middle of what the cells (N,), counted through the rows, belong to, (N,) each, m; nothing
        over no thing."""
        found = self.number.to(x.device).reshape(-1)[cell]
        there = found > 0
        return (
            torch.where(there, self.x.to(x.device)[found] - x, 0.0),
            torch.where(there, self.y.to(x.device)[found] - y, 0.0),
        )


def find_things(rise: np.ndarray, known: np.ndarray, corner: tuple[float, float], resolution: float) -> Things:
    """Things of a map (H, W): its heights over the table, m, where readings fell, and where its cells lie."""
    raised = rise > RISE
    volume = rise * known
    whole, count, middle, spread = _pieces(raised, volume)
    across, size = spread.min(1) * resolution, np.hypot(*spread.T) * resolution
    crowded = np.flatnonzero(size > np.where(across < NARROW, LONG_THING, ONE_THING))
    if len(crowded):
        step = cv2.dilate(rise, np.ones((3, 3), np.uint8)) - cv2.erode(rise, np.ones((3, 3), np.uint8))
        parts, _, centre, _ = _pieces(raised & (step < CLIFF), volume)
        grown = cv2.dilate(parts.astype(np.float32), np.ones((GROWN, GROWN), np.uint8)).astype(np.int64)
        parts = np.where(parts > 0, parts, grown)
        parted = np.isin(whole, crowded) & (parts > 0)
        whole = np.where(parted, parts + count - 1, whole)
        middle = np.concatenate([middle, centre[1:]])
    x, y = (
        torch.from_numpy(np.asarray(first + resolution * places, np.float32))
        for first, places in zip(corner, middle.T, strict=True)
    )
    return Things(torch.from_numpy(whole.astype(np.int64)), x, y)


def _pieces(where: np.ndarray, volume: np.ndarray) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """Connected pieces of cells: their numbers (H, W) and count with the rest, which is 0; the middle of the volume of each as
    column and row (count, 2), and the root mean square distances (count, 2) of its cells along its axes, in cells."""
    count, number = cv2.connectedComponents(where.astype(np.uint8))
    row, column = np.nonzero(number)
    piece, weight = number[row, column], volume[row, column] + 1e-9
    total = np.maximum(np.bincount(piece, weight, count), 1e-12)
    middle = np.stack([np.bincount(piece, weight * each, count) / total for each in (column, row)], 1)
    x, y = column - middle[piece, 0], row - middle[piece, 1]
    cells = np.maximum(np.bincount(piece, minlength=count), 1)
    xx, xy, yy = (np.bincount(piece, each, count) / cells for each in (x * x, x * y, y * y))
    half, apart = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    spread = np.sqrt(np.maximum(np.stack([half + apart, half - apart], 1), 0))
    return number.astype(np.int64), count, middle, spread
