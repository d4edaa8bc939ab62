"""Whose are the first contacts of a hand: a grasp of the goal touches it, and nothing else, on both sides."""

import math

import torch
from torch import Tensor

from planning.limits import FINGER_GAP, PADDING
from planning.scene.scene import PlanningScene
from shared.grasp_poses import CupPose, HandPose

LEAD = 0.003
"""The goal's outermost cell lies at least this far ahead of anything else that the closing finger may meet, m."""
STEP = 0.001
"""Between samples along the closing axis, m."""
LINE = 0.004
"""Between lines of samples across it, m."""
BACK = 0.004
"""Between levels at which hands that lean are looked at, m."""
RING = 16


def misses_goal(scene: PlanningScene, hands: HandPose) -> Tensor:
    """Which (N,) of open hands would, closing, touch on either side something else than the scene's goal, or both at once.

    Looked at is what was seen to rise over the tips between the fingers, as wide as a padded finger: a segmask of the goal says
    only where the middle of a grasp lies, and a grasp in the middle of the goal may well hold its neighbour too.
    """
    assert scene.goal is not None
    count = math.ceil(float(hands.width.max()) / STEP) + 1 if len(hands) else 1
    share = torch.linspace(-0.5, 0.5, count, device=scene.device)
    wide = scene.gripper.finger_width / 2 + PADDING
    across = torch.linspace(-wide, wide, math.ceil(2 * wide / LINE) + 1, device=scene.device)[:, None]
    along = share * hands.width[:, None, None]
    closing, second = (axis[:, :, None, None] for axis in hands.rotation.unbind(2)[:2])
    x, y, z = ((hands.position[:, axis, None, None] + along * closing[:, axis]) + across * second[:, axis] for axis in range(3))
    ax, ay, az = (axis[:, None, None] for axis in hands.approach.unbind(1))
    nearest = torch.full((4, len(hands)), -torch.inf, device=scene.device)
    # What rises over the tips of a hand that comes straight down does so at every level down to the tips.
    levels = (FINGER_GAP,) if hands.straight else tuple(torch.arange(FINGER_GAP, scene.gripper.finger_depth, BACK).tolist())
    for back in levels:
        seen, own = scene.sample(x - back * ax, y - back * ay, scene.seen, scene.goal)
        met = seen > back * az - z
        for k, where in enumerate((met & own, met & ~own)):
            right = torch.where(where, along, -torch.inf).amax((1, 2))
            left = torch.where(where, -along, -torch.inf).amax((1, 2))
            nearest[k] = torch.maximum(nearest[k], right)
            nearest[2 + k] = torch.maximum(nearest[2 + k], left)
    goal, other = nearest[::2], nearest[1::2]
    result: Tensor = ~(torch.isfinite(goal) & (goal >= other + LEAD)).all(0)
    return result


def cup_misses_goal(scene: PlanningScene, radius: float, cups: CupPose) -> Tensor:
    """Which (N,) of cups do not lie wholly on the scene's goal, up to a cell at its edge."""
    assert scene.goal is not None
    angle = 2 * math.pi * torch.arange(RING, device=scene.device) / RING
    reach = max(radius - scene.map.resolution, 0.0)
    along = torch.cat([torch.zeros(1, device=scene.device), *(share * reach * torch.cos(angle) for share in (0.5, 1.0))])
    across = torch.cat([torch.zeros(1, device=scene.device), *(share * reach * torch.sin(angle) for share in (0.5, 1.0))])
    own, known = scene.sample(*cups.offsets(along, across), scene.goal, scene.known)
    result: Tensor = ~own[:, 0] | (known & ~own).any(1)
    return result
