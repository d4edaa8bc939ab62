"""`python -m sim_worker.benchmark KIND`: how good is a planner, by the protocols that papers report.

    single  one object, one attempt: success rate
    packed  objects standing close; pile: objects dropped together. A round ends when the table is clear, when no grasp is
            found, or after two failures in a row. GSR = successes / attempts, DR = removed / presented
    bin     objects in a bin; an object that fails three times is set aside; leaning: things lean against its walls
    shelf   objects in a shelf, seen from its open side; rules as for packed

    goal    one wanted thing, by pushing and grasping: see sim_worker.benchmark.goal.command

`--ceiling 200` measures instead what could be had: the best of so many poses per scene, beside each planner's best grasp, both
under draws of the pose error that nothing was chosen under.

Every planner meets the same scenes with the same pose errors, and is given depth, camera and camera_pose, no more;
`--inputs` and `--drop-inputs` change that: `--inputs rgb --inputs table_depth --drop-inputs depth` measures a planner on colour
alone, `--inputs failures` one that is given the grasps of the round that failed.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, CliPositionalArg
from rich.console import Console
from rich.progress import Progress

from grasp_client.contract import ContactRule
from shared import logs
from shared.durable import replace_file
from sim_worker.benchmark.ceiling import CeilingState, Search, ceilings
from sim_worker.benchmark.ceiling_results import ceiling_json, print_ceiling
from sim_worker.benchmark.goal import command as goal_command
from sim_worker.benchmark.report import write_failures, write_gif
from sim_worker.benchmark.results import as_json, print_results
from sim_worker.benchmark.trials import KindName, Pictures, Protocol, Trial, ViewName, run_round
from sim_worker.command_line import finish, gripper_of, options_of, settings_of
from sim_worker.planner_request import DroppedInput, ObservationKey
from sim_worker.planners import NamedPlanner, load_planner
from sim_worker.processes import process_pool, readable_errors
from sim_worker.world import World
from sim_worker.world.grippers.attempt import RetreatName
from sim_worker.world.simulation.bins import BIN_INNER
from sim_worker.world.simulation.sim_state import HandName
from sim_worker.world.simulation.spec import Looks

Found = TypeVar("Found")


class BenchmarkSettings(BaseSettings):
    """Measure planners on identical simulated scenes.

    A planner is a baseline (random, edges, centroid; with a cup also flattest), one of this process (antipodal, dense,
    dense:3), a server's URL, or name@URL.
    """

    model_config = options_of("sim_worker.benchmark")

    kind: CliPositionalArg[KindName] = Field(description="scenes and rules")
    planner: list[str] = Field(["antipodal"], description="planner to measure; repeat for several on identical scenes")
    baselines: bool = Field(True, description="also run random-on-object and centroid-with-minor-axis")
    profile: Literal["clean", "standard", "hard"] = Field("standard", description="noise, friction, masses, pose error")
    object_set: str = Field(
        "test", description="objects: test (never learned from), validation, train, household (nor from these), …"
    )
    objects: Path | None = Field(None, description="folder of URDF, OBJ or STL files of your own, instead of --object-set")
    named: list[str] = Field([], description="one object by name, such as box/70x110x40 (mm); repeat: scenes take them in turn")
    upright: bool = Field(False, description="drop objects as they are modelled, turned about the vertical alone")
    looks: Looks = Field(
        "plain", description="of colour pictures: plain, photographic, or held-out, which nothing learned from"
    )
    fill: tuple[float, float] | None = Field(None, description="scale objects to between these shares of the jaw's opening")
    view: ViewName = Field(
        "usual",
        description="camera: tilted by 20 to 45 degrees, near (0.25 m), far (to 2 m), fine (1 mm), side (45 to 75 degrees), "
        "side_640 (the same, distance and image of VGN's and GIGA's tests)",
    )
    lean: float | None = Field(None, ge=0, le=78, description="degrees of the camera from straight down, none: as drawn")
    approach: float | None = Field(
        None,
        ge=0,
        le=90,
        description="tell planners that keep to it (auto, tilted) to come leaning so many degrees from straight "
        "down towards where the camera looks",
    )
    within: float = Field(10.0, ge=0, le=180, description="degrees that they may differ from that")
    carry: RetreatName | None = Field(
        None,
        description="what is held is carried straight up, back along the approach, the same but up beyond 60 degrees (VGN, "
        "GIGA), or out as from a shelf; none: out of a shelf, else up",
    )
    count: int | None = Field(None, ge=1, le=30, description="objects per scene; none: 1, 5, 5 and 8")
    bin_size: tuple[float, float, float] = Field(BIN_INNER, description="inner length, width and wall height of the bin, m")
    draw_bins: bool = Field(False, description="draw size, place and walls of every bin, and the camera's tilt")
    rounds: int = Field(50, ge=1, description="rounds per seed")
    seeds: list[int] = Field([0], description="seeds of the scenes; repeat for several")
    hand: HandName = Field("floating", description="floating jaw, whole arm with IK, or the Panda hand's own meshes")
    contact: ContactRule = Field(
        "strict", description="strict: touching anything on the way in fails; allowed: pushing is fine"
    )
    gripper: str | None = Field(None, description="name of a hand, or JSON file with its sizes; none: Franka Panda hand")
    inputs: list[ObservationKey] = Field(
        [],
        description="give the planner more: rgb, segmask, table_depth, failures (grasps of the round that failed), bin (where "
        "it stands), region (rectangle of its floor in the image)",
    )
    drop_inputs: list[DroppedInput] = Field(
        [], description="do not give the planner: depth. The baselines need it and are left out"
    )
    sense_seconds: float = Field(0.5, ge=0, description="declared time to take an image, for picks per hour")
    robot_seconds: float = Field(6.0, gt=0, description="declared time of a robot's motion per attempt, for picks per hour")
    models_dir: Path = Field(Path("data/models"), description="registry for planners in this process")
    api_key: SecretStr | None = Field(None, description="for planners on a server")
    workers: int = Field(1, ge=1, le=256, description="processes")
    ceiling: int | None = Field(
        None, ge=1, description="measure what the best of so many poses per scene comes to, beside each planner's best grasp"
    )
    draws: int = Field(12, ge=2, description="of a ceiling: pose errors drawn, half to choose poses under, half to score under")
    picks: int = Field(
        1, ge=1, description="of a ceiling: states of a scene; from each, what the best pose lifts is taken away"
    )
    json_file: Path | None = Field(None, alias="json", description="write all results to this file")
    report: Path | None = Field(None, description="folder for a page with a picture of every failure")
    gif: Path | None = Field(None, description="write the first rounds as GIF, one frame per attempt")

    def protocol(self) -> Protocol:
        named = {"objects_dir": self.objects, "contact_rule": self.contact, "gripper": gripper_of(self.gripper)}
        if self.draw_bins:
            named["bin_size"] = None
        return Protocol.model_validate({**self.model_dump(), **named})

    @property
    def key(self) -> str | None:
        return self.api_key.get_secret_value() if self.api_key else None


@lru_cache(maxsize=1)
def _bench(specs: tuple[str, ...], models_dir: Path, api_key: str | None) -> tuple[World, list[NamedPlanner]]:
    """World and planners of this process, kept from round to round."""
    return World(), [load_planner(spec, models_dir, api_key) for spec in specs]


@readable_errors
def _round(
    specs: tuple[str, ...], models_dir: Path, api_key: str | None, protocol: Protocol, pictures: Pictures, task: tuple[int, int]
) -> list[Trial]:
    """One round; with several workers it runs in a process of the pool."""
    trials = run_round(*_bench(specs, models_dir, api_key), protocol, *task)
    for trial in trials:
        trial.keep_views(pictures)
    return trials


@readable_errors
def _ceiling(
    specs: tuple[str, ...], models_dir: Path, api_key: str | None, protocol: Protocol, search: Search, task: tuple[int, int]
) -> list[CeilingState]:
    return ceilings(*_bench(specs, models_dir, api_key), protocol, search, *task)


def run(settings: BenchmarkSettings, console: Console) -> dict[str, list[Trial]]:
    """All trials by planner, in the order of seeds and rounds. Raises RuntimeError when a planner or a scene fails."""
    baselines = ("random", "centroid") if settings.baselines and not settings.drop_inputs else ()
    specs = tuple(dict.fromkeys([*settings.planner, *baselines]))
    pictures: Pictures = "all" if settings.gif else "failures" if settings.report else "none"
    one = partial(_round, specs, settings.models_dir, settings.key, settings.protocol(), pictures)
    rounds = _over_rounds(settings, console, one)
    return {spec: [trials[place] for trials in rounds] for place, spec in enumerate(specs)}


def _over_rounds(
    settings: BenchmarkSettings, console: Console, one: Callable[[tuple[int, int]], list[Found]]
) -> list[list[Found]]:
    """What `one` finds of each (seed, number), in their order."""
    tasks = [(seed, number) for seed in settings.seeds for number in range(settings.rounds)]
    done: dict[tuple[int, int], list[Found]] = {}
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("rounds", total=len(tasks))
        for task, found in _in_processes(one, tasks, settings.workers):
            done[task] = found
            progress.update(bar, advance=1)
    return [done[task] for task in tasks]


def _in_processes(
    one: Callable[[tuple[int, int]], list[Found]], tasks: list[tuple[int, int]], workers: int
) -> Iterator[tuple[tuple[int, int], list[Found]]]:
    if workers == 1:
        yield from ((task, one(task)) for task in tasks)
        return
    with process_pool(workers) as pool:
        futures = {pool.submit(one, task): task for task in tasks}
        yield from ((futures[future], future.result()) for future in as_completed(futures))


def main() -> int:
    if sys.argv[1:2] == ["goal"]:
        del sys.argv[1]
        return goal_command.main()
    settings = settings_of(BenchmarkSettings)
    logs.setup("benchmark", "warning")
    console = Console() if sys.stdout.isatty() else Console(width=150)
    return finish("benchmark", partial(_measure, settings, console))


def _measure(settings: BenchmarkSettings, console: Console) -> None:
    if settings.ceiling:
        _measure_ceiling(settings, console)
        return
    trials = run(settings, console)
    protocol = settings.protocol()
    result = as_json(protocol, trials, settings.sense_seconds, settings.robot_seconds)
    print_results(console, result)
    _write(settings, result)
    measured = [trial for spec in settings.planner for trial in trials[spec]]
    if settings.report:
        title = f"Failures of {', '.join(settings.planner)}: {protocol.kind}, {protocol.profile}"
        shown = write_failures(settings.report, measured, protocol.gripper, title)
        console.print(f"{shown} failures in {settings.report / 'index.html'}")
    if settings.gif:
        write_gif(settings.gif, measured, protocol.gripper)


def _measure_ceiling(settings: BenchmarkSettings, console: Console) -> None:
    protocol, specs = settings.protocol(), tuple(dict.fromkeys(settings.planner))
    search = Search(settings.ceiling or 0, settings.draws, settings.picks)
    one = partial(_ceiling, specs, settings.models_dir, settings.key, protocol, search)
    states = [state for states in _over_rounds(settings, console, one) for state in states]
    result = ceiling_json(protocol, search, specs, states)
    print_ceiling(console, result)
    _write(settings, result)


def _write(settings: BenchmarkSettings, result: dict[str, Any]) -> None:
    if settings.json_file:
        settings.json_file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(settings.json_file, json.dumps({**result, "workers": settings.workers}, indent=1).encode())
