"""`python -m sim_worker.benchmark goal`: get one wanted thing out of clutter, by several policies on the same scenes.

    goal --scenes enclosed --policy push_grasp --policy grasp_only   measure; the same command goes on where it stopped
    goal create case.txt --seed 5                                    write a preset file from a scene
    goal replay <out>/push_grasp/0003                                execute an episode again

Scenes: `enclosed` (others slid up to the goal until they touch; scenes whose goal can be grasped easily do not count),
`random10` and `random30` (dropped one by one, the goal one of the visible things), `cases` (preset files of published work).
"""

import json
import os
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, CliPositionalArg
from rich.console import Console
from rich.progress import Progress

from shared import logs
from sim_worker.benchmark.goal.episodes import RESULTS, replay, run_episode
from sim_worker.benchmark.goal.policies import PolicyName
from sim_worker.benchmark.goal.qmap import Qmaps, load_qmaps
from sim_worker.benchmark.goal.results import HIDDEN, Row, compare, print_results, summarise
from sim_worker.benchmark.goal.scenes import GoalProtocol, SceneName, find_scene, preset_files
from sim_worker.collect.recipe_lock import lock_recipe
from sim_worker.command_line import finish, gripper_of, options_of, settings_of
from sim_worker.planners import load_planner
from sim_worker.processes import process_pool, readable_errors
from sim_worker.tasks.goal_planner import GoalPlans
from sim_worker.world import Scene, SceneSpec, World
from sim_worker.world.simulation.cases import case_line, write_case
from sim_worker.world.simulation.spec import ProfileName

PROTOCOL = "protocol.json"


class GoalSettings(BaseSettings):
    """Measure how often, and in how many motions, one wanted thing is got out of clutter."""

    model_config = options_of("sim_worker.benchmark goal")

    scenes: SceneName = Field("enclosed", description="which scenes")
    policy: list[PolicyName] = Field(
        ["push_grasp"],
        description="push_grasp, push_only (nothing is lifted away), grasp_only, random_push, rule (sweep neighbours away), "
        "oracle (try a dozen pushes in simulation first), qmap (model push-grasp-qmap, as published work decides); repeat for "
        "several on identical scenes",
    )
    planner: str = Field("push", description="who decides: push (in this process), or name@URL of a server")
    episodes: int = Field(50, ge=1, description="scenes")
    profile: ProfileName = Field("standard", description="noise, friction, masses, pose error")
    object_set: str = Field("blocks", description="blocks of published work, test (never learned from), validation, clutter, …")
    cases: Path | None = Field(None, description="folder of preset files (*.txt), for the scenes `cases`")
    goals: list[int] = Field([], description="line of the goal in each preset file, from 0; none: those of the ten published")
    seed: int = Field(0, ge=0, description="of the scenes")
    rule_below: float = Field(0.0, ge=0, le=1, description="where no push is promised this quality, the rule orders them")
    gripper: str | None = Field(None, description="name of a hand, or JSON file with its sizes; none: Franka Panda hand")
    models_dir: Path = Field(Path("data/models"), description="registry for planners in this process")
    api_key: SecretStr | None = Field(None, description="for planners on a server")
    workers: int = Field(1, ge=1, le=256, description="processes")
    out: Path = Field(
        Path("data/goal"), description="session folder: results, and every motion; one that holds some is continued"
    )
    pictures: bool = Field(True, description="write images and values of every motion, without which nothing can be replayed")

    def protocol(self) -> GoalProtocol:
        files: list[Path] = []
        goals: list[int] = []
        if self.scenes == "cases":
            if self.cases is None:
                raise ValueError("--scenes cases needs --cases: a folder of preset files, which are not part of this project")
            files, goals = preset_files(self.cases, self.goals)
        asked = {name: getattr(self, name) for name in ("scenes", "object_set", "profile", "seed", "rule_below")}
        return GoalProtocol(**asked, cases=files, goals=goals)


class CreateSettings(BaseSettings):
    """Write a preset file from a simulated scene of blocks."""

    model_config = options_of("sim_worker.benchmark goal create")

    file: CliPositionalArg[Path] = Field(description="to write")
    kind: Literal["enclosed", "scattered"] = Field("enclosed", description="of the scene; its first block is the goal")
    seed: int = Field(0, ge=0, description="of the scene")
    count: int | None = Field(None, ge=1, le=30, description="blocks; none: the usual number for the kind")


class ReplaySettings(BaseSettings):
    """Execute an episode of a session folder again."""

    model_config = options_of("sim_worker.benchmark goal replay")

    episode: CliPositionalArg[Path] = Field(description="folder of the episode: <session>/<policy>/<scene>")
    gripper: str | None = Field(None, description="as it was measured with")


@lru_cache(maxsize=1)
def _bench(
    planner: str, models_dir: Path, api_key: str | None, gripper: str | None, rule_below: float
) -> tuple[World, GoalPlans]:
    """World and planner of this process, kept from scene to scene."""
    return World(), GoalPlans(load_planner(planner, models_dir, api_key), gripper_of(gripper), rule_below=rule_below)


