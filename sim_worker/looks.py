"""`python -m sim_worker.looks`: colour windows of settled scenes with true heights, to learn to tell heights from.

Each scene is looked at several times, as if it stood elsewhere on the table. Parts are numbered and seeded: an interrupted run
goes on where it stopped, and what comes out does not depend on how many processes make it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shared import logs
from shared.contract import CameraIntrinsics, Gripper
from shared.durable import replace_file
from shared.geometry import pose_from
from shared.looks import CELL, TALLEST, Looks, part_path, parts, read, write
from shared.open_hand import fits
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS
from sim_worker.command_line import settings_of
from sim_worker.processes import exit_status, process_pool
from sim_worker.world import SceneError, SceneSpec, World
from sim_worker.world.camera import View
from sim_worker.world.scene import Scene
from sim_worker.world.spec import CameraSpec

logger = logging.getLogger(__name__)

OPTIONS = "looks.json"
SEED_STREAM = 21
"""Keeps these scenes apart from those that other programs draw from the same seed."""
SIDE = 112
"""Of a window, pixels: what a network sees of it may be turned and shifted."""
PLACES = 0.165
"""m: half side of the square around the optical axis in which the middle of a window lies on the table."""
SPREAD = 0.012
"""m: deviation of a window's middle from an object's."""
DISTANCE = 0.70
"""From the table to the camera, m."""
ABOVE_TABLE = 0.004
"""m: what is lower counts as the table."""


class Settings(BaseSettings):
    """Look at many settled scenes: windows of colour pictures with the height of what every pixel sees."""

    model_config = SettingsConfigDict(
        cli_prog_name="python -m sim_worker.looks",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        protected_namespaces=(),
    )

    looks: int = Field(1000, ge=1, description="windows to have in the end; whole parts are written, so a few more come")
    out: Path = Field(description="folder of the parts; one that holds some is continued")
    seed: int = Field(0, ge=0, description="seed of all scenes and places")
    workers: int = Field(1, ge=1, le=256, description="processes")
    object_set: str = Field("train", description="objects: train, validation, test, random, household or procedural")
    profile: str = Field("standard", description="difficulty profile, of which colours and light are used")
    piles: float = Field(0.15, ge=0, le=1, description="share of scenes with several objects")
    looks_per_scene: int = Field(4, ge=1, le=64, description="windows per scene")
    scenes_per_part: int = Field(64, ge=1, le=4096, description="scenes whose windows make one part")


_world: World | None = None


def _part(settings: Settings, number: int) -> int:
    """Runs in a process of the pool, whose world is kept from part to part."""
    global _world
    try:
        _world = _world or World()
        looks = look_at_scenes(_world, settings, number)
        write(settings.out, number, looks)
        return len(looks)
    except Exception as error:  # not every error survives the way back between processes; its words do
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def look_at_scenes(world: World, settings: Settings, number: int) -> Looks:
    """The windows of part `number`."""
    colours, heights, lenses, answers = [], [], [], []
    first = number * settings.scenes_per_part
    for scene_number in range(first, first + settings.scenes_per_part):
        rng = np.random.default_rng([settings.seed, SEED_STREAM, scene_number])
        several = bool(rng.random() < settings.piles)
        spec = SceneSpec(
            seed=int(rng.integers(2**31)),
            kind="pile" if several else "single",
            object_set=settings.object_set,
            profile=settings.profile,
            count=int(rng.integers(2, 6)) if several else 1,
        )
        try:
            scene = world.build(spec)
        except SceneError as error:
            logger.info("scene %d could not be built: %s", scene_number, error)
            continue
        for _ in range(settings.looks_per_scene):
            view, nadir = look(scene, rng)
            colours.append(view.rgb)
            heights.append(heights_of(view))
            lenses.append([*nadir, view.camera.fx])
            answers.append(fits_of(heights[-1], view.camera))
    shape = (len(colours), SIDE, SIDE)
    return Looks(
        np.array(colours, np.uint8).reshape(*shape, 3),
        np.array(heights, np.uint8).reshape(shape),
        np.array(lenses, np.float32).reshape(len(colours), 3),
        np.array(answers, np.uint8).reshape(len(colours), len(TIP_HEIGHTS) * ROTATIONS, SIDE // CELL, SIDE // CELL),
    )


def look(scene: Scene, rng: np.random.Generator) -> tuple[View, np.ndarray]:
    """A window with some object about its middle, somewhere in the picture of a camera over the table; and its nadir (2,)."""
    placed = scene.placed[int(rng.integers(len(scene.placed)))]
    middle = np.asarray(placed.position[:2]) + rng.normal(0, SPREAD, 2)
    aim = middle - rng.uniform(-PLACES, PLACES, 2)
    camera = CameraSpec(width=SIDE, height=SIDE, distance=DISTANCE, aim=(float(aim[0]), float(aim[1]), 0.0))
    # The camera looks straight down with v against y: the window is a part of its picture that shows the middle.
    seen = (middle - aim) * (1, -1) * camera.focal / camera.distance
    nadir = (SIDE - 1) / 2 - seen
    return scene.observe_with(camera.model_copy(update={"centre": (float(nadir[0]), float(nadir[1]))})), nadir


def heights_of(view: View) -> np.ndarray:
    """(S, S) uint8, mm over the table, of what each pixel sees; 0 for the table and what is no higher than it."""
    depth, camera, pose = view.painting.depth, view.camera, view.true_camera_pose
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rise = pose[2, 0] * (u - camera.cx) / camera.fx + pose[2, 1] * (v - camera.cy) / camera.fy + pose[2, 2]
    height = np.where(depth > 0, depth * rise + pose[2, 3], 0.0)
    return np.where(height < ABOVE_TABLE, 0, np.clip(np.round(1e3 * height), 0, TALLEST)).astype(np.uint8)


def fits_of(heights: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """(T R, h, w) uint8: where a wide open hand fits over heights (S, S), mm, for each height of its tips and angle."""
    cells = np.stack(np.meshgrid(*(np.arange(side // CELL) for side in heights.shape)), -1)
    pose = pose_from(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, DISTANCE]))
    depth = DISTANCE - heights.astype(np.float32) / 1e3
    angles = [turn * math.pi / ROTATIONS for turn in range(ROTATIONS)]
    return fits(depth, camera, pose, Gripper(), angles, TIP_HEIGHTS, (cells + 0.5) * CELL - 0.5)


def main(settings: Settings) -> int:
    logs.setup("looks", "warning")
    console = Console()
    try:
        count = look_around(settings, console)
    except (ValueError, RuntimeError, OSError) as error:
        Console(stderr=True).print(f"looks: {error}", style="red", markup=False)
        return 2
    except KeyboardInterrupt as stopped:
        console.print("stopped; the same command continues")
        return exit_status(stopped)
    console.print(f"{count} windows in {len(parts(settings.out))} parts under {settings.out}")
    return 0


def check_options(settings: Settings) -> None:
    """Keep the options with the parts. Raises ValueError when the folder's parts were made with others."""
    path = settings.out / OPTIONS
    mine = settings.model_dump(mode="json", exclude={"looks", "out", "workers"})
    if path.exists() and parts(settings.out):
        kept = json.loads(path.read_bytes())
        different = sorted(name for name in mine if kept.get(name) != mine[name])
        if different:
            told = "; ".join(f"{name}: {kept.get(name)} there, {mine[name]} asked" for name in different)
            raise ValueError(f"{settings.out} was made with other options ({told}). Use another --out, or the same options.")
    settings.out.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(mine, indent=1).encode())


def look_around(settings: Settings, console: Console) -> int:
    """Write parts until there are enough windows; returns how many there are."""
    check_options(settings)
    have = sum(len(read(part)) for part in parts(settings.out).values())
    numbers = (number for number in range(2**31) if not part_path(settings.out, number).exists())
    expected, empty = settings.looks_per_scene * settings.scenes_per_part, 0
    columns = (TextColumn("windows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with (
        process_pool(settings.workers) as pool,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task("", total=max(settings.looks, have), completed=have)
        pending: set[Future[int]] = set()
        while True:
            while len(pending) < settings.workers and have + len(pending) * expected < settings.looks:
                pending.add(pool.submit(partial(_part, settings), next(numbers)))
            if not pending:
                return have
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for made in (future.result() for future in finished):
                have, empty = have + made, 0 if made else empty + 1
            progress.update(bar, completed=min(have, settings.looks))
            if not console.is_terminal:
                console.print(f"{have} of {settings.looks} windows")
            if empty >= 10:
                raise ValueError("ten parts in a row came without a window: are there objects in this object set?")


if __name__ == "__main__":
    sys.exit(main(settings_of(Settings)))
