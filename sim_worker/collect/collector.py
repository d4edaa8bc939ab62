"""A collection of labels: its recipe, its numbered scenes, and the shards that hold them."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from grasp_client.contract import Gripper, Outcome, OutcomeMeta, PushMeta, PushOptions, Variation
from shared.outcome_codec import encode_outcomes
from shared.shards import ShardReader, ShardWriter, shard_folders
from sim_worker.collect.recipe_lock import lock_recipe
from sim_worker.planner_request import DroppedInput, ExtraInput
from sim_worker.planners import NamedPlanner, load_planner
from sim_worker.replays import without_images
from sim_worker.sampling.hands import drawn_hand
from sim_worker.sampling.variety import varied
from sim_worker.tasks.goal_planner import GoalPlans
from sim_worker.tasks.goals import goal_of, neighbours_of
from sim_worker.tasks.labels import Mix, candidates, clear_some, label_scene
from sim_worker.tasks.push_labels import WORTH_A_PUSH, PushMix, label_pushes
from sim_worker.world import SceneError, SceneSpec, World
from sim_worker.world.camera.textures import textures_of
from sim_worker.world.simulation.spec import Looks

logger = logging.getLogger(__name__)

RECIPE = "collect.json"
MOST_ASKED = 5
"""Things of a scattered scene among which a goal is looked for that needs a push."""
SEED_STREAM = 20
"""Keeps these scenes apart from those that other programs draw from the same seed."""


class CollectionRecipe(BaseModel):
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
    inputs: list[ExtraInput] = []
    drop_inputs: list[DroppedInput] = []
    rgb: bool
    pushes: PushMix = PushMix(0)
    vary: list[Variation] = []
    tilts: bool = False
    clear: bool = False
    looks: Looks = "plain"
    textures: Path | None = None
    records: Literal["images", "replay"] = "images"
    gripper: Gripper


@dataclass
class ShardReport:
    """What one shard came to. successes: grasps that held, and pushes after which the goal could be grasped."""

    labels: int = 0
    successes: int = 0
    scenes: int = 0
    broken_scenes: int = 0
    by_origin: Counter[tuple[str, bool]] = field(default_factory=Counter)


SUFFICIENT = PushOptions().threshold
"""Quality of the goal's best grasp after a push that counts as a success."""


def succeeded(meta: OutcomeMeta) -> bool:
    """Whether a label counts as a success."""
    if isinstance(meta, PushMeta):
        return meta.quality_after > SUFFICIENT
    return bool(getattr(meta, "success", False))


def scene_spec(recipe: CollectionRecipe, number: int) -> SceneSpec:
    """The collection's scene of that number."""
    rng = np.random.default_rng([recipe.seed, SEED_STREAM, number])
    kind = str(rng.choice(recipe.kinds))
    return SceneSpec.model_validate(
        {
            "seed": int(rng.integers(2**31)),
            "kind": kind,
            "object_set": recipe.object_set,
            "profile": str(rng.choice(recipe.profiles)),
            "count": _count(recipe, kind, rng),
            "objects_dir": recipe.objects_dir,
            "vary": recipe.vary,
            "looks": recipe.looks,
        }
    )


def _count(recipe: CollectionRecipe, kind: str, rng: np.random.Generator) -> int | None:
    """Objects of a scene; none: as many as the kind has."""
    if kind == "single":
        return 1
    drawn = int(rng.integers(recipe.counts[0], recipe.counts[1] + 1))
    return None if kind == "enclosed" else drawn


class Collector:
    """One process: its world and its planners."""

    def __init__(self, recipe: CollectionRecipe, out: Path, models_dir: Path, api_key: str | None) -> None:
        self.recipe = recipe
        self.writer = ShardWriter(out)
        self.world = World(textures=textures_of(recipe.textures))
        self.goals = (
            GoalPlans(load_planner(recipe.planner, models_dir, api_key), recipe.gripper) if recipe.pushes.pushes else None
        )
        self.feasible = self._planner(recipe.feasible, recipe.mix.feasible, models_dir, api_key)
        self.on_policy = self._planner(recipe.planner, recipe.mix.on_policy, models_dir, api_key)

    @staticmethod
    def _planner(spec: str, labels: int, models_dir: Path, api_key: str | None) -> NamedPlanner | None:
        return load_planner(spec, models_dir, api_key) if labels else None

    def shard(self, number: int) -> ShardReport:
        """Label the scenes of shard `number` (from 0) and write them."""
        report = ShardReport()
        outcomes: list[Outcome[Any]] = []
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
        report.successes = sum(succeeded(outcome.meta) for outcome in outcomes)
        report.by_origin = Counter((_origin(outcome.meta), succeeded(outcome.meta)) for outcome in outcomes)
        if outcomes:
            self.writer.write(encode_outcomes(outcomes))
        return report

    def _pushes(self, number: int, goals: GoalPlans) -> list[Outcome[Any]]:
        """Of a scene whose goal, or one of its other things, cannot easily be grasped; none of another."""
        spec = scene_spec(self.recipe, number)
        scene, goals.spec = self.world.build(spec), spec
        view, drawn = scene.observe(), goal_of(scene)
        things = [drawn, *neighbours_of(scene, drawn)] if drawn else []
        if spec.kind == "enclosed":
            things = things[:1]
        for goal in things[:MOST_ASKED]:
            if goals.quality(view, goal)[0] < WORTH_A_PUSH:
                name = f"collect-{self.recipe.seed}:{number}"
                recipe = self.recipe
                return list(label_pushes(scene, goal, goals, recipe.gripper, recipe.pushes, name, recipe.rgb))
        return []

    def _scene(self, number: int) -> list[Outcome[Any]]:
        recipe = self.recipe
        if self.goals:
            return self._pushes(number, self.goals)
        spec, gripper = varied(scene_spec(recipe, number), recipe.gripper)
        scene = self.world.build(spec)
        hand = drawn_hand(gripper, spec)
        told = hand.told, recipe.inputs, recipe.drop_inputs, recipe.tilts
        if recipe.clear and self.on_policy and not clear_some(scene, self.on_policy, hand, *told[1:]):
            return []
        tried = candidates(scene, recipe.mix, self.feasible, self.on_policy, *told)
        labels = label_scene(scene, tried, hand.true, f"collect-{recipe.seed}:{number}", recipe.rgb, hand.told)
        return [without_images(label, spec) for label in labels] if recipe.records == "replay" else list(labels)


def _origin(meta: OutcomeMeta) -> str:
    """Where a label comes from: the kind of a grasp's draw, or a push."""
    return str(meta.details.get("strategy", meta.kind))


def already_there(out: Path, scenes_per_shard: int) -> tuple[set[int], int, int]:
    """(numbers of the shards done, labels, successes) of an earlier run."""
    done, labels, successes = set(), 0, 0
    for folder in shard_folders(out):
        reader = ShardReader(folder)
        labels += len(reader)
        successes += sum(succeeded(meta) for row in range(len(reader)) if (meta := reader.meta(row)))
        done |= {int(name.split(":")[1]) // scenes_per_shard for name in reader.ids()}
    return done, labels, successes


def check_recipe(out: Path, recipe: CollectionRecipe) -> None:
    """Keep the recipe with the shards. Raises ValueError when the folder's shards were made by another one."""
    lock_recipe(out / RECIPE, recipe, begun=bool(shard_folders(out)))
