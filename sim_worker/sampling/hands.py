"""Cups drawn per scene: the one that executes, and what the planner is told of it."""

import math
from dataclasses import dataclass

from grasp_client.contract import Gripper
from sim_worker.world.simulation.profiles import CUP_LEVERS, USUAL_VACUUM
from sim_worker.world.simulation.spec import SceneSpec

LIP_SHARES = (0.06, 0.22)
"""Unevenness that a told lip takes up, of the cup's radius: from stiff flat cups to bellows."""
USUAL_LIP_SHARES = (0.125, 0.21)
"""The same where the planner is not told, and takes it for usual."""
UNTOLD_LIPS, UNTOLD_MOMENTS = 0.3, 0.5
"""Shares of scenes whose planner is told nothing of the lip, or of the moment."""


@dataclass(frozen=True)
class DrawnHand:
    """true: executes. told: what planners, and learners from what came of it, know of it."""

    true: Gripper
    told: Gripper


def drawn_hand(gripper: Gripper, spec: SceneSpec) -> DrawnHand:
    """The hand of a scene. Where hands vary, a cup of which lip and moment are not given has others in every scene."""
    if gripper.kind != "suction" or "hands" not in spec.vary:
        return DrawnHand(gripper, gripper)
    random, radius = spec.random("cup"), gripper.cup_radius
    untold_lip, untold_moment = random.random(2) < (UNTOLD_LIPS, UNTOLD_MOMENTS)
    lip = radius * random.uniform(*(USUAL_LIP_SHARES if untold_lip else LIP_SHARES))
    moment = USUAL_VACUUM * math.pi * radius**3 * random.uniform(*CUP_LEVERS)
    drawn = {"seal_compliance": round(lip, 6)}
    if not untold_moment:  # of one that is not told the scene makes its own draw
        drawn["cup_moment"] = round(moment, 6)
    true = gripper.model_copy(update={name: value for name, value in drawn.items() if getattr(gripper, name) is None})
    return DrawnHand(true, true.model_copy(update={"seal_compliance": gripper.seal_compliance}) if untold_lip else true)
