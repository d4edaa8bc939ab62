"""Learns a closed-loop policy in simulation, and publishes it as `<environment>-<observation>`.

    grasploop train closed-loop --observation depth --steps 30000 --seed 0
    grasploop train closed-loop-any --teacher --worlds 16 --batch 256 --updates 4 --buffer 200000 --steps 300000

The same command goes on after an interruption, exactly where its last checkpoint stands. In the run folder: checkpoint.pt,
TensorBoard events, strips of what the hand saw, result.json. What is published is the policy that held its level over three
evaluations in a row, tried again in episodes that nothing was chosen by. It becomes the champion unless the present one, tried
in the same episodes, lifts more.
"""

import argparse
import json
import logging
import math
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from shared.features.eye_in_hand import VIEWS
from shared.logs import setup
from shared.networks.grasp_actor import GraspActor
from shared.rates import rate_with_interval
from shared.registry import ModelCard, Registry
from shared.store import folder_or_url
from trainer_job.promotion.publish import git_commit, load_network, promote, reject, weights_of
from trainer_job.rl.demonstrations import read_demonstrations
from trainer_job.rl.episodes import ENVIRONMENTS, Actor, deterministic, model_name, play, strip, world_options
from trainer_job.rl.grasp_learner import GraspLearner
from trainer_job.rl.learner import Learner
from trainer_job.rl.progress import Recipe
from trainer_job.rl.worlds import RemoteWorlds

log = logging.getLogger(__name__)

