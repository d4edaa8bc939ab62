"""N candidate cups and what was measured of them, as tensors of shape (N,)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from planning.candidates import Candidates
from shared.grasp_poses import CupPose


@dataclass(frozen=True)
class SuctionCandidates(Candidates):
    """Contacts in the map frame, metres.

    pose: contact and slopes of the plane fitted under the cup. curved: what the smoothed surface asks of the lip, over what
    it takes up: departure from a plane on the rim, or half of what bulges into the cup. uneven: worst mean departure of a
    part of the cup. rough: root mean square departure under and around the cup, over what the lip takes up. ends (N,
    directions): how far the surface goes on from the contact. margin: how far beyond the rim where it ends first, negative
    over an edge. lean_x, lean_y: where the middle of the thing under the cup lies, level, seen from the contact. heaviest:
    weight of the thing that would peel the cup off, kg. rise: height over the table. unseen: share of the rim without a
    reading. lost: share of the cup that is off the plane by more than a lip can bridge. truncated: bool, what it stands on
    reaches out of view. score: of the analytic planner.
    """

    pose: CupPose
    curved: Tensor
    uneven: Tensor
    rough: Tensor
    ends: Tensor
    margin: Tensor
    lean_x: Tensor
    lean_y: Tensor
    heaviest: Tensor
    rise: Tensor
    unseen: Tensor
    lost: Tensor
    truncated: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.score)

    @property
    def x(self) -> Tensor:
        return self.pose.x

    @property
    def y(self) -> Tensor:
        return self.pose.y

    @property
    def tilt(self) -> Tensor:
        """Angle of the approach from that of the map, rad."""
        return torch.atan(torch.hypot(self.pose.slope_x, self.pose.slope_y))

    @property
    def lever(self) -> Tensor:
        """Level distance from the contact to the middle of the thing under it, m."""
        return torch.hypot(self.lean_x, self.lean_y)
