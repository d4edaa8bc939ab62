"""N candidate grasps of a jaw and what was measured of them, as tensors of shape (N,)."""

from dataclasses import dataclass
from operator import attrgetter

from torch import Tensor

from planning.candidates import Candidates
from shared.grasp_poses import HandPose


@dataclass(frozen=True)
class JawCandidates(Candidates):
    """Grasps in the map frame, metres and radians.

    pose: of the open hand. grip: distance between the contacts. overlap: height of the object above the tips. lines: share of
    the finger's width that touches, 0 to 1, the worse side. flat: mean gap left between the flat fingers and the object, m.
    hollow: share of the way between the contacts on which nothing rises above the tips. slant: run over rise of the sides.
    steep: the same of both sides alike, all the way up.
    turn: angle by which the hand would fit them better. aside: how far the middle of the contacts is from that between the
    fingers. offset: where the middle of the object lies across the closing axis, seen from the hand. clearance: free space
    beyond the padding of a finger, the worse side. inner: from where on, outside their inner faces, fingers must be free, m:
    below 0 where they are padded. score: of the analytic planner. source: index of the pose that was measured. rise: height of
    the tips over the table. known: bool, a reading fell into the cell under the hand. truncated: bool, what it grips there
    reaches out of view. beyond: what the logit of success loses for that, or since it reaches out of the region or the segmask;
    0 until `predict` has chosen.
    """

    pose: HandPose
    grip: Tensor
    overlap: Tensor
    lines: Tensor
    flat: Tensor
    hollow: Tensor
    slant: Tensor
    steep: Tensor
    turn: Tensor
    aside: Tensor
    offset: Tensor
    clearance: Tensor
    inner: Tensor
    score: Tensor
    source: Tensor
    rise: Tensor
    known: Tensor
    truncated: Tensor
    beyond: Tensor

    def __len__(self) -> int:
        return len(self.score)

    # What is asked for at every step of a plan, straight from the pose: see `HandPose`.
    x = property(attrgetter("pose.x"))
    y = property(attrgetter("pose.y"))
    tip = property(attrgetter("pose.tip"))
    angle = property(attrgetter("pose.angle"))
    width = property(attrgetter("pose.width"))
