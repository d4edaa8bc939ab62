"""N candidate grasps and what was measured of them, as tensors of shape (N,)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from shared.networks.hand_frame import HandPose


@dataclass(frozen=True)
class Hands:
    """Grasps in the map frame, metres and radians.

    x, y: midway between the fingertips. tip: height of the tips. angle: of the closing axis, from map x to map y.
    width: opening. grip: distance between the contacts. overlap: height of the object above the tips. lines: share of the
    finger's width that touches, 0 to 1, the worse side. flat: mean gap left between the flat fingers and the object, m.
    slant: run over rise of the gripped sides. turn: angle by which the hand would fit them better. aside: how far the
    middle of the contacts is from that between the fingers. offset: where the middle of the object lies across the
    closing axis, seen from the hand. clearance: free space beyond what a finger needs, the worse side. score: of the analytic
    planner. source: index of the pose that was measured.
    """

    x: Tensor
    y: Tensor
    tip: Tensor
    angle: Tensor
    width: Tensor
    grip: Tensor
    overlap: Tensor
    lines: Tensor
    flat: Tensor
    slant: Tensor
    turn: Tensor
    aside: Tensor
    offset: Tensor
    clearance: Tensor
    score: Tensor
    source: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def pick(self, which: Tensor) -> Hands:
        """The hands at indices or where a mask (N,) is true; these themselves where it is true for all."""
        if which.dtype == torch.bool:
            if which.all():
                return self
            which = torch.nonzero(which).squeeze(1)
        measured = torch.stack([getattr(self, name) for name in MEASURED])  # one copy instead of one per field
        picked = dict(zip(MEASURED, measured.index_select(1, which).unbind(), strict=True))
        return Hands(**picked, source=self.source.index_select(0, which))

    def join(self, other: Hands) -> Hands:
        """These hands followed by the others."""
        return Hands(*(torch.cat([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self)))

    def scored(self, score: Tensor) -> Hands:
        """The same hands with scores (N,)."""
        return replace(self, score=score)

    @property
    def pose(self) -> HandPose:
        return HandPose(self.x, self.y, self.tip, self.angle, self.width)


MEASURED = [field.name for field in fields(Hands) if field.name != "source"]
"""All fields but `source`, which is a whole number: real numbers of one type."""
