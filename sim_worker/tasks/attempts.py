"""A scene request's attempts in one scene: observe, plan, execute; restore the scene or take the lifted object away; again.

A task is a generator. It yields `PlanningRequest` and is sent the plan, and yields `Attempt` or `NoPlan` for what happened, so
whoever drives it decides how a plan is asked for: in process, or over the network while other worlds go on.
"""

from collections import Counter
from collections.abc import Collection, Generator
from dataclasses import dataclass, replace

import numpy as np

from grasp_client.contract import GraspPlan, Gripper, SceneRequest
from grasp_client.observation import Observation
from sim_worker.grasp_poses import pose_in_base
from sim_worker.planner_request import DroppedInput, ExtraInput, PlanningRequest, planning_request
from sim_worker.sampling.surface import Surface
from sim_worker.tasks.decluttering import SET_ASIDE_AFTER
from sim_worker.worker.exploration import Choice, choose
from sim_worker.world import AttemptResult, CameraView, Scene, SceneSpec

GRASPS_ASKED = 20
EXACT = np.eye(4)
OFFSET_AXES = ("x", "y", "z", "turn")
CORRECTING = "refined"
"""Planner that corrects the grasps of another: it is explored by offsets."""


@dataclass(frozen=True)
class Attempt:
    """One executed grasp: what was seen, planned, chosen and what came of it. number: counts a scene request's attempts from 0.

    sent: the images that were planned on. conditions: what the scene drew from its profile. built: the scene as it was built,
    where nothing was taken out of it before."""

    number: int
    view: CameraView
    sent: Observation
    plan: GraspPlan
    choice: Choice
    result: AttemptResult
    gripper: Gripper
    conditions: dict[str, float | str]
    built: SceneSpec | None = None


@dataclass(frozen=True)
class NoPlan:
    """The planner found nothing to grasp, for the reasons that it counted."""

    plan: GraspPlan


Task = Generator[PlanningRequest | Attempt | NoPlan, GraspPlan, None]


def run_scene_request(
    scene: Scene,
    request: SceneRequest,
    gripper: Gripper,
    extras: Collection[ExtraInput] = (),
    withheld: Collection[DroppedInput] = (),
    told: Gripper | None = None,
    cell_error: np.ndarray = EXACT,
    by_offset: bool = False,
) -> Task:
    """Up to `request.attempts` attempts. A lifted object is taken away and the rest seen anew; after a failure the next
    attempt takes a grasp that was not tried yet, from the same state (the scene restores itself). An object at which
    SET_ASIDE_AFTER attempts failed is taken away too, unless it is the last.

    told: what the planner, and learners, know of the gripper; none: all of it. cell_error: (4, 4), by which every told camera
    pose is off in the base frame, as in a cell whose calibration has slipped. by_offset: explore by offsets of the best grasp,
    as with a planner that corrects.
    """
    told = told or gripper
    rng = np.random.default_rng([request.seed, 1])
    failures: Counter[str] = Counter()
    number = 0
    while scene.objects:
        view = scene.observe()
        view = replace(view, camera_pose=cell_error @ view.camera_pose)
        call = planning_request(view, scene.spec, told, GRASPS_ASKED, request.planner, request.model_version, extras, withheld)
        plan = yield call
        surface = None if withheld else Surface.of(call.observation, view.camera, np.asarray(view.camera_pose), gripper)
        tried: set[int] = set()
        taken = None
        while taken is None:
            choice = choose(
                plan.grasps, request.exploration, surface, told, rng, tried, by_offset or plan.planner == CORRECTING
            )
            if choice is None:
                if not plan.grasps:
                    yield NoPlan(plan)
                return
            pose = pose_in_base(choice.grasp, np.asarray(view.camera_pose))
            result = scene.attempt(pose, choice.grasp.width or gripper.max_width, gripper)
            if choice.offset:
                moved = {f"offset_{name}": value for name, value in zip(OFFSET_AXES, choice.offset, strict=True)}
                result = replace(result, details={**result.details, **moved})
            built = None if scene.changes else scene.spec
            yield Attempt(number, view, call.observation, plan, choice, result, told, scene.conditions.flat(), built)
            number += 1
            if number == request.attempts:
                return
            if choice.rank is not None:
                tried.add(choice.rank)
            if result.success:
                taken = result.object_name
            elif meant := view.object_at(pose):
                failures[meant] += 1
                taken = meant if failures[meant] >= SET_ASIDE_AFTER and len(scene.objects) > 1 else None
        scene.remove(taken)
