"""Learns to correct a planner's grasps in a simulated cell whose calibration is off, and tells how often they hold then.

    grasploop train refine --base dense --cell-error 0.010,-0.008,0.006,0,0,0.07 --trials 500 --seed 0
    grasploop evaluate refine --base dense --cell-error 0.010,-0.008,0.006,0,0,0.07 --episodes 300

Trials are ordinary outcomes of the base's best grasps, half of them offset at random; after 50, 100, 250, 500, ... of them the
critic is fitted to all of them anew, and published as `refine`. `evaluate` plays in the same scenes the base; the base with one
constant offset, fitted to the same trials; its grasps corrected by the critic before it was taught (of the same offsets the
best by the scorer of `dense`); and after. The base may be any planner: of the server, of a server elsewhere
(`dense@http://...`), or a baseline of the benchmark (`centroid`).
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grasp_client.contract import GraspMeta
from shared.durable import replace_file
from shared.logs import setup
from shared.networks.cell_critic import CellCritic
from shared.rates import paired_gain, rate_with_interval
from shared.registry import ModelCard, Registry
from shared.shards import ShardReader, ShardWriter, shard_folders
from trainer_job.evaluation.assessment import assess
from trainer_job.promotion.publish import (
    REPOSITORY,
    UNTRAINED,
    Trained,
    load_network,
    promote,
    publish,
    seed_registry,
    weights_of,
)
from trainer_job.rl import constant_offset
from trainer_job.rl.episodes import record_beside
from trainer_job.rl.world_process import WorldProcess
from trainer_job.tasks import AnyTask, task_of, task_of_model
from trainer_job.training.loop import train
from trainer_job.training.schedule import Schedule

MODEL, PLANNER = "refine", "refined"
FITTED_AFTER = (50, 100, 250)
"""Trials; then after every 500."""
EXPLORATION = 0.5
STEP = 25
"""Trials that are run, and scenes that are compared, at once."""
RECORDED = 20
"""Scenes at most in a recording."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    setup("trainer_job.rl", "info", options.log_format)
    torch.set_num_threads(1)
    return _status(learn, options)


def evaluate(arguments: Sequence[str]) -> int:
    return _status(play, evaluation_parser().parse_args(arguments))


def _status(action: Callable[[argparse.Namespace], object], options: argparse.Namespace) -> int:
    """Exit status of an action that says in one line why it cannot be done."""
    try:
        action(options)
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    parser = _parser("grasploop train")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--out", type=Path, help="folder of outcomes; none: data/cache/runs/refine-<seed>")
    parser.add_argument("--log-format", default="auto", choices=("auto", "json", "text"))
    return parser


def evaluation_parser() -> argparse.ArgumentParser:
    parser = _parser("grasploop evaluate")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--object-set", default="validation", choices=("train", "validation", "test"))
    parser.add_argument("--version", type=int, nargs="*", help="of `refine`, one or more; default: the champion")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures, and how each scene ended")
    shown = f"draw the base's and the corrected grasp in the first {RECORDED} scenes, green where it held"
    parser.add_argument("--record", type=Path, metavar="FILE.gif", help=shown)
    return parser


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("environment", choices=["refine"])
    add("--base", default="dense", help="planner whose grasps are corrected (default: %(default)s)")
    add("--cell-error", default="", help="x, y, z (m) and rotation vector (rad), with commas, that told camera poses are off")
    add("--kind", default="single", help="of the scenes (default: %(default)s)")
    add("--profile", default="standard", help="of the scenes (default: %(default)s)")
    add("--seed", type=int, default=0)
    add("--models-dir", type=Path, default=Path("data/models"), help="registry (default: %(default)s)")
    return parser


def learn(options: argparse.Namespace) -> int:
    """Runs, fits and publishes in turn; the last version. Goes on where the trials in the folder end."""
    registry, task = Registry(options.models_dir), task_for(options.base)
    folder = options.out or Path("data/cache/runs") / f"{MODEL}-{options.seed}"
    shards = folder / "shards"
    seed_registry(registry, REPOSITORY / "models", task, options.seed)
    done = trials_done(shards)
    version = fit(registry, task, folder, options.seed) if done else publish_untaught(registry, task)
    with closing(trials_of(options)) as trials:
        for until in schedule(options.trials):
            if until <= done:
                continue
            while done < until:
                count = min(STEP, until - done)
                outcomes = trials.ask("outcomes", options.base, done, count, options.seed, EXPLORATION)
                if outcomes:
                    ShardWriter(shards).write(outcomes)
                done += count
            version = fit(registry, task, folder, options.seed)
            tell(registry, version, done)
    return version


def schedule(trials: int) -> list[int]:
    """After how many trials the critic is fitted."""
    return sorted({each for each in (*FITTED_AFTER, *range(500, trials, 500)) if each < trials} | {trials})


def trials_done(shards: Path) -> int:
    """Number of the first trial that no outcome is there of, nor of any after it."""
    ids = [each for folder in shard_folders(shards) for each in ShardReader(folder).ids()] if shards.is_dir() else []
    return 1 + max((int(each.split(":")[1]) for each in ids), default=-1)


def task_for(base: str) -> AnyTask:
    """How the critic of a base planner's grasps learns."""
    recipe = task_of_model(MODEL).recipe
    return task_of(recipe.model_copy(update={"parameters": {**recipe.parameters, "base": base}}))


def trials_of(options: argparse.Namespace) -> WorldProcess:
    where = {"cell_error": options.cell_error, "kind": options.kind, "profile": options.profile}
    return WorldProcess(MODEL, 1, models_dir=options.models_dir, **where)


