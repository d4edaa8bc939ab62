"""Failed grasps cost others of their quality: those at the same place and at the same object are likely to fail, too."""

import math
from collections.abc import Sequence

import numpy as np

from grasp_client.contract import FailedGrasp, Grasp, GraspPlan, PlanRequest
from grasp_client.geometry import deproject, invert
from grasp_client.observation import Observation
from planning.base import PlanItem
from planning.scene.scene import assumed_camera

CHOSEN_FROM = 256
"""Grasps that a planner is asked for, at least, when some failed: the ten best often lie on one object."""
OBJECT = 4.0
"""What a failed grasp of quality 1 costs the logit of another at the same object."""
REACH = 0.045
"""Distance at which that has fallen to 0.61, the standard deviation of a Gaussian, m."""
PLACE = 4.0
"""What it costs besides at the same place, turned the same way."""
NEAR = 0.010
"""Distance at which that has fallen to 0.61, m."""
TURN = 0.5
"""Angle at which it has, rad."""
PREDICTED = 0.9
"""Quality of a failed grasp for which none is given."""
TYPICAL_DISTANCE = 0.64
"""Of what is seen, m, where nobody said: a picture of 61 degrees is then 0.75 m wide."""
LEAST = 1e-6
"""Qualities count as if they were at least this far from 0 and 1."""


def expand_request(item: PlanItem) -> PlanItem:
    """The item of which some failed as its planner is asked: for more grasps than are wanted."""
    observation, request = item
    return observation, request.model_copy(update={"n_grasps": max(CHOSEN_FROM, request.n_grasps)})


def penalize(plan: GraspPlan, item: PlanItem) -> GraspPlan:
    """The plan of an expanded request as the original one wants it: ranked anew by what is left of the qualities, cut short.

    A grasp that falls below `min_quality` counts as `low_quality`.
    """
    request = item[1]
    quality = np.clip([grasp.quality for grasp in plan.grasps], LEAST, 1 - LEAST)
    predicted = np.array([PREDICTED if failed.quality is None else failed.quality for failed in request.failed])
    lost = logit_penalty(*distances_to_failures(plan.grasps, item), predicted) if plan.grasps else 0.0
    quality = 1 / (1 + np.exp(lost - np.log(quality / (1 - quality))))
    order = np.argsort(-quality, kind="stable")
    ranked = [plan.grasps[k].model_copy(update={"quality": float(quality[k])}) for k in order]
    enough = [grasp for grasp in ranked if grasp.quality >= request.min_quality]
    rejections = dict(plan.rejections)
    if len(enough) < len(ranked):
        rejections["low_quality"] = rejections.get("low_quality", 0) + len(ranked) - len(enough)
    changes = {"grasps": enough[: request.n_grasps], "rejections": dict(sorted(rejections.items()))}
    return plan.model_copy(update=changes)


def logit_penalty(distance: np.ndarray, turn: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """What N grasps lose of their logits, (N,), at distances (N, F), m, and angles (N, F), rad, from F that failed.

    predicted: qualities (F,) of those; the cost goes with their squares, for the failure of a grasp that was not expected to
    hold says little. What several cost adds up.

    Maximum likelihood on pairs of grasps tried from the same state of scenes with several objects for training, of which one
    failed, in units of the planner's logit: OBJECT 2.9, PLACE 5.4 (`dense`, 27,471 pairs of scenes of which it had learned
    nothing), 3.0 and 5.0 (19,516 pairs, an earlier version). By those whose failed grasp was among the best three of its plan
    OBJECT is larger, 4.0 to 4.4 whatever it predicted, and REACH 0.040 to 0.048; cups: 2.1 and 0.066 (11,060 pairs).
    """
    wide = OBJECT * np.exp(-0.5 * (distance / REACH) ** 2)
    near = PLACE * np.exp(-0.5 * ((distance / NEAR) ** 2 + (turn / TURN) ** 2))
    return np.asarray(((wide + near) * predicted**2).sum(axis=1))


def distances_to_failures(grasps: Sequence[Grasp], item: PlanItem) -> tuple[np.ndarray, np.ndarray]:
    """How far N grasps lie from F that failed: distances (N, F), m, and angles (N, F) by which they are turned, 0 to pi.

    By poses, where the request names those; else in the image, there between closing axes. Without a camera or a depth, as an
    ordinary camera would see them.
    """
    observation, request = item
    camera = request.camera or assumed_camera(*observation.size)
    typical = _typical_distance(observation)
    depth = np.array([grasp.depth or typical for grasp in grasps])
    points = deproject(np.array([grasp.center_px for grasp in grasps]), depth, camera)
    distance, turn = np.empty((2, len(grasps), len(request.failed)))
    for k, failed in enumerate(request.failed):
        pose = _pose_in_camera(failed, request)
        if pose is not None:
            origin, turn[:, k] = pose[:3, 3], [_pose_turn(grasp, pose) for grasp in grasps]
        else:
            there = np.full_like(depth, failed.depth) if failed.depth and request.camera else depth
            origin = deproject(np.broadcast_to(np.asarray(failed.center_px), (len(grasps), 2)), there, camera)
            turn[:, k] = [_image_turn(grasp, failed) for grasp in grasps]
        distance[:, k] = np.linalg.norm(points - origin, axis=1)
    return distance, turn


def _pose_in_camera(failed: FailedGrasp, request: PlanRequest) -> np.ndarray | None:
    """(4, 4), or None for one that is named by its pixel."""
    if failed.pose_camera is not None:
        return np.asarray(failed.pose_camera, dtype=float)
    if failed.pose_base is None:
        return None
    return np.asarray(invert(np.asarray(request.camera_pose, dtype=float)) @ np.asarray(failed.pose_base, dtype=float))


def _typical_distance(observation: Observation) -> float:
    """Of what is seen, m, where grasps do not say."""
    depth = observation.depth
    seen = depth[depth > 0] if depth is not None else ()
    return float(np.median(seen)) if len(seen) else TYPICAL_DISTANCE


def _pose_turn(grasp: Grasp, pose: np.ndarray) -> float:
    """Angle of the rotation between a grasp and a pose (4, 4), rad: half a turn about the approach gives the same jaw. A cup's
    orientation follows from where it lies, and so does that of a grasp without a pose."""
    if grasp.pose_camera is None or grasp.kind == "suction":
        return 0.0
    one, other = np.asarray(grasp.pose_camera, dtype=float)[:3, :3], pose[:3, :3]
    closing, second, approach = (one * other).sum(0)
    return math.acos(np.clip((abs(closing + second) + approach - 1) / 2, -1, 1))


def _image_turn(grasp: Grasp, failed: FailedGrasp) -> float:
    """Between closing axes in the image, rad; a cup has none."""
    if failed.angle is None or grasp.kind == "suction":
        return 0.0
    return abs(math.remainder(grasp.angle - failed.angle, math.pi))
