"""The refused candidates of a request: hands or cups tried at the places that were asked for, and what speaks against each."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import GraspPlan, RefusedGrasp
from planning.base import PlanItem, PlannerError
from planning.candidates import Candidates, distinct_poses
from planning.explanation.parts import meeting_points
from planning.explanation.places import nearest_places, outside_asked
from planning.jaw.collision import hand_overlap
from planning.jaw.filters import objections as jaw_objections
from planning.jaw.fit import measure, misfits
from planning.jaw.search import rate as rate_jaw
from planning.limits import PALM_GAP
from planning.scene.projection import map_pixels, wire_grasps
from planning.scene.scene import PlanningScene, observe_scene
from planning.suction.collision import body_overlap
from planning.suction.filters import objections as cup_objections
from planning.suction.seal import lay_cups
from planning.suction.search import rate as rate_cups
from planning.tilted.scenes import observe_approaches
from shared.grasp_poses import CupPose, HandPose

MOST_REFUSED = 10
"""Refused grasps in a reply."""
ANGLES = 8
"""Of the closing axis that are tried at every place."""
HOLDS_NOTHING = 0.02
"""What a candidate that would grip nothing counts as lacking, m, beside one that is so deep in an obstacle."""
DEEPEST = 0.05
"""Deeper in an obstacle counts no more, m."""
MEETS = frozenset({"collision", "below_table", "bin", "no_depth", "too_wide"})
"""Reasons for which a part of the hand meets something."""
NO_EXPLANATION = "no_explanation: refused grasps are told from a depth image: {}"
TILTED = "tilted"
"""Planner whose hands come along several directions."""
CPU_SECONDS = 0.2
"""What an explanation takes of one core at most, as `Planner.cpu_seconds`: of `tilted`, of others a third."""


@dataclass(frozen=True)
class _Refused(Candidates):
    """N refused poses. quality (N,): what geometry alone promises of them."""

    pose: HandPose | CupPose
    quality: Tensor

    def __len__(self) -> int:
        return len(self.quality)


def explained(plan: GraspPlan, item: PlanItem) -> GraspPlan:
    """The plan with the refused grasps that are nearest to what its request asks for, at most MOST_REFUSED."""
    try:
        scenes = _scenes(plan, item)
    except PlannerError as error:  # colour alone
        return plan.model_copy(update={"refused": [], "warnings": [*plan.warnings, NO_EXPLANATION.format(error.message)]})
    found = [each for scene in scenes for each in refused_grasps(scene)]
    refused = [grasp for _, grasp in sorted(found, key=lambda each: each[0])[:MOST_REFUSED]]
    return plan.model_copy(update={"refused": refused})


def _scenes(plan: GraspPlan, item: PlanItem) -> list[PlanningScene]:
    """What the hands of a plan see: from straight above, or along the directions of `tilted`."""
    observation, request = item
    if plan.planner == TILTED:
        return observe_approaches(observation, request, torch.device("cpu")).scenes
    return [observe_scene(observation, request, torch.device("cpu"), for_jaw=True)]


@torch.inference_mode()
def refused_grasps(scene: PlanningScene) -> list[tuple[float, RefusedGrasp]]:
    """What is refused in a scene at the places that were asked for, or near them, each with what it lacks, m; what lacks least
    comes first."""
    groups = _refused(scene, *nearest_places(scene))
    if not any(map(len, groups.values())):
        return []
    reasons = [reason for reason, group in groups.items() for _ in range(len(group))]
    first, *others = groups.values()
    refused = first.join(*others)
    lacking = _lacking(scene, refused.pose) + outside_asked(scene, refused.pose.position)
    nothing = torch.tensor([reason == "no_depth" for reason in reasons], device=lacking.device) | (refused.quality == 0)
    lacking = lacking + HOLDS_NOTHING * nothing - 1e-3 * refused.quality  # of equal ones the better
    chosen = distinct_poses(refused.pose, -lacking, MOST_REFUSED)
    refused = refused.pick(chosen)
    grasps = wire_grasps(scene, refused.pose, refused.quality)
    told = [reasons[index] for index in chosen.tolist()]
    points = meeting_points(scene, scene.gripper, refused.pose)
    explanations = [
        RefusedGrasp(**dict(grasp), reason=reason, **(_where(scene, part, point) if reason in MEETS else {}))
        for grasp, reason, (part, point) in zip(grasps, told, points, strict=True)
    ]
    return list(zip(lacking[chosen].tolist(), explanations, strict=True))


def _refused(scene: PlanningScene, x: Tensor, y: Tensor) -> dict[str, _Refused]:
    """What is refused of candidates at map x, y (N,), by reason: the first that refuses it."""
    if scene.gripper.kind == "suction":
        cups = lay_cups(scene, x, y, close=True)
        return _by_reason(_Refused(cups.pose, torch.sigmoid(rate_cups(cups))), cup_objections(scene, cups))
    angle = (math.pi / ANGLES * torch.arange(ANGLES, device=x.device)).repeat(len(x))
    x, y = x.repeat_interleave(ANGLES), y.repeat_interleave(ANGLES)
    hands, _ = measure(scene, x, y, angle)
    groups = _by_reason(_Refused(hands.pose, torch.sigmoid(rate_jaw(scene, hands))), jaw_objections(scene, hands))
    for reason, pose in misfits(scene, x, y, angle).items():
        misfit = _Refused(pose, torch.zeros_like(pose.x))
        groups[reason] = groups[reason].join(misfit) if reason in groups else misfit
    return groups


def _by_reason(candidates: _Refused, objections: dict[str, Tensor]) -> dict[str, _Refused]:
    free = torch.ones_like(candidates.quality, dtype=torch.bool)
    groups = {}
    for reason, refused in objections.items():
        groups[reason] = candidates.pick(torch.nonzero(free & refused).squeeze(1))
        free &= ~refused
    return groups


def _lacking(scene: PlanningScene, poses: HandPose | CupPose) -> Tensor:
    """How deep (N,) hands or cups reach into obstacles, m, 0 where they do not."""
    if isinstance(poses, CupPose):
        deep = body_overlap(scene, scene.gripper.cup_radius, poses)
    else:
        fingers, palm = hand_overlap(scene, poses)
        deep = torch.maximum(fingers, palm + PALM_GAP)
    result: Tensor = scene.unit * deep.clamp(0.0, DEEPEST)
    return result


def _where(scene: PlanningScene, part: str, point: tuple[float, float, float]) -> dict[str, Any]:
    """The fields that say which part meets something, at a point of the map; metric ones where there is a camera."""
    place = torch.tensor([point])
    told: dict[str, Any] = {"part": part, "obstacle_px": map_pixels(scene, place)[0].tolist()}
    if scene.request.camera is None:
        return told
    pose = scene.map.pose
    in_camera = scene.unit * (pose[:3, :3] @ np.array(point) + pose[:3, 3])
    told["obstacle_camera"] = in_camera.tolist()
    if scene.camera_pose is not None:
        told["obstacle_base"] = (scene.camera_pose[:3, :3] @ in_camera + scene.camera_pose[:3, 3]).tolist()
    return told
