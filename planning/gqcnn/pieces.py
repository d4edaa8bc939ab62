"""Pieces of a picture, each one question to a fully convolutional network, so that other work goes between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch import Tensor, nn

from planning.base import PlannerError
from planning.batched_inference import yield_between_layers
from shared.networks.fc_gqcnn import FCGQCNN, convert
from shared.networks.gqcnn import GQCNN
from shared.networks.gqcnn4 import GQCNN4

MOST_PIECES = 40
"""So many of the largest pieces are asked about, or more that are smaller; a table full of things takes half of them."""

Box = tuple[slice, slice]


@dataclass(frozen=True)
class Piece:
    """Elements `box` of the maps under one turn at some of their depths, of which those in `wanted` (h, w) are asked for."""

    turn: int
    levels: slice
    box: Box
    wanted: Tensor


@dataclass(frozen=True)
class Form:
    """A network in its fully convolutional form: pixels between outputs, side of the window that one sees, angles per output
    (0: one, along the rows), whether all depths share a pass, the most pixels of a piece, 50 to 250 ms on a core, and how many
    pixels cost as much as one output."""

    network: GQCNN4 | FCGQCNN
    stride: int
    window: int
    bins: int
    shared: bool
    piece: int
    output: int

    def size(self, box: Box) -> tuple[int, int]:
        """Rows and columns of the picture that elements in a box see."""
        rows, columns = (self.stride * (side.stop - side.start - 1) + self.window for side in box)
        return rows, columns

    def cost(self, piece: Piece) -> int:
        """Of a piece, in pixels."""
        return math.prod(self.size(piece.box)) + self.output * int(piece.wanted.sum())

    def logits(self, image: Tensor, depths: Tensor, wanted: Tensor) -> Tensor:
        """Logits (1, A, D, W) of one picture (1, 1, H, W) at depths (1, D), of the W elements in `wanted` (h, w)."""
        if isinstance(self.network, FCGQCNN):
            found = self.network(image, depths[0] if self.network.takes_gripper_depth else None)[None]
        elif not self.shared:
            return self.network.sparse(image, depths[0], wanted).T[None, :, None]
        else:
            found = self.network.merge(self.network.features(image), depths[0]).transpose(0, 1)
        chosen: Tensor = found[None, :, :, wanted]
        return chosen.expand(-1, -1, depths.shape[1], -1)


def form_of(network: nn.Module) -> Form:
    """Raises PlannerError 422 for a network that has none."""
    if isinstance(network, GQCNN4):
        shared = network.depth_mode != "im_depth_sub"
        return Form(
            network, network.stride, network.crop_size, network.angular_bins, shared, piece=160_000, output=0 if shared else 45
        )
    if isinstance(network, GQCNN):
        dense = _fully_convolutional(network)
        return Form(dense, dense.stride, dense.window, 0, shared=True, piece=10_000, output=0)
    raise PlannerError(422, "not_convolutional", f"{type(network).__name__} has no fully convolutional form; ask for gqcnn")


@lru_cache(maxsize=2)
def _fully_convolutional(network: GQCNN) -> FCGQCNN:
    """The same weights, made once per loaded network."""
    device = network.fc.weight.device
    pose = network.pc1
    dense = FCGQCNN(
        gripper_depth=network.takes_gripper_depth,
        padding=network.padding,
        mean=network.mean,
        std=network.std,
        depth_mean=pose.mean if pose else 0.0,
        depth_std=pose.std if pose else 1.0,
        lrn_size=network.lrn.size,
        lrn_alpha=network.lrn.alpha,
    )
    dense.load_state_dict(convert(network.state_dict()))
    yield_between_layers(dense)
    return dense.to(device).eval()


def cut(wanted: np.ndarray, form: Form) -> list[Box]:
    """Boxes of elements (h, w) bool that hold all that are wanted, apart where that takes fewer pixels or it must be."""
    filled = [np.flatnonzero(wanted.any(axis)) for axis in (1, 0)]
    if not len(filled[0]):
        return []
    box = slice(filled[0][0], filled[0][-1] + 1), slice(filled[1][0], filled[1][-1] + 1)
    whole, longer = math.prod(form.size(box)), int(len(filled[1]) > len(filled[0]))
    gaps = [np.diff(each, prepend=each[0]) for each in filled]
    axis = int(gaps[1].max() > gaps[0].max())
    at = filled[axis][int(gaps[axis].argmax())]
    if gaps[axis].max() * form.stride < form.window / 2:  # pieces overlap by a window: nothing is won
        if whole <= form.piece or len(filled[longer]) < 2:
            return [box]
        axis, at = longer, filled[longer][len(filled[longer]) // 2]
    first, second = np.split(wanted, [at], axis)
    down, right = (0, at) if axis else (at, 0)
    parts = cut(first, form)
    for rows, columns in cut(second, form):
        parts.append((slice(rows.start + down, rows.stop + down), slice(columns.start + right, columns.stop + right)))
    return parts if whole > form.piece or sum(math.prod(form.size(each)) for each in parts) < whole else [box]


def affordable(pieces: list[Piece], form: Form) -> list[Piece]:
    """Those with the most places for what they cost, up to MOST_PIECES times the largest in all."""
    dense = sorted(pieces, key=lambda piece: -int(piece.wanted.sum()) / form.cost(piece))
    total = np.cumsum([form.cost(piece) for piece in dense])
    return [piece for piece, pixels in zip(dense, total, strict=True) if pixels <= MOST_PIECES * form.piece]
