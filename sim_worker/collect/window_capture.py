"""Windows of colour pictures of settled scenes, with the true height of every pixel, where an open hand fits, and what held."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, field_validator

from grasp_client.contract import CameraIntrinsics, Gripper
from grasp_client.geometry import pose_from
from grasp_client.observation import GraspPlanner
from shared.maps.open_hand import fits
from shared.rgb_windows import CELL, TALLEST, RgbWindows, TriedGrasp
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS
from sim_worker.sampling.rgb_trials import try_best, try_grasps
from sim_worker.world import SceneError, SceneSpec, World
from sim_worker.world.camera.camera import CameraView
from sim_worker.world.camera.photographic import Pattern, Photographic
from sim_worker.world.simulation.scene import Scene
from sim_worker.world.simulation.spec import CameraSpec, Looks

logger = logging.getLogger(__name__)

SEED_STREAM = 21
"""Keeps these scenes apart from those that other programs draw from the same seed."""
SIDE = 112
"""Of a window, pixels: what a network sees of it may be turned and shifted."""
PLACES = 0.165
"""m: half side of the square around the optical axis in which the middle of a window lies on the table."""
SPREAD = 0.012
"""m: deviation of a window's middle from an object's."""
DISTANCE, FOCAL = 0.70, 420.0
"""From the table to the camera, m, and its focal length, pixels: the default camera's."""
TABLE = 0.2
"""m: half side of the square about the table's middle in which windows lie that are not sought on a thing."""
PRINTED = 0.8
"""Share of the painted pictures of such a window in which something flat is printed about its middle."""
DOWN = np.diag([1.0, -1.0, -1.0])
ABOVE_TABLE = 0.004
"""m: what is lower counts as the table."""


class WindowRecipe(BaseModel):
    """What windows are of; kept beside them, and the same for every run that continues them.

    looks: of the pictures of a window, one each, which share its truth. textures: folder of pictures, patterns of photographic
    looks. clutter_ratio: share of scenes with several objects. elsewhere: share of windows anywhere on the table, most with a
    flat print in the middle. on_policy: how many of a window's grasps are a planner's best.
    """

    seed: int
    object_set: str
    profile: str
    looks: list[Looks] = ["plain"]
    textures: Path | None = None
    clutter_ratio: float
    elsewhere: float = 0.0
    windows_per_scene: int
    scenes_per_part: int
    grasps_per_window: int
    on_policy: int
    planner: str

    @field_validator("looks", mode="before")
    @classmethod
    def _one_look(cls, looks: object) -> object:
        """Folders that were begun before windows had several name the one that they have."""
        return [looks] if isinstance(looks, str) else looks


