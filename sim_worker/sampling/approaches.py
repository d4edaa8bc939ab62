"""Along which directions a planner may come, as a robot would tell it: as a protocol names them, a shelf asks for, or a scene
draws."""

import math

import numpy as np

from grasp_client.contract import Approach
from sim_worker.world import CameraView, SceneSpec

KEEPERS = ("auto", "tilted")
"""Planners that keep to a told approach; others come straight down, or along a surface's normal."""
INTO_SHELF = (math.radians(70), math.radians(25))
"""Lean of the way into a shelf, and how far from it a hand may come, rad."""
ANY, ONE_WAY = 0.45, 0.8
"""Shares of scenes, added up, whose planner may come along any direction, or along one and what is near it; the rest is told
nothing."""
MOST_ANY = math.radians(75)
"""rad from straight down: any direction."""
LEANS, NEAR, ASIDE = (math.radians(15), math.radians(75)), (math.radians(5), math.radians(30)), math.radians(50)
"""rad: lean of the one direction, how far from it, and how far beside the camera's heading it is, at most."""


def towards(azimuth: float, lean: float, within: float) -> Approach:
    """Directions within an angle of the one that leans by `lean` from straight down towards `azimuth`, rad."""
    axis = [math.sin(lean) * math.cos(azimuth), math.sin(lean) * math.sin(azimuth), -math.cos(lean)]
    return Approach(axis=axis, max_angle=within)


def heading(view: CameraView) -> float:
    """Direction in which the camera looks, or, if it looks straight down, in which its picture's top lies, rad."""
    pose = np.asarray(view.camera_pose)
    level = pose[:2, 2] if np.hypot(*pose[:2, 2]) > 0.2 else -pose[:2, 1]
    return math.atan2(level[1], level[0])


def told_approach(spec: SceneSpec) -> Approach | None:
    """What is told of a scene of this kind: the way into a shelf."""
    return towards(spec.shelf.yaw + math.pi / 2, *INTO_SHELF) if spec.shelf else None


def drawn_approach(spec: SceneSpec, view: CameraView) -> Approach | None:
    """What a planner is told where all approaches are to be met, drawn by the scene's seed."""
    if told := told_approach(spec):
        return told
    random = spec.random("approach")
    share, lean, within = random.random(), random.uniform(*LEANS), random.uniform(*NEAR)
    if share > ONE_WAY:
        return None
    return towards(heading(view) + random.uniform(-ASIDE, ASIDE), lean, within) if share > ANY else towards(0.0, 0.0, MOST_ANY)
