"""What a cup may never do: filters of the answer that count what they refuse."""

import math
from collections import Counter

import torch
from torch import Tensor

from planning.goal.contacts import cup_misses_goal
from planning.scene.projection import has_reading, in_picture, map_pixels, map_points
from planning.scene.region import outside_region
from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates
from planning.suction.collision import body_overlap, lowest
from planning.suction.sampling import LEAST_RISE
from planning.suction.seal import RIM

MOST_TILT = math.radians(50)
"""Steepest surface that a cup is pressed on, against the approach of the map: a map from above knows little of steeper ones."""
MOST_LOST = 0.02
"""Largest share of the cup's samples that may lie off its plane by more than a lip can bridge: flying pixels, not edges."""
EDGE_DEVIATIONS = 1.5
"""The rim may reach over what seems to be an edge by so many standard deviations of the readings: noise frays edges."""
MOST_OVER_EDGE = 0.002
"""At most so far, m."""
MOST_CURVED = 1.2
"""What a surface may ask of the lip over what it takes up: curves are only estimated."""
MOST_UNEVEN = 0.001
"""The mean over a part of the cup may depart from a plane by so much more than the lip takes up, m."""
GAP = 0.001
"""Free height between a cup's body and what it passes, m."""


def veto(scene: PlanningScene, cups: SuctionCandidates) -> tuple[SuctionCandidates, Counter[str]]:
    """The cups that may be returned, and how many were refused for what."""
    return cups.filtered(objections(scene, cups))


def objections(scene: PlanningScene, cups: SuctionCandidates) -> dict[str, Tensor]:
    """By reason, which cups (N,) bool it refuses."""
    gripper = scene.gripper
    contact = map_pixels(scene, cups.pose.position)
    table = scene.table_at(cups.x, cups.y)
    reasons = {
        "no_depth": (cups.unseen > 0) | ~(scene.sample(cups.x, cups.y, scene.known)[0] & has_reading(scene, contact)),
        "border": ~_in_view(scene, gripper.cup_radius, cups),
        "below_table": (cups.rise < LEAST_RISE) | (lowest(gripper.cup_radius, cups.pose) < table),
        "too_steep": cups.tilt > MOST_TILT,
        "over_edge": (cups.lost > MOST_LOST) | (cups.margin < -min(EDGE_DEVIATIONS * scene.map.table_noise, MOST_OVER_EDGE)),
        "too_curved": (cups.curved > MOST_CURVED) | (cups.uneven > gripper.lip[0] + MOST_UNEVEN),
        "collision": body_overlap(scene, gripper.cup_radius, cups.pose) > -GAP,
        **outside_region(scene, contact),
    }
    if scene.goal is not None:
        reasons["not_goal"] = cup_misses_goal(scene, gripper.cup_radius, cups.pose)
    return reasons


def _in_view(scene: PlanningScene, radius: float, cups: SuctionCandidates) -> Tensor:
    """The whole rim lies inside the picture: what is beyond it cannot be judged."""
    angle = 2 * math.pi * torch.arange(RIM, device=cups.x.device) / RIM
    x, y = cups.pose.offsets(radius * torch.cos(angle), radius * torch.sin(angle))
    points = map_points(x.reshape(-1), y.reshape(-1), cups.pose.plane(x, y).reshape(-1))
    return in_picture(scene, points).reshape(len(cups), RIM).all(1)
