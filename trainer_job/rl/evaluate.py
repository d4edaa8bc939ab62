"""Plays episodes of a published policy, and says how often it succeeds.

grasploop evaluate closed-loop --episodes 500 --deterministic --record episodes.gif
grasploop evaluate refine --help                               a planner's grasps beside corrected ones
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from shared.features.eye_in_hand import VIEWS
from shared.features.terminal import show
from shared.rates import rate_with_interval
from shared.registry import Registry, RegistryError
from trainer_job.promotion.publish import REPOSITORY, load_network
from trainer_job.rl.episodes import (
    ENVIRONMENTS,
    LOOK,
    Actor,
    Episode,
    deterministic,
    model_name,
    open_loop,
    play,
    record,
    stochastic,
    world_options,
)
from trainer_job.rl.refine import evaluate as evaluate_refinement
from trainer_job.rl.worlds import RemoteWorlds

RECORDED = 8
"""Episodes at most in a recording."""


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "refine":
        return evaluate_refinement(arguments)
    options = parser().parse_args(arguments)
    try:
        run(options)
    except (RegistryError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("grasploop evaluate", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("environment", choices=ENVIRONMENTS)
    add("--observation", choices=VIEWS, default="depth", help="whose policy: what the camera on the hand shows")
    add("--episodes", type=int, default=100)
    add("--deterministic", action="store_true", help="the most likely action; else drawn as while learning")
    add("--open-loop", action="store_true", help=f"one plan after {LOOK} steps, then blind, for comparison")
    add("--nudge", type=float, default=0.0, help="m by which the box is shifted in the middle of every episode")
    add("--mount-shift", type=float, default=0.0, help="m that the camera sits off its mount, any way")
    add("--mount-turn", type=float, default=0.0, help="degrees that it is turned, any way")
    add("--object-set", default="validation", choices=("train", "validation", "test"), help="of closed-loop-any")
    add("--level", type=int, help="of the curriculum; default: the whole task")
    add("--hand", choices=["floating", "arm"], default="floating", help="a free hand, or the whole Panda arm")
    add("--seed", type=int, default=0)
    add("--worlds", type=int, default=8, help="simulated side by side (default: %(default)s)")
    add("--models-dir", type=Path, default=Path("data/models"), help="registry (default: %(default)s)")
    add("--version", type=int, help="default: the champion")
    add("--render", action="store_true", help="show in the terminal what the first hand sees (needs 24-bit colour)")
    add("--record", type=Path, metavar="FILE.gif", help=f"write what the hand saw in the first {RECORDED} episodes at most")
    return parser


def run(options: argparse.Namespace) -> dict[str, float]:
    """Plays and prints; attempts, successes, rate and its interval. Raises ValueError for a policy of another environment."""
    registry, name = Registry(options.models_dir), model_name(options.environment, options.observation)
    version = options.version or registry.champion(name)
    if version is None:
        shipped = REPOSITORY / "models"
        ready = f", and `--models-dir {shipped}` has the one that ships" if Registry(shipped).champion(name) else ""
        raise ValueError(f"no policy {name} in {options.models_dir}: `grasploop train {options.environment}` learns one{ready}")
    actor = load_network(registry, name, version)
    assert isinstance(actor, Actor)
    shown = world_options(options)
    if options.environment != "closed-loop":
        shown["object_set"] = options.object_set
        if options.open_loop:
            raise ValueError("--open-loop plans where a box is: it is a control of closed-loop alone")
    learned = (registry.card(name, version).model_extra or {}).get("policy") or {}
    shown["level"] = learned.get("levels") if options.level is None else options.level
    with closing(RemoteWorlds(options.environment, options.worlds, **shown)) as worlds:
        check_policy(registry, name, version, worlds)
        policy = deterministic(actor) if options.deterministic else stochastic(actor, options.seed)
        if options.open_loop:
            policy = open_loop(actor, worlds.interface)
        kept: list[Episode] = []
        successes = episode = 0
        watch = show if options.render else None
        recorded = min(RECORDED, options.worlds) if options.record else 0
        for episode, played in enumerate(play(worlds, policy, options.episodes, options.seed, recorded, watch), start=1):
            successes += played.success
            kept += [played] if played.pictures and len(kept) < recorded else []
            result = rate_with_interval(successes, episode)
            print(
                f"{episode} of {options.episodes} episodes: {successes} succeed, "
                f"{result['rate']:.3f} ({result['low']:.3f} to {result['high']:.3f})",
                end="\r" if sys.stdout.isatty() and episode < options.episodes else "\n",
                flush=True,
            )
    if options.record:
        record(kept, options.record)
    return rate_with_interval(successes, episode)


def check_policy(registry: Registry, name: str, version: int, worlds: RemoteWorlds) -> None:
    """Raises ValueError that says in what the environment differs from the one that the policy was learned in."""
    policy = (registry.card(name, version).model_extra or {}).get("policy") or {}
    different = sorted(key for key in {*policy, *worlds.interface} if policy.get(key) != worlds.interface.get(key))
    if different:
        told = "; ".join(f"{key} {policy.get(key)}, here {worlds.interface.get(key)}" for key in different)
        raise ValueError(f"{name} version {version} was learned elsewhere: {told}")


if __name__ == "__main__":
    sys.exit(main())
