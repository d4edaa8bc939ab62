"""N candidate grasps and what was measured of them, as tensors of shape (N,)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from shared.networks.hand_frame import HandPose


@dataclass(frozen=True)
class JawCandidates:
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

    def pick(self, which: Tensor) -> JawCandidates:
        """The hands at indices or where a mask (N,) is true; these themselves where it is true for all."""
        if which.dtype == torch.bool:
            if which.all():
                return self
            which = torch.nonzero(which).squeeze(1)
        return _hands(self._measured().index_select(1, which), self.source.index_select(0, which))

    def join(self, other: JawCandidates) -> JawCandidates:
        """These hands followed by the others."""
        return _hands(torch.cat([self._measured(), other._measured()], 1), torch.cat([self.source, other.source]))

    def _measured(self) -> Tensor:
        """All fields but `source` as one (fields, N): to copy them at once is faster than one by one."""
        return torch.stack([getattr(self, name) for name in MEASURED])

    def scored(self, score: Tensor) -> JawCandidates:
        """The same hands with scores (N,)."""
        return replace(self, score=score)

    @property
    def pose(self) -> HandPose:
        return HandPose(self.x, self.y, self.tip, self.angle, self.width)


MEASURED = [field.name for field in fields(JawCandidates) if field.name != "source"]


def _hands(measured: Tensor, source: Tensor) -> JawCandidates:
    """The reverse of `_measured`."""
    return JawCandidates(**dict(zip(MEASURED, measured.unbind(), strict=True)), source=source)