@lru_cache(maxsize=1)
def _qmaps(models_dir: Path) -> Qmaps:
    return load_qmaps(models_dir)


@readable_errors
def _scene(settings: GoalSettings, protocol: GoalProtocol, policies: list[PolicyName], number: int) -> list[Row]:
    """Every policy that is still to come in one scene."""
    key = settings.api_key.get_secret_value() if settings.api_key else None
    world, planner = _bench(settings.planner, settings.models_dir, key, settings.gripper, settings.rule_below)

    def quality(scene: Scene, goal: str) -> float:
        planner.spec = scene.spec
        return planner.quality(scene.observe(), goal)[0]

    found = find_scene(world, protocol, number, quality)
    planner.spec = found.spec
    rows = []
    for policy in policies:
        if found.goal is None:
            empty = {"motions": 0, "attempts": 0, "failures": 0, "kinds": []}
            told = {"policy": policy, "number": number, "scene_seed": found.spec.seed, "hash": found.hash, "goal": None}
            rows.append({**told, "ended": HIDDEN, **empty})
            continue
        folder = settings.out / policy / f"{number:04d}" if settings.pictures else None
        values = _qmaps(settings.models_dir) if policy == "qmap" else None
        rows.append(run_episode(found, policy, planner, planner.gripper, number, folder, values))
    return rows


def run(settings: GoalSettings, console: Console) -> dict[str, list[Row]]:
    """Episodes by policy, in the order of scenes; those that `out` holds are not made again."""
    protocol, results = settings.protocol(), settings.out / RESULTS
    lock_recipe(settings.out / PROTOCOL, protocol, begun=results.exists())
    rows = read_rows(results)
    have = {(row["policy"], row["number"]) for row in rows}
    policies = list(dict.fromkeys(settings.policy))
    missing = {number: [policy for policy in policies if (policy, number) not in have] for number in range(settings.episodes)}
    tasks = [(number, left) for number, left in missing.items() if left]
    with Progress(console=console, disable=not console.is_terminal) as progress, results.open("a") as kept:
        bar = progress.add_task("scenes", total=settings.episodes, completed=settings.episodes - len(tasks))
        for found in _made(settings, protocol, tasks):
            rows += found
            kept.writelines(json.dumps(row) + "\n" for row in found)
            kept.flush()
            progress.update(bar, advance=1)
    mine = [row for row in rows if row["policy"] in policies and row["number"] < settings.episodes]
    return {
        policy: sorted((row for row in mine if row["policy"] == policy), key=lambda row: int(row["number"]))
        for policy in policies
    }


def _made(settings: GoalSettings, protocol: GoalProtocol, tasks: list[tuple[int, list[PolicyName]]]) -> Any:
    if settings.workers == 1:
        yield from (_scene(settings, protocol, left, number) for number, left in tasks)
        return
    with process_pool(settings.workers) as pool:
        futures = [pool.submit(_scene, settings, protocol, left, number) for number, left in tasks]
        yield from (future.result() for future in futures)


def read_rows(path: Path) -> list[Row]:
    """What `results.jsonl` holds; a line that a kill left unfinished counts for none."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def main() -> int:
    """`sys.argv` without the word `goal`."""
    logs.setup("benchmark", "warning")
    console = Console() if sys.stdout.isatty() else Console(width=150)
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "create":
        del sys.argv[1]
        return finish("goal create", partial(_create, settings_of(CreateSettings), console))
    if what == "replay":
        del sys.argv[1]
        return finish("goal replay", partial(_replay, settings_of(ReplaySettings), console))
    return finish("goal", partial(_measure, settings_of(GoalSettings), console), "stopped; the same command continues")


def _measure(settings: GoalSettings, console: Console) -> None:
    rows = run(settings, console)
    figures = {policy: summarise(each) for policy, each in rows.items()}
    compared = compare(dict(rows))
    title = f"{settings.scenes}, objects {settings.object_set}, profile {settings.profile}, planner {settings.planner}"
    print_results(console, title, figures, compared)
    result = {"protocol": json.loads(settings.protocol().model_dump_json()), "policies": figures, "comparisons": compared}
    (settings.out / "summary.json").write_text(json.dumps(result, indent=1))


def _create(settings: CreateSettings, console: Console) -> None:
    world = World()
    scene = world.build(SceneSpec(seed=settings.seed, kind=settings.kind, count=settings.count, object_set="blocks"))
    write_case(settings.file, [case_line(world.physics, placed) for placed in scene.placed])
    console.print(f"{len(scene.placed)} blocks in {settings.file}; the goal is line 0: --goals 0")


def _replay(settings: ReplaySettings, console: Console) -> None:
    for told, motion in replay(World(), settings.episode, gripper_of(settings.gripper)):
        now = f"{'ok' if motion.success else motion.failure}, goal moved {1000 * motion.moved:.1f} mm"
        same = (told["success"], told["failure"], told["lifted"]) == (motion.success, motion.failure, motion.lifted)
        console.print(f"{told['number']}: {told['kind']}: {now}{'' if same else '; it was otherwise before'}", highlight=False)
