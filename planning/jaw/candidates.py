"""N candidate grasps of a jaw and what was measured of them, as tensors of shape (N,)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from planning.candidates import Candidates
from shared.grasp_poses import HandPose


@dataclass(frozen=True)
class JawCandidates(Candidates):
    """Grasps in the map frame, metres and radians.

    pose: of the open hand. grip: distance between the contacts. overlap: height of the object above the tips. lines: share of
    the finger's width that touches, 0 to 1, the worse side. flat: mean gap left between the flat fingers and the object, m.
    slant: run over rise of the gripped sides. turn: angle by which the hand would fit them better. aside: how far the
    middle of the contacts is from that between the fingers. offset: where the middle of the object lies across the
    closing axis, seen from the hand. clearance: free space beyond what a finger needs, the worse side. score: of the analytic
    planner. source: index of the pose that was measured.
    """

    pose: HandPose
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
        return len(self.score)

    @property
    def x(self) -> Tensor:
        return self.pose.x

    @property
    def y(self) -> Tensor:
        return self.pose.y

    @property
    def tip(self) -> Tensor:
        """Heights midway between the fingertips."""
        return self.pose.tip

    @property
    def angle(self) -> Tensor:
        """Of the closing axis about the approach; see `HandPose`."""
        return self.pose.angle

    @property
    def width(self) -> Tensor:
        """Opening."""
        return self.pose.width

    def scored(self, score: Tensor) -> JawCandidates:
        """The same hands with scores (N,)."""
        return replace(self, score=score)
