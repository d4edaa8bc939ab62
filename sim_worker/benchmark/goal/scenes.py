"""The scenes of the goal benchmark: the same for every policy, numbered, each with the one thing that is wanted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sim_worker.tasks.goals import goal_of, is_visible
from sim_worker.world import Scene, SceneError, SceneSpec, Snapshot, World
from sim_worker.world.simulation.cases import read_case
from sim_worker.world.simulation.spec import ProfileName

SEED_STREAM = 31
"""Keeps these scenes apart from those that other programs draw from the same seed."""
ENCLOSED_BELOW = 0.85
"""Of enclosed scenes those count in which the goal's best grasp has less quality than this."""
REDRAWS = 40
"""Scenes drawn for one that counts, at most."""
PUBLISHED_GOALS = (4, 7, 8, 7, 7, 3, 1, 7, 5, 9)
"""Lines, from 0, of the goals in the ten published preset files, in the order of their names."""
SceneName = Literal["enclosed", "random10", "random30", "cases"]
COUNTS: dict[str, int | None] = {"enclosed": None, "random10": 10, "random30": 30}


class GoalProtocol(BaseModel):
    """What a figure means, besides policy and planner. Printed and stored with every result."""

    model_config = ConfigDict(frozen=True)

    scenes: SceneName
    object_set: str = "blocks"
    profile: ProfileName = "standard"
    seed: int = 0
    rule_below: float = 0.0
    cases: list[Path] = Field([], description="preset files, taken in turn")
    goals: list[int] = Field([], description="line of the goal in each of them, from 0")

    def spec(self, number: int, redraw: int = 0) -> SceneSpec:
        """Scene `number`; a redraw replaces one that does not count."""
        seed = int(np.random.default_rng([self.seed, SEED_STREAM, number, redraw]).integers(2**31))
        if self.scenes == "cases":
            case = self.cases[number % len(self.cases)]
            return SceneSpec(seed=seed, kind="case", case=case, object_set="blocks", profile=self.profile)
        kind = "enclosed" if self.scenes == "enclosed" else "scattered"
        return SceneSpec.model_validate(
            {"seed": seed, "kind": kind, "count": COUNTS[self.scenes], "object_set": self.object_set, "profile": self.profile}
        )


@dataclass(frozen=True)
class GoalScene:
    """A scene that counts, as it settled, and its goal; None where every thing is hidden."""

    scene: Scene
    goal: str | None
    hash: str
    settled: Snapshot

    @classmethod
    def of(cls, scene: Scene, goal: str | None) -> "GoalScene":
        return cls(scene, goal, scene.hash(), scene.snapshot())

    @property
    def spec(self) -> SceneSpec:
        return self.scene.spec

    def again(self) -> Scene:
        """The scene as every policy finds it, which takes a hundredth of building it once more."""
        self.scene.revert(self.settled)
        return self.scene


def find_scene(world: World, protocol: GoalProtocol, number: int, quality: Callable[[Scene, str], float]) -> GoalScene:
    """Scene `number`: of enclosed ones the first draw whose goal cannot easily be grasped. quality: of a goal's best grasp.

    Raises SceneError when no draw counts.
    """
    failure: SceneError = SceneError(
        f"{REDRAWS} draws of scene {number} gave no goal with a quality below {ENCLOSED_BELOW}: are the objects too easy?"
    )
    for redraw in range(REDRAWS):
        spec = protocol.spec(number, redraw)
        try:
            scene = world.build(spec)
        except SceneError as error:
            failure = error
            continue
        goal = _case_goal(scene, protocol, number) if protocol.scenes == "cases" else goal_of(scene)
        if protocol.scenes != "enclosed" or (goal is not None and quality(scene, goal) < ENCLOSED_BELOW):
            return GoalScene.of(scene, goal)
    raise failure


def _case_goal(scene: Scene, protocol: GoalProtocol, number: int) -> str | None:
    """Name of the goal of a preset file; None where it is hidden."""
    place = number % len(protocol.cases)
    path, line = protocol.cases[place], protocol.goals[place]
    lines = read_case(path)
    if line >= len(lines) or not lines[line].usable:
        raise SceneError(f"{path}: line {line} (from 0) is no block in the workspace: expected that of the goal, see --goals")
    seen = Counter(each.name for each in lines[: line + 1] if each.usable)
    name = lines[line].name if seen[lines[line].name] == 1 else f"{lines[line].name}#{seen[lines[line].name]}"
    return name if is_visible(scene.observe(), name) else None


def preset_files(folder: Path, goals: list[int]) -> tuple[list[Path], list[int]]:
    """The preset files of a folder, in the order of their names, and the lines of their goals: as given, or the published ones.

    Raises ValueError for a folder without files, or of other than ten without `goals`.
    """
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise ValueError(f"--cases: no preset file (*.txt) in {folder}; `goal create` writes one from a scene")
    if not goals and len(files) != len(PUBLISHED_GOALS):
        raise ValueError(
            f"--goals: expected the goal's line (from 0) for each of the {len(files)} files of {folder}, in the order of their "
            "names; they are known for the ten published files alone"
        )
    if goals and len(goals) != len(files):
        raise ValueError(f"--goals: expected {len(files)} lines, one for each file of {folder}, got {len(goals)}")
    return files, goals or list(PUBLISHED_GOALS)
