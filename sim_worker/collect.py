"""`python -m sim_worker.collect`: many labelled grasps per settled scene, as shards for the trainer.

Scenes are numbered and seeded; a shard holds a fixed run of them, and its outcome ids name them. So an interrupted
collection goes on where it stopped, and what is collected does not depend on how many processes collect it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from grasp_client import GraspServerError
from shared import logs
from shared.contract import Gripper, Outcome
from shared.durable import replace_file
from shared.rates import wilson
from shared.shards import ShardReader, ShardWriter, shard_folders
from sim_worker.export import export_mobileunet
from sim_worker.planners import NamedPlanner, load_planner
from sim_worker.tasks.labels import Mix, candidates, label_scene
from sim_worker.world import SceneError, SceneSpec, World

logger = logging.getLogger(__name__)

RECIPE = "collect.json"
SEED_STREAM = 20
"""Keeps these scenes apart from those that other programs draw from the same seed."""


class Recipe(BaseModel):
    """What a collection is made of; kept beside the shards, and the same for every run that continues it."""

    seed: int
    kinds: list[str]
    profiles: list[str]
    object_set: str
    objects_dir: Path | None
    counts: tuple[int, int]
    scenes_per_shard: int
    mix: Mix
    feasible: str
    planner: str
    rgb: bool
    gripper: Gripper


class Settings(BaseSettings):
    """Collect labelled grasps: many attempts per settled scene, each from the same state, written as shards."""

    model_config = SettingsConfigDict(
        cli_prog_name="python -m sim_worker.collect",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        protected_namespaces=(),
    )

    attempts: int = Field(1000, ge=1, description="labels to have in the end; whole shards are written, so a few more come")
    out: Path = Field(description="folder of the shards; one that holds some is continued")
    seed: int = Field(0, ge=0, description="seed of all scenes and grasps")
    workers: int = Field(1, ge=1, le=256, description="processes")
    kinds: list[str] = Field(["single", "pile"], description="scene kinds, drawn evenly; repeat the option for several")
    profiles: list[str] = Field(["standard"], description="difficulty profiles, drawn evenly; repeat for several")
    object_set: str = Field("train", description="objects: train, validation, test, random, household, procedural or folder")
    objects_dir: Path | None = Field(None, description="URDF, OBJ or STL files of your own; sets --object-set folder")
    fewest: int = Field(3, ge=1, le=30, description="fewest objects in a scene of several")
    most: int = Field(6, ge=1, le=30, description="most objects in a scene of several")
    random: int = Field(10, ge=0, description="labels per scene: random on an object")
    edges: int = Field(10, ge=0, description="labels per scene: between opposite depth edges")
    feasible: int = Field(10, ge=0, description="labels per scene: anywhere in the list of --feasible-planner")
    on_policy: int = Field(2, ge=0, description="labels per scene: among the best of --planner")
    feasible_planner: str = Field("antipodal", description="planner whose list gives the feasible grasps")
    planner: str = Field("antipodal", description="planner whose best are tried: a name, name:version, URL or name@URL")
    models_dir: Path = Field(Path("data/models"), description="registry for planners in this process")
    api_key: SecretStr | None = Field(None, description="for planners on a server")
    rgb: bool = Field(False, description="keep the colour image too")
    gripper: Path | None = Field(None, description="JSON file with the gripper's sizes; none: Franka Panda hand")
    scenes_per_shard: int = Field(8, ge=1, le=4096, description="scenes whose labels make one shard")
    export_mobileunet: Path | None = Field(None, description="also write the successes as a MobileUNet .npz; implies --rgb")

    @field_validator("kinds", "profiles", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value

    def recipe(self) -> Recipe:
        return Recipe(
            seed=self.seed,
            kinds=self.kinds,
            profiles=self.profiles,
            object_set="folder" if self.objects_dir else self.object_set,
            objects_dir=self.objects_dir,
            counts=(min(self.fewest, self.most), max(self.fewest, self.most)),
            scenes_per_shard=self.scenes_per_shard,
            mix=Mix(self.random, self.edges, self.feasible, self.on_policy),
            feasible=self.feasible_planner,
            planner=self.planner,
            rgb=self.rgb or self.export_mobileunet is not None,
            gripper=Gripper.model_validate_json(self.gripper.read_bytes()) if self.gripper else Gripper(),
        )


@dataclass
class ShardReport:
    """What one shard came to."""

    labels: int = 0
    successes: int = 0
    scenes: int = 0
    broken_scenes: int = 0
    by_origin: Counter[tuple[str, bool]] | None = None


def scene_spec(recipe: Recipe, number: int) -> SceneSpec:
    """The collection's scene of that number."""
    rng = np.random.default_rng([recipe.seed, SEED_STREAM, number])
    kind = str(rng.choice(recipe.kinds))
    return SceneSpec.model_validate(
        {
            "seed": int(rng.integers(2**31)),
            "kind": kind,
            "object_set": recipe.object_set,
            "profile": str(rng.choice(recipe.profiles)),
            "count": 1 if kind == "single" else int(rng.integers(recipe.counts[0], recipe.counts[1] + 1)),
            "objects_dir": recipe.objects_dir,
        }
    )


