"""What hands see that come along several directions: one planning scene for each, of one cloud over one table."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.scene.hand_units import hand_unit, map_in
from planning.scene.scene import PlanningScene, assumed_camera, observe_scene, scale_of
from planning.scene.support_plane import OPTICAL_AXIS, TABLE_SHARE, level_pose, surface
from planning.tilted.directions import STRAIGHT, angle, axis_of, directions
from planning.tilted.overhead import blocked_from_above
from shared.maps.approach_map import LEVEL, SceneCloud, Support, approachable, depth_cloud, project_along, support_of
from shared.maps.heightmap import HeightMap
from shared.maps.resampling import readings_of

SIDEWAYS = math.radians(45)
"""Where nothing can come from above, approaches lean at least by this."""
GUESSED = (
    "gravity_guessed: no `camera_pose` was sent, and {plane} was taken for level, {lean:.0f} degrees from the image plane: "
    "send camera_pose (camera to robot base, z up) to tell where down is"
)
NO_BIN_SEEN = (
    "no_bin: a camera that looks level sees no bin from above: what is seen of its walls is in the way, but `bin` was not "
    "kept to"
)
ANY_APPROACH = (
    "any_approach: {why}, so that hands may come from the side here: tell by `approach` which directions your arm can follow"
)


@dataclass(frozen=True)
class ApproachScenes:
    """A scene for every direction, the one straight down, if it is among them, first; the one seen from above whether it is
    among them or not, in which bins are seen; straight down (3,) and the plane that carries the things, camera frame; what is
    to be said of all that."""

    scenes: list[PlanningScene]
    overhead: PlanningScene | None
    down: np.ndarray
    support: Support
    warnings: tuple[str, ...]

    @property
    def bin(self) -> PlanningScene | None:
        """The scene seen from above, if a bin is seen in it."""
        return self.overhead if self.overhead and self.overhead.bin else None


def observe_approaches(observation: Observation, request: PlanRequest, device: torch.device) -> ApproachScenes:
    """The scenes of an observation with depth. Raises PlannerError 422 where nothing is seen, or nothing can be approached."""
    depth = observation.depth
    if depth is None:
        raise PlannerError(422, "missing_image", "this planner needs depth; send a depth image")
    camera = request.camera or assumed_camera(*depth.shape)
    pose = None if request.camera_pose is None else np.asarray(request.camera_pose, dtype=float)
    up, warnings = _up(depth, camera, pose)
    overhead = blocked_from_above(depth, camera, pose) if request.approach is None else None
    if overhead:
        if request.bin is None:  # what has a ceiling is a shelf
            request = request.model_copy(update={"bin": False})
        warnings += (ANY_APPROACH.format(why=overhead),)
    try:
        scene, cloud = _cloud(observation, request, camera, pose, up, device)
        allowed = (axis_of(request.approach, pose), request.approach.max_angle) if request.approach else None
        least = SIDEWAYS if overhead else 0.0
        chosen = directions(-up, allowed, partial(approachable, cloud), least)
    except ValueError as error:
        raise PlannerError(422, "unusable_view", str(error)) from error
    if not chosen:
        raise PlannerError(
            422,
            "no_approach",
            "none of the directions that `approach` allows comes from the camera's side and from above the table: expected one "
            "within 80 degrees of the way that the camera looks; [0, 0, -1] is straight down in the base frame",
        )
    straight = [scene is not None and angle(each, -up) < STRAIGHT for each in chosen]
    leaning = iter(_maps(cloud, [each for each, down in zip(chosen, straight, strict=True) if not down]))
    scenes = [scene if scene and down else _along(next(leaning), observation, request, device) for down in straight]
    warnings += scene.warnings if scene else (NO_BIN_SEEN,) if request.bin else ()
    return ApproachScenes(scenes, scene, -up, cloud.support, warnings)


def _up(depth: np.ndarray, camera: CameraIntrinsics, pose: np.ndarray | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Against gravity (3,), camera frame, as told or as the plane on which most of it lies tells; what to say of it."""
    if pose is not None:
        return pose[2, :3], ()
    _, plane = surface(depth, camera)
    if plane is None or plane.share < TABLE_SHARE:
        return -OPTICAL_AXIS, (GUESSED.format(plane="the image plane", lean=0.0),)
    name = f"the plane that fills {plane.share:.0%} of the picture"
    return plane.normal, (GUESSED.format(plane=name, lean=math.degrees(plane.steepness)),)


def _cloud(
    observation: Observation,
    request: PlanRequest,
    camera: CameraIntrinsics,
    pose: np.ndarray | None,
    up: np.ndarray,
    device: torch.device,
) -> tuple[PlanningScene | None, SceneCloud]:
    """The scene seen from straight above, where the camera looks down, and the cloud over its table."""
    assert observation.depth is not None
    wanted = _wanted(observation, request)
    read = readings_of(observation.depth, camera, scale_of(request.gripper))
    of_depth = partial(depth_cloud, observation.depth, camera, scale=scale_of(request.gripper), wanted=wanted, readings=read)
    if -up[2] < math.cos(LEVEL):
        return None, of_depth(up=up, table_depth=request.table_depth)
    gravity = pose if pose is not None else level_pose(up)
    scene = observe_scene(observation, request, device, for_jaw=True, gravity=gravity, readings=read)
    return scene, of_depth(support=support_of(map_in(scene.map, 1 / scene.unit)))


def _wanted(observation: Observation, request: PlanRequest) -> np.ndarray | None:
    """Pixels (H, W) bool in which grasps are asked for; None where that is everywhere."""
    wanted = observation.graspable
    if request.region is not None:
        inside = np.zeros(observation.size, bool)
        left, top, right, bottom = (max(0, round(edge)) for edge in request.region)
        inside[top : bottom + 1, left : right + 1] = True
        wanted = inside if wanted is None else wanted & inside
    return wanted if wanted is not None and wanted.any() else None


def _maps(cloud: SceneCloud, chosen: list[np.ndarray]) -> list[HeightMap]:
    """The maps along directions, made at once by as many threads as a plan may use."""
    threads = min(torch.get_num_threads(), len(chosen))
    if threads < 2:
        return [project_along(cloud, each) for each in chosen]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(partial(project_along, cloud), chosen))


def _along(seen: HeightMap, observation: Observation, request: PlanRequest, device: torch.device) -> PlanningScene:
    """The scene of a map along a direction; bins are not looked for in it."""
    unit = hand_unit(request.gripper)
    asked = request.model_copy(update={"bin": False})
    if unit < 1:
        seen = map_in(seen, unit)
    camera = request.camera or assumed_camera(*observation.size)
    pose = None if request.camera_pose is None else np.asarray(request.camera_pose, dtype=float)
    return PlanningScene(seen, camera, pose, observation, asked, device, unit=unit)


def in_other(scene: PlanningScene, other: PlanningScene) -> np.ndarray:
    """(4, 4): the frame of a scene's map to that of another, both in metres."""
    poses = [map_in(each.map, 1 / each.unit).pose for each in (scene, other)]
    return np.asarray(np.linalg.inv(poses[1]) @ poses[0])
