"""Colour windows of settled scenes with true heights and tried grasps: `python -m sim_worker.collect.rgb_windows`.

Each scene is looked at several times, as if it stood elsewhere on the table. Parts are numbered and seeded: an interrupted run
goes on where it stopped, and what comes out does not depend on how many processes make it.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings
from rich.console import Console

from grasp_client.observation import GraspPlanner
from shared import logs
from shared.rgb_windows import parts, read, write
from sim_worker.collect.recipe_lock import lock_recipe
from sim_worker.collect.window_capture import WindowRecipe, capture_windows
from sim_worker.command_line import finish, options_of, settings_of
from sim_worker.planners import load_planner
from sim_worker.processes import as_made, process_pool, readable_errors
from sim_worker.progress import Bar
from sim_worker.world import World
from sim_worker.world.camera.textures import Textures, check_looks, textures_of
from sim_worker.world.simulation.spec import Looks

RECIPE = "rgb_windows.json"


class RgbWindowSettings(BaseSettings):
    """Look at many settled scenes: windows of colour pictures with the height of what every pixel sees, and grasps tried."""

    model_config = options_of("sim_worker.collect.rgb_windows")

    windows: int = Field(1000, ge=1, description="pictures to have in the end; whole parts are written, so a few more come")
    out: Path = Field(description="folder of the parts; one that holds some is continued")
    seed: int = Field(0, ge=0, description="seed of all scenes and places")
    workers: int = Field(1, ge=1, le=256, description="processes")
    object_set: str = Field("train", description="objects: train, validation, test, random, household or procedural")
    profile: str = Field("standard", description="difficulty profile, of which colours and light are used")
    looks: list[Looks] = Field(
        ["plain"],
        min_length=1,
        description="plain or photographic (held-out ones are for judging); repeat for as many pictures of each window, which "
        "share the grasps that were tried",
    )
    textures: Textures = None
    clutter_ratio: float = Field(0.15, ge=0, le=1, description="share of scenes with several objects")
    elsewhere: float = Field(
        0.0, ge=0, le=1, description="share of windows anywhere on the table, most with a flat print in the middle"
    )
    windows_per_scene: int = Field(4, ge=1, le=64, description="windows per scene")
    grasps_per_window: int = Field(3, ge=1, le=64, description="grasps tried per window, straight down with the jaw wide open")
    on_policy: int = Field(0, ge=0, le=64, description="so many of them are the best of --planner")
    planner: str = Field("heatmap", description="planner for --on-policy")
    models_dir: Path = Field(Path("data/models"), description="registry for a planner in this process")
    scenes_per_part: int = Field(64, ge=1, le=4096, description="scenes whose windows make one part")

    @model_validator(mode="after")
    def _on_policy_is_tried(self) -> RgbWindowSettings:
        if self.on_policy > self.grasps_per_window:
            raise ValueError(
                f"on_policy is {self.on_policy} of {self.grasps_per_window} grasps_per_window: expected at most as many"
            )
        return self

    @model_validator(mode="after")
    def _textures_are_seen(self) -> RgbWindowSettings:
        check_looks(self.looks, self.textures)
        return self

    def recipe(self) -> WindowRecipe:
        return WindowRecipe.model_validate(self.model_dump())


_cell: tuple[World, GraspPlanner | None] | None = None


@readable_errors
def _part(recipe: WindowRecipe, out: Path, models_dir: Path, number: int) -> int:
    """Runs in a process of the pool, whose world and planner are kept from part to part."""
    global _cell
    if _cell is None:
        _cell = (
            World(textures=textures_of(recipe.textures)),
            load_planner(recipe.planner, models_dir).planner if recipe.on_policy else None,
        )
    world, planner = _cell
    windows = capture_windows(world, recipe, number, planner)
    write(out, number, windows)
    return len(windows)


def capture(settings: RgbWindowSettings, console: Console) -> None:
    """Write parts until there are enough windows."""
    recipe, there = settings.recipe(), parts(settings.out)
    lock_recipe(settings.out / RECIPE, recipe, begun=bool(there))
    have = sum(len(read(part)) for part in there.values())
    numbers = (number for number in range(2**31) if number not in there)
    expected = len(recipe.looks) * recipe.windows_per_scene * recipe.scenes_per_part
    part = partial(_part, recipe, settings.out, settings.models_dir)
    with process_pool(settings.workers) as pool, Bar(console, "windows", settings.windows, have) as bar:
        for made in as_made(pool, settings.workers, part, numbers, int, settings.windows - have, expected):
            have += made
            bar.show(have)
    console.print(f"{have} windows in {len(parts(settings.out))} parts under {settings.out}")


def main(settings: RgbWindowSettings | None = None) -> int:
    settings = settings or settings_of(RgbWindowSettings)
    logs.setup("rgb_windows", "warning")
    return finish("rgb_windows", partial(capture, settings, Console()), "stopped; the same command continues")


if __name__ == "__main__":
    sys.exit(main())