class Collector:
    """One process: its world and its planners."""

    def __init__(self, recipe: Recipe, out: Path, models_dir: Path, api_key: str | None) -> None:
        self.recipe = recipe
        self.writer = ShardWriter(out)
        self.world = World()
        self.feasible = self._planner(recipe.feasible, recipe.mix.feasible, models_dir, api_key)
        self.on_policy = self._planner(recipe.planner, recipe.mix.on_policy, models_dir, api_key)

    @staticmethod
    def _planner(spec: str, labels: int, models_dir: Path, api_key: str | None) -> NamedPlanner | None:
        return load_planner(spec, models_dir, api_key) if labels else None

    def shard(self, number: int) -> ShardReport:
        """Label the scenes of shard `number` (from 0) and write them."""
        report = ShardReport(by_origin=Counter())
        outcomes: list[Outcome] = []
        first = number * self.recipe.scenes_per_shard
        for scene_number in range(first, first + self.recipe.scenes_per_shard):
            try:
                labelled = self._scene(scene_number)
            except SceneError as error:
                logger.info("scene %d could not be built: %s", scene_number, error)
                report.broken_scenes += 1
                continue
            report.scenes += 1
            outcomes += labelled
        report.labels = len(outcomes)
        report.successes = sum(outcome.meta.success for outcome in outcomes)
        report.by_origin = Counter((str(outcome.meta.details["strategy"]), outcome.meta.success) for outcome in outcomes)
        if outcomes:
            self.writer.write(outcomes)
        return report

    def _scene(self, number: int) -> list[Outcome]:
        recipe = self.recipe
        spec = scene_spec(recipe, number)
        scene = self.world.build(spec)
        tried = candidates(scene.observe(), recipe.mix, self.feasible, self.on_policy, recipe.gripper, spec.seed)
        return list(label_scene(scene, spec, tried, recipe.gripper, f"collect-{recipe.seed}:{number}", recipe.rgb))


_collector: Collector | None = None


def _start(recipe: Recipe, out: Path, models_dir: Path, api_key: str | None) -> None:
    global _collector
    _collector = Collector(recipe, out, models_dir, api_key)


def _shard(number: int) -> ShardReport:
    assert _collector is not None
    return _collector.shard(number)


def already_there(out: Path, scenes_per_shard: int) -> tuple[set[int], int, int]:
    """(numbers of the shards done, labels, successes) of an earlier run."""
    done, labels, successes = set(), 0, 0
    for folder in shard_folders(out):
        reader = ShardReader(folder)
        labels += len(reader)
        successes += int(reader.index["successes"])
        done |= {int(name.split(":")[1]) // scenes_per_shard for name in reader.ids()}
    return done, labels, successes


def check_recipe(out: Path, recipe: Recipe) -> None:
    """Keep the recipe with the shards. Raises ValueError when the folder's shards were made by another one."""
    path = out / RECIPE
    mine = json.loads(recipe.model_dump_json())
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(mine, indent=1).encode())
        return
    kept = json.loads(path.read_bytes())
    different = sorted(name for name in mine if kept.get(name) != mine[name])
    if different:
        told = "; ".join(f"{name}: {kept.get(name)} there, {mine[name]} asked" for name in different)
        raise ValueError(f"{out} was collected with other options ({told}). Use another --out, or the same options.")


def collect(settings: Settings, console: Console) -> int:
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
    empty_in_a_row, expected = 0, recipe.mix.total * recipe.scenes_per_shard
    pool = ProcessPoolExecutor(
        settings.workers, get_context("spawn"), _start, (recipe, settings.out, settings.models_dir, api_key)
    )
    with pool, _progress(console) as progress:
        bar = progress.add_task("labels", total=max(settings.attempts, labels), completed=labels, rate="")
        pending: set[Future[ShardReport]] = set()
        try:
            while True:
                while len(pending) < settings.workers and labels + len(pending) * expected < settings.attempts:
                    pending.add(pool.submit(_shard, next(numbers)))
                if not pending:
                    break
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for report in (future.result() for future in finished):
                    labels, successes = labels + report.labels, successes + report.successes
                    origins.update(report.by_origin)
                    empty_in_a_row = 0 if report.labels else empty_in_a_row + 1
                rate = f"{successes / max(labels, 1):.1%} succeed"
                progress.update(bar, completed=min(labels, settings.attempts), rate=rate)
                if not console.is_terminal:
                    console.print(f"{labels} labels, {rate}")
                if empty_in_a_row >= 10:
                    raise ValueError("ten shards in a row came without a label: are there objects in this object set?")
        finally:
            pool.shutdown(cancel_futures=True)
    _summary(console, settings.out, origins)
    return labels


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _summary(console: Console, out: Path, origins: Counter[tuple[str, bool]]) -> None:
    """How often each kind of grasp succeeded in this run, with 95 % intervals."""
    for origin in sorted({origin for origin, _ in origins}):
        successes, attempts = origins[origin, True], origins[origin, True] + origins[origin, False]
        low, high = wilson(successes, attempts)
        console.print(f"  {origin:10} {successes:6} of {attempts:6}  {successes / attempts:.3f} [{low:.3f}, {high:.3f}]")
    _, labels, successes = already_there(out, 1)
    console.print(f"{labels} labels in {len(shard_folders(out))} shards under {out}, {successes / max(labels, 1):.1%} succeed")


def main(settings: Settings) -> int:
    logs.setup("collect", "warning")
    console = Console()
    try:
        collect(settings, console)
        if settings.export_mobileunet:
            count = export_mobileunet(settings.out, settings.export_mobileunet)
            console.print(f"{count} successes in {settings.export_mobileunet}")
    except (ValueError, ValidationError, GraspServerError, OSError) as error:
        Console(stderr=True).print(f"collect: {error}", style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; the same command continues")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(CliApp.run(Settings)))