def untaught(registry: Registry, task: AnyTask) -> CellCritic:
    """A critic that knows of no error."""
    network = task.build()
    task.prepare(network, registry)
    assert isinstance(network, CellCritic)
    return network.eval()


def publish_untaught(registry: Registry, task: AnyTask) -> int:
    """Has the trials begin with a critic that knows of no error."""
    recipe = task.recipe
    card = {"name": MODEL, "architecture": recipe.architecture, "parameters": recipe.parameters, "note": UNTRAINED}
    version = registry.publish(MODEL, weights_of(untaught(registry, task)), ModelCard.model_validate(card))
    promote(registry, MODEL, version, {"action": "promoted", "reason": "to learn the errors of a cell anew"})
    return version


def fit(registry: Registry, task: AnyTask, folder: Path, seed: int) -> int:
    """The champion of `refine` from all trials of the folder; its version."""
    data = task.read_records([folder / "shards"], [], folder / "cache", 2**31)
    network = untaught(registry, task)
    history = train(network, task, data.training, Schedule.of(task.recipe), seed)
    training = {"steps": history.steps[-1], "loss": history.loss[-1]}
    assessment = assess(task, network, None, data.held_out, torch.device("cpu"))
    version = publish(registry, Trained(network, task, registry.champion(MODEL), assessment, data.outcomes, seed, training))
    reason = f"fitted to {data.outcomes['count']} trials of this cell"
    promote(registry, MODEL, version, {"action": "promoted", "reason": reason})
    registry.update(MODEL, version, constant_offset=constant_offset.fit(list(trials_in(folder / "shards"))))
    return version


def trials_in(shards: Path) -> Iterator[GraspMeta]:
    """What is told of all trials of a folder."""
    for folder in shard_folders(shards):
        yield from (outcome.meta for _, outcome in ShardReader(folder).of_kind(GraspMeta))


def tell(registry: Registry, version: int, trials: int) -> None:
    """Print where the hands of the cell go, by a version."""
    network = load_network(registry, MODEL, version)
    assert isinstance(network, CellCritic)
    shift, turn = (each.detach().numpy() for each in network.movements())
    moved, turned = (", ".join(f"{value:+.1f}" for value in values) for values in (1e3 * shift, np.degrees(turn)))
    print(f"{trials} trials: hands go {moved} mm and {turned} degrees off what they are told (version {version})", flush=True)


def untaught_version(registry: Registry, base: str) -> int:
    """The critic of a base's grasps that knows of no error: what choosing among offsets alone brings. Raises ValueError."""
    for card in registry.cards(MODEL):
        if card.note == UNTRAINED and card.parameters.get("base") == base:
            return card.version
    raise ValueError(
        f"no untaught {MODEL} for {base} in {registry.root}: `grasploop train refine --base {base}` begins with one"
    )


def play(options: argparse.Namespace) -> dict[str, Any]:
    """Prints how often the best grasps of the base hold, of its controls, and corrected, in the same scenes; rates with
    intervals."""
    registry = Registry(options.models_dir)
    untaught = untaught_version(registry, options.base)
    versions = options.version or [registry.champion(MODEL)]
    constant = (registry.card(MODEL, versions[-1]).model_extra or {}).get("constant_offset")
    corrected = [f"untaught {PLANNER}", *(f"{PLANNER}:{version}" for version in versions)]
    names = [options.base, *(["constant offset"] if constant else []), *corrected]
    rows: list[list[bool]] = []
    pictures: list[tuple[np.ndarray, np.ndarray]] = []
    figures: dict[str, Any] = {}
    with closing(trials_of(options)) as trials:
        while len(rows) < options.episodes:
            count = min(STEP, options.episodes - len(rows))
            asked = (options.base, [untaught, *versions], constant, options.object_set, len(rows), count, options.seed)
            found, seen = trials.ask("compared", *asked, RECORDED - len(pictures) if options.record else 0)
            rows, pictures = rows + found, pictures + seen
            figures = figures_of(names, rows)
            told = "; ".join(
                f"{name} {each['rate']:.3f} ({each['low']:.3f} to {each['high']:.3f})" for name, each in figures.items()
            )
            print(f"{len(rows)} of {options.episodes} scenes: {told}", flush=True)
    best = figures[names[-1]]
    print(f"{names[-1]} removes {best['removed']:.0%} of the failures of {options.base}")
    if options.record:
        record_beside(pictures, [(row[0], row[-1]) for row in rows], options.record)
    if options.out:
        about = {"cell_error": options.cell_error, "object_set": options.object_set, "seed": options.seed, "kind": options.kind}
        about |= {"profile": options.profile, "constant_offset": constant, "planners": names}
        replace_file(options.out, json.dumps({**about, "figures": figures, "held": rows}).encode())
    return figures


def figures_of(names: Sequence[str], rows: Sequence[Sequence[bool]]) -> dict[str, Any]:
    """Of each planner: rate and interval; beside the first also `removed`, the share of its failures that are gone in all, and
    `gain`, in points, paired."""
    columns = np.array(rows).T
    failed = int((~columns[0]).sum())
    figures: dict[str, Any] = {}
    for name, held in zip(names, columns, strict=True):
        figures[name] = rate_with_interval(int(held.sum()), len(held))
        if name != names[0]:
            figures[name]["removed"] = (int(held.sum()) - int(columns[0].sum())) / failed if failed else 0.0
            figures[name]["gain"] = paired_gain(columns[0].tolist(), held.tolist()) if len(held) > 1 else {}
    return figures