CHOOSING_SEED, FINAL_SEED = 10_000, 20_000
"""Of the episodes that the best policy is chosen by, and of those that its published success is measured in."""
DRAWN = 4
"""Episodes of an evaluation that are drawn."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    setup("trainer_job.rl", "info", options.log_format)
    torch.set_num_threads(options.torch_threads)
    try:
        run(options)
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("grasploop train", description=__doc__, formatter_class=raw)
    add, usual = parser.add_argument, Recipe()
    add("environment", choices=ENVIRONMENTS)
    add("--observation", choices=VIEWS, default="depth", help="what the camera on the hand shows")
    add("--hand", choices=["floating", "arm"], default="floating", help="a free hand, or the whole Panda arm")
    add("--steps", type=int, default=usual.steps, help="of all worlds together (default: %(default)s)")
    add("--seed", type=int, default=usual.seed)
    add("--learning-rate", type=float, default=usual.learning_rate, help="may change as a run goes on (default: %(default)s)")
    add("--worlds", type=int, default=usual.worlds, help="simulated side by side (default: %(default)s)")
    add("--nudge", type=float, default=usual.nudge, help="m, at most, by which the box is shifted in every episode")
    add("--mount-shift", type=float, default=usual.mount_shift, help="m, at most, that the camera sits off its mount")
    add("--mount-turn", type=float, default=0.0, help="degrees, at most, that it is turned")
    add("--buffer", type=int, default=usual.buffer, help="steps, the last, that are learned from (default: %(default)s)")
    add("--batch", type=int, default=usual.batch, help="steps that an update learns from (default: %(default)s)")
    add("--updates", type=int, default=usual.updates, help="of a step of all worlds (default: %(default)s)")
    add("--teacher", action="store_true", help="learn what a hand that knows the state would do, in place of by reward")
    add("--evaluate-every", type=int, default=usual.evaluate_every, help="steps (default: %(default)s)")
    add("--evaluate-episodes", type=int, default=usual.evaluate_episodes, help="default: %(default)s")
    add("--final-episodes", type=int, default=320, help="that the published success is measured in (default: %(default)s)")
    add(
        "--demonstrations",
        type=folder_or_url,
        help="folder (or URL) of episodes that `grasploop teleop` recorded, to start from",
    )
    add("--models-dir", type=Path, default=Path("data/models"), help="registry to publish into (default: %(default)s)")
    add("--out", type=Path, help="run folder; none: data/cache/runs/<name>-<seed>")
    kept = "whatever the champion is worth, make it the champion or not; default: unless it is worse"
    add("--promote", action=argparse.BooleanOptionalAction, help=kept)
    add("--torch-threads", type=int, default=1, help="on the CPU (default: %(default)s; the worlds take another core)")
    add("--log-format", default="auto", choices=("auto", "json", "text"))
    return parser


def run(options: argparse.Namespace) -> int:
    """Learns, measures, publishes and decides; the version."""
    name = model_name(options.environment, options.observation)
    folder = options.out or Path("data/cache/runs") / f"{name}-{options.seed}"
    same = (
        "steps",
        "seed",
        "worlds",
        "buffer",
        "batch",
        "learning_rate",
        "evaluate_every",
        "evaluate_episodes",
        "nudge",
        "mount_shift",
        "updates",
        "teacher",
    )
    recipe = replace(Recipe(), **{each: getattr(options, each) for each in same}, mount_turn=math.radians(options.mount_turn))
    if options.demonstrations:
        recipe = replace(recipe, random_steps=0)  # what a person did tells more
    made = world_options(options)
    made |= {"varied": True} if options.environment == "closed-loop" else {}
    unseen = {} if options.environment == "closed-loop" else {"object_set": "validation"}
    with (
        closing(RemoteWorlds(options.environment, recipe.worlds, **made, taught=recipe.teacher)) as worlds,
        closing(RemoteWorlds(options.environment, recipe.worlds, **made, **unseen, level=worlds.interface["levels"])) as whole,
    ):
        shown = read_demonstrations(options.demonstrations, worlds.interface) if options.demonstrations else []
        tells_grasps = recipe.teacher and options.environment == "closed-loop-any"
        learner = (GraspLearner if tells_grasps else Learner)(worlds, recipe, folder, shown)

        def evaluate(actor: Actor, step: int) -> tuple[int, int]:
            return _measure(whole, actor, recipe.evaluate_episodes, CHOOSING_SEED, folder / "strips" / f"{step:07d}.png")

        learner.learn(evaluate)
        best = learner.best()
        result = rate_with_interval(
            *_measure(whole, best, options.final_episodes, FINAL_SEED, folder / "strips/final.png")[::-1]
        )
        registry = Registry(options.models_dir)
        champion = registry.champion(name)
        before = _champion_result(registry, name, champion, whole, options.final_episodes)
        version = registry.publish(name, weights_of(best), _card(name, learner, options.seed, best, result, champion))
    _settle(registry, name, version, result, before, options.promote)
    told = {"model": name, "version": version, "simulated": result, "champion": registry.champion(name)}
    (folder / "result.json").write_text(json.dumps(told | {"evaluations": learner.progress.evaluations}, indent=1))
    print(
        f"{name} version {version}: {result['successes']:.0f} of {result['attempts']:.0f} episodes succeed "
        f"({result['low']:.3f} to {result['high']:.3f}); pictures and events in {folder}"
    )
    return version


def _measure(worlds: RemoteWorlds, actor: Actor, episodes: int, seed: int, drawn: Path | None) -> tuple[int, int]:
    """(episodes, successes) of the deterministic policy on the whole area."""
    played = list(play(worlds, deterministic(actor), episodes, seed, pictured=DRAWN if drawn else 0))
    if drawn:
        strip(list(islice((each for each in played if each.pictures), DRAWN)), drawn)
    return episodes, sum(each.success for each in played)


def _champion_result(
    registry: Registry, name: str, version: int | None, worlds: RemoteWorlds, episodes: int
) -> dict[str, float] | None:
    """How the champion does in the same episodes; None without one, or with one for another camera or hand."""
    if version is None or (registry.card(name, version).model_extra or {}).get("policy") != worlds.interface:
        return None
    actor = load_network(registry, name, version)
    assert isinstance(actor, Actor)
    return rate_with_interval(*_measure(worlds, actor, episodes, FINAL_SEED, None)[::-1])


def _card(name: str, learner: Learner, seed: int, actor: Actor, result: dict[str, float], champion: int | None) -> ModelCard:
    progress = learner.progress
    recipe, protocol = learner.recipe, "deterministic policy, whole area, physics in every step"
    if learner.worlds.interface["environment"] != "GraspLoop/ClosedLoop-v0":
        protocol += "; validation objects, profile standard, shifted by 30 mm in half of the episodes"
    if recipe.nudge or recipe.mount_shift or recipe.mount_turn:
        protocol += f"; box shifted by up to {1e3 * recipe.nudge:g} mm, camera off by up to {1e3 * recipe.mount_shift:g} mm"
        protocol += f" and {math.degrees(recipe.mount_turn):.3g} degrees"
    fields = {
        "name": name,
        "architecture": "grasp-actor" if isinstance(actor, GraspActor) else "picture-actor",
        "parameters": actor.parameters_of_card,
        "parent": champion,
        "git_commit": git_commit(),
        "seeds": {"training": seed},
        "simulated": {**result, "protocol": protocol},
        "policy": learner.worlds.interface,
        "training": {
            "recipe": asdict(recipe),
            "steps": progress.steps,
            "kept_after_step": progress.evaluations[progress.kept][0] if progress.evaluations else progress.steps,
            "evaluations": progress.evaluations,
            "seconds": round(progress.seconds),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, cpu",
        },
    }
    return ModelCard.model_validate(fields)


def _settle(
    registry: Registry, name: str, version: int, result: dict[str, float], before: dict[str, float] | None, wanted: bool | None
) -> None:
    """Makes the version the champion or not, and writes down why."""
    decision: dict[str, Any]
    if wanted is not None:
        better, reason = wanted, f"by command: {'--promote' if wanted else '--no-promote'}"
    elif registry.champion(name) is None:
        better, reason = True, "the first version"
    elif before is None:
        better, reason = False, "the champion is for another camera, mount or hand: nothing tells which is better"
    else:
        better = result["successes"] >= before["successes"]
        reason = f"{result['successes']:.0f} against the champion's {before['successes']:.0f} of the same episodes"
    decision = {"action": "promoted" if better else "rejected", "reason": reason}
    (promote if better else reject)(registry, name, version, decision)
