"""`python -m sim_worker.collect`: many labelled grasps per settled scene, as shards for the trainer.

Scenes are numbered and seeded; a shard holds a fixed run of them, and its outcome ids name them. So an interrupted
collection goes on where it stopped, and what is collected does not depend on how many processes collect it.
"""

import gc
import logging
import os
from collections import Counter
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings
from rich.console import Console

from grasp_client.contract import Variation
from shared import logs
from shared.rates import wilson
from shared.shards import ShardWriter, shard_folders
from sim_worker.collect.collector import CollectionRecipe, Collector, ShardReport, already_there, check_recipe
from sim_worker.collect.export import export_mobileunet
from sim_worker.command_line import finish, gripper_of, options_of, settings_of
from sim_worker.planner_request import DroppedInput, ExtraInput
from sim_worker.processes import as_made, process_pool, readable_errors
from sim_worker.progress import Bar
from sim_worker.tasks.labels import Mix
from sim_worker.tasks.push_labels import PushMix
from sim_worker.world.camera.textures import Textures, check_looks
from sim_worker.world.simulation.spec import Looks

logger = logging.getLogger(__name__)


class CollectSettings(BaseSettings):
    """Collect labelled grasps: many attempts per settled scene, each from the same state, written as shards."""

    model_config = options_of("sim_worker.collect")

    attempts: int = Field(1000, ge=1, description="labels to have in the end; whole shards are written, so a few more come")
    out: Path = Field(description="folder of the shards; one that holds some is continued")
    seed: int = Field(0, ge=0, description="seed of all scenes and grasps")
    workers: int = Field(1, ge=1, le=256, description="processes")
    kinds: list[str] = Field(["single", "pile"], description="scene kinds, drawn evenly; repeat the option for several")
    profiles: list[str] = Field(["standard"], description="difficulty profiles, drawn evenly; repeat for several")
    object_set: str = Field("train", description="objects: train, validation, test, random, household, procedural or folder")
    objects_dir: Path | None = Field(None, description="URDF, OBJ or STL files of your own; sets --object-set folder")
    min_objects: int = Field(3, ge=1, le=30, description="fewest objects in a scene of several")
    max_objects: int = Field(6, ge=1, le=30, description="most objects in a scene of several")
    random: int = Field(10, ge=0, description="labels per scene: random on an object")
    edges: int = Field(10, ge=0, description="labels per scene: between opposite depth edges")
    feasible: int = Field(10, ge=0, description="labels per scene: anywhere in the list of --feasible-planner")
    on_policy: int = Field(2, ge=0, description="labels per scene: among the best of --planner")
    flat: int = Field(0, ge=0, description="labels per scene: wide open, straight down, at a few heights over the table")
    pushes: int = Field(
        0,
        ge=0,
        description="labels of pushes instead of grasps: so many from each settled state of scenes of the kinds enclosed and "
        "scattered, by --planner push",
    )
    relabelled: int = Field(
        1, ge=0, le=3, description="things beside the goal that the same pushes are labelled for too, where they may help them"
    )
    feasible_planner: str = Field("antipodal", description="planner whose list gives the feasible grasps")
    planner: str = Field("antipodal", description="planner whose best are tried: a name, name:version, URL or name@URL")
    inputs: list[ExtraInput] = Field([], description="give --planner more: rgb, segmask, table_depth, bin, region")
    drop_inputs: list[DroppedInput] = Field([], description="do not give --planner: depth")
    models_dir: Path = Field(Path("data/models"), description="registry for planners in this process")
    api_key: SecretStr | None = Field(None, description="for planners on a server")
    rgb: bool = Field(False, description="keep the colour image too")
    looks: Looks = Field("plain", description="of colour images: plain or photographic (held-out ones are for judging)")
    textures: Textures = None
    records: Literal["images", "replay"] = Field(
        "images", description="what is kept of a view: images, or what renders them again where they are learned from"
    )
    gripper: str | None = Field(None, description="name of a hand, or JSON file with its sizes; none: Franka Panda hand")
    scenes_per_shard: int = Field(8, ge=1, le=4096, description="scenes whose labels make one shard")
    vary: list[Variation] = Field(
        [], description="draw hands (with things of their size), cameras, and cameras at the sides for every scene; repeat"
    )
    tilts: bool = Field(False, description="tell planners approaches that each scene draws: any, or one and what is near it")
    clear: bool = Field(
        False,
        description="take things away first as the best of --planner lift them, as many as the scene draws: what is "
        "left is what planners meet; needs --on-policy",
    )
    export_mobileunet: Path | None = Field(None, description="also write the successes as a MobileUNet .npz; implies --rgb")

    @field_validator("kinds", "profiles", "vary", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _textures_are_seen(self) -> "CollectSettings":
        check_looks([self.looks], self.textures)
        if self.textures and self.records == "replay":
            raise ValueError("views with textures cannot be rendered again from their scene: keep --records images")
        return self

    @model_validator(mode="after")
    def _cleared_scenes_can_be_told(self) -> "CollectSettings":
        if self.clear and (not self.on_policy or self.records == "replay"):
            raise ValueError("--clear lifts things with the planner of --on-policy, and keeps --records images")
        return self

    def recipe(self) -> CollectionRecipe:
        decided = {
            "object_set": "folder" if self.objects_dir else self.object_set,
            "counts": sorted((self.min_objects, self.max_objects)),
            "mix": Mix(self.random, self.edges, self.feasible, self.on_policy, self.flat),
            "pushes": PushMix(self.pushes, self.relabelled),
            "feasible": self.feasible_planner,
            "rgb": self.rgb or self.export_mobileunet is not None,
            "records": "images" if self.export_mobileunet else self.records,
            "gripper": gripper_of(self.gripper),
        }
        return CollectionRecipe.model_validate({**self.model_dump(), **decided})


_collector: Collector | None = None


@readable_errors
def _shard(recipe: CollectionRecipe, out: Path, models_dir: Path, api_key: str | None, number: int) -> ShardReport:
    """Runs in a process of the pool, whose world and planners are kept from shard to shard."""
    global _collector
    if _collector is None:
        _collector = Collector(recipe, out, models_dir, api_key)
        gc.freeze()  # what is loaded stays
    return _collector.shard(number)


def collect(settings: CollectSettings, console: Console) -> int:
    """Write shards until there are enough labels; returns how many there are."""
    recipe = settings.recipe()
    check_recipe(settings.out, recipe)
    ShardWriter(settings.out).remove_unfinished()
    done, labels, successes = already_there(settings.out, recipe.scenes_per_shard)
    if labels:
        console.print(f"continuing: {labels} labels from {len(done)} shards are there")
    numbers = (number for number in range(2**31) if number not in done)
    api_key = settings.api_key.get_secret_value() if settings.api_key else None
    origins: Counter[tuple[str, bool]] = Counter()
    expected = (recipe.pushes.pushes or recipe.mix.total) * recipe.scenes_per_shard
    shard = partial(_shard, recipe, settings.out, settings.models_dir, api_key)
    with process_pool(settings.workers) as pool, Bar(console, "labels", settings.attempts, labels) as bar:
        missing = settings.attempts - labels
        for report in as_made(pool, settings.workers, shard, numbers, attrgetter("labels"), missing, expected):
            labels, successes = labels + report.labels, successes + report.successes
            origins.update(report.by_origin)
            bar.show(labels, f"{successes / max(labels, 1):.1%} succeed")
    _summary(console, settings.out, origins)
    return labels


def _summary(console: Console, out: Path, origins: Counter[tuple[str, bool]]) -> None:
    """How often each kind of grasp succeeded in this run, with 95 % intervals."""
    for origin in sorted({origin for origin, _ in origins}):
        successes, attempts = origins[origin, True], origins[origin, True] + origins[origin, False]
        low, high = wilson(successes, attempts)
        console.print(f"  {origin:10} {successes:6} of {attempts:6}  {successes / attempts:.3f} [{low:.3f}, {high:.3f}]")
    _, labels, successes = already_there(out, 1)
    console.print(f"{labels} labels in {len(shard_folders(out))} shards under {out}, {successes / max(labels, 1):.1%} succeed")


def main() -> int:
    settings = settings_of(CollectSettings)
    logs.setup("collect", "warning")
    return finish("collect", partial(_work, settings, Console()), "stopped; the same command continues")


def _work(settings: CollectSettings, console: Console) -> None:
    collect(settings, console)
    if settings.export_mobileunet:
        count = export_mobileunet(settings.out, settings.export_mobileunet)
        console.print(f"{count} successes in {settings.export_mobileunet}")