def capture_windows(world: World, recipe: WindowRecipe, number: int, planner: GraspPlanner | None = None) -> RgbWindows:
    """The windows of part `number`. planner: for the grasps of `on_policy`."""
    colours, heights, lenses, answers, tried = [], [], [], [], []
    first = number * recipe.scenes_per_part
    for scene_number in range(first, first + recipe.scenes_per_part):
        rng = np.random.default_rng([recipe.seed, SEED_STREAM, scene_number])
        several = bool(rng.random() < recipe.clutter_ratio)
        spec = SceneSpec(
            seed=int(rng.integers(2**31)),
            kind="pile" if several else "single",
            object_set=recipe.object_set,
            profile=recipe.profile,
            count=int(rng.integers(2, 6)) if several else 1,
        )
        try:
            scene = world.build(spec)
        except SceneError as error:
            logger.info("scene %d could not be built: %s", scene_number, error)
            continue
        for _ in range(recipe.windows_per_scene):
            on_thing = bool(rng.random() >= recipe.elsewhere)
            middle = beside_a_thing(scene, rng) if on_thing else rng.uniform(-TABLE, TABLE, 2)
            camera, nadir = camera_over(middle, rng)
            views = [_painted(scene, camera, each, None if on_thing else middle, world.textures, rng) for each in recipe.looks]
            view = views[-1]
            height = heights_of(view)
            fit = fits_of(height, view.camera)
            count = recipe.grasps_per_window - recipe.on_policy
            some = try_grasps(scene, view, DISTANCE, height, fit, rng, count, bare=not on_thing)
            best = [try_best(scene, view, DISTANCE, planner, recipe.on_policy)] if planner else []
            for each in views:
                colours.append(each.rgb)
                heights.append(height)
                lenses.append([*nadir, camera.focal])
                answers.append(fit)
                tried.append(np.concatenate([some, *best]))
    shape = (len(colours), SIDE, SIDE)
    return RgbWindows(
        np.array(colours, np.uint8).reshape(*shape, 3),
        np.array(heights, np.uint8).reshape(shape),
        np.array(lenses, np.float32).reshape(len(colours), 3),
        np.array(answers, np.uint8).reshape(len(colours), len(TIP_HEIGHTS) * ROTATIONS, SIDE // CELL, SIDE // CELL),
        np.array(tried, np.float32).reshape(len(colours), recipe.grasps_per_window, len(TriedGrasp)),
    )


def beside_a_thing(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A place (2,) on the table about the middle of some object, m."""
    placed = scene.placed[int(rng.integers(len(scene.placed)))]
    middle: np.ndarray = np.asarray(placed.position[:2]) + rng.normal(0, SPREAD, 2)
    return middle


def camera_over(middle: np.ndarray, rng: np.random.Generator) -> tuple[CameraSpec, np.ndarray]:
    """A camera that sees a window about a place (2,) of the table, somewhere in the picture of one that looks down, and its
    nadir (2,)."""
    axis = middle - rng.uniform(-PLACES, PLACES, 2)
    # Straight down, whatever the profile, with v against y: the window is the part of the picture that shows the middle.
    pose = pose_from(DOWN, np.array([*axis, DISTANCE]))
    nadir = (SIDE - 1) / 2 - (middle - axis) * (1, -1) * FOCAL / DISTANCE
    camera = CameraSpec(width=SIDE, height=SIDE, focal=FOCAL, centre=tuple(nadir.tolist()), pose=pose.tolist())
    return camera, nadir


def _painted(
    scene: Scene,
    camera: CameraSpec,
    looks: Looks,
    bare: np.ndarray | None,
    textures: Sequence[Pattern],
    rng: np.random.Generator,
) -> CameraView:
    """A view in looks that are drawn anew. bare (2,): middle of a window in which something flat is printed there, mostly."""
    drawn = Photographic.draw(looks, rng, textures)
    if drawn and bare is not None and rng.random() < PRINTED:
        drawn = drawn.with_print_at(bare, rng)
    scene.photographic = drawn
    return scene.observe_with(camera)


def heights_of(view: CameraView) -> np.ndarray:
    """(S, S) uint8, mm over the table, of what each pixel sees; 0 for the table and what is no higher than it."""
    depth, camera, pose = view.exact_depth, view.camera, view.true_camera_pose
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rise = pose[2, 0] * (u - camera.cx) / camera.fx + pose[2, 1] * (v - camera.cy) / camera.fy + pose[2, 2]
    height = np.where(depth > 0, depth * rise + pose[2, 3], 0.0)
    return np.where(height < ABOVE_TABLE, 0, np.clip(np.round(1e3 * height), 0, TALLEST)).astype(np.uint8)


def fits_of(heights: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """(T R, h, w) uint8: where a wide open hand fits over heights (S, S), mm, for each height of its tips and angle."""
    cells = np.stack(np.meshgrid(*(np.arange(side // CELL) for side in heights.shape)), -1)
    pose = pose_from(DOWN, np.array([0.0, 0.0, DISTANCE]))
    depth = DISTANCE - heights.astype(np.float32) / 1e3
    angles = [turn * math.pi / ROTATIONS for turn in range(ROTATIONS)]
    return fits(depth, camera, pose, Gripper(), angles, TIP_HEIGHTS, (cells + 0.5) * CELL - 0.5)
