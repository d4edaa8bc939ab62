"""What the trials of a benchmark amount to: figures per planner, comparisons between planners, and their JSON and table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from rich.console import Console
from rich.table import Table

from shared.rates import rate_with_interval
from sim_worker.benchmark.statistics import (
    Interval,
    Round,
    bootstrap,
    brier,
    declutter_rate,
    grasp_success_rate,
    mean_picks_per_hour,
    percentiles,
    sign_test,
)
from sim_worker.benchmark.trials import Protocol, Trial
from sim_worker.tasks.decluttering import NO_PLAN


def summarise(trials: Sequence[Trial], sense_seconds: float, robot_seconds: float) -> dict[str, Any]:
    """Figures of one planner. Rates carry 95 % intervals: Wilson for independent trials, bootstrap over rounds for clearing."""
    picks = [pick for trial in trials for pick in trial.picks]
    rounds = [Round(len(trial.picks), trial.removed, trial.presented) for trial in trials]
    plan_seconds = [seconds for trial in trials for seconds in trial.plan_seconds]
    per_pick = [seconds for trial in trials for seconds in trial.plan_seconds[: len(trial.picks)]]
    successes = [pick.result.success for pick in picks]
    ended = Counter(trial.log.ended for trial in trials)
    failures: Counter[str] = Counter(pick.result.failure for pick in picks if pick.result.failure)
    if ended[NO_PLAN]:
        failures[NO_PLAN] = ended[NO_PLAN]
    return {
        "rounds": len(trials),
        "attempts": rate_with_interval(sum(successes), len(successes)),
        "first_attempt": rate_with_interval(sum(trial.first_success for trial in trials), len(trials)),
        "gsr": asdict(bootstrap(rounds, grasp_success_rate)),
        "dr": asdict(bootstrap(rounds, declutter_rate)),
        "by_seed": _by_seed(trials),
        "mpph": asdict(mean_picks_per_hour(successes, per_pick, sense_seconds, robot_seconds)),
        "failures": dict(failures),
        "collided_with": dict(_collisions(trials)),
        "ended": dict(ended),
        "objects": dict(Counter(log.end for trial in trials for log in trial.log.objects.values())),
        "plan_ms": {name: 1000 * value for name, value in percentiles(plan_seconds).items()},
        "predicted_quality": _predicted([pick.grasp.quality for pick in picks], successes),
        "models": sorted({f"{pick.plan.model.name}:{pick.plan.model.version}" for pick in picks if pick.plan.model}),
    }


def _predicted(quality: Sequence[float], success: Sequence[bool]) -> dict[str, float] | None:
    """How the executed grasps' quality compares with what came of them; None for a planner that promises nothing."""
    return {"mean": sum(quality) / len(quality), "brier": brier(quality, success)} if any(quality) else None


def _by_seed(trials: Sequence[Trial]) -> list[dict[str, float]]:
    """GSR and DR of each seed, as papers that report a deviation over seeds need them."""
    seeds = sorted({trial.seed for trial in trials})
    rows = []
    for seed in seeds:
        rounds = [Round(len(t.picks), t.removed, t.presented) for t in trials if t.seed == seed]
        rows.append({"seed": seed, "gsr": grasp_success_rate(rounds), "dr": declutter_rate(rounds)})
    return rows


def _collisions(trials: Sequence[Trial]) -> Counter[str]:
    """What colliding grasps met: the table, the bin, or an object."""
    met: Counter[str] = Counter()
    for trial in trials:
        for pick in trial.picks:
            if pick.result.failure == "collision":
                name = pick.result.object_name or "unknown"
                met["object" if name in trial.log.objects else name] += 1
    return met


def compare(trials: dict[str, list[Trial]]) -> list[dict[str, Any]]:
    """Each pair of planners on the same scenes: first attempts, and objects removed per round. Exact sign test."""
    rows = []
    for first, second in combinations(trials, 2):
        one, two = trials[first], trials[second]
        if [trial.hash for trial in one] != [trial.hash for trial in two]:
            raise RuntimeError(f"{first} and {second} met different scenes: the simulation is not repeatable here")
        rows.append(
            {
                "planners": [first, second],
                "first_attempt": asdict(sign_test([t.first_success for t in one], [t.first_success for t in two])),
                "removed": asdict(sign_test([t.removed for t in one], [t.removed for t in two])),
            }
        )
    return rows


def as_json(protocol: Protocol, trials: dict[str, list[Trial]], sense_seconds: float, robot_seconds: float) -> dict[str, Any]:
    """All results, with the protocol, the seed and hash of every scene, and what happened to every object."""
    return {
        "protocol": protocol.model_dump(mode="json"),
        "declared_seconds": {"sense": sense_seconds, "robot": robot_seconds},
        "planners": {name: summarise(each, sense_seconds, robot_seconds) for name, each in trials.items()},
        "comparisons": compare(trials),
        "rounds": {name: [_round_json(trial) for trial in each] for name, each in trials.items()},
    }


def _round_json(trial: Trial) -> dict[str, Any]:
    attempts = [
        {
            "object": pick.object,
            "quality": round(pick.grasp.quality, 4),
            "success": pick.result.success,
            "failure": pick.result.failure,
            "states": [state.value for state in pick.states],
        }
        for pick in trial.picks
    ]
    return {
        "seed": trial.seed,
        "number": trial.number,
        "scene_seed": trial.scene_seed,
        "scene_hash": trial.hash,
        "presented": trial.presented,
        "removed": trial.removed,
        "ended": trial.log.ended,
        "rejections": trial.log.rejections,
        "attempts": attempts,
        "objects": {name: asdict(log) for name, log in trial.log.objects.items()},
    }


def print_results(console: Console, result: dict[str, Any]) -> None:
    """The table that people read, and the comparisons below it."""
    protocol = result["protocol"]
    seconds = result["declared_seconds"]
    clearing = protocol["kind"] != "single"
    title = (
        f"{protocol['kind']}, objects {protocol['objects_dir'] or protocol['object_set']}, profile {protocol['profile']}, "
        f"{protocol['hand']} hand, contact {protocol['contact_rule']}, {_special(protocol)}"
        f"{protocol['rounds']} rounds x {len(protocol['seeds'])} seeds"
    )
    caption = f"95 % intervals; MPPH with {seconds['sense']} s sensing and {seconds['robot']} s robot time"
    table = Table(title=title, caption=caption)
    columns = ["planner", "GSR", "DR", "first attempt"] if clearing else ["planner", "success"]
    for column in [*columns, "attempts", "failures", "MPPH", "plan ms p50 / p95"]:
        table.add_column(column, justify="left" if column in ("planner", "failures") else "right")
    for name, figures in result["planners"].items():
        rates = [_interval(figures["gsr"]), _interval(figures["dr"])] if clearing else []
        first = figures["first_attempt"]
        rates.append(f"{first['rate']:.3f} [{first['low']:.3f}, {first['high']:.3f}]")
        causes = [f"{count} {cause}" for cause, count in sorted(figures["failures"].items())]
        causes += [f"{figures['objects']['lost']} rolled away"] if figures["objects"].get("lost") else []
        failures = ", ".join(causes) or "none"
        times = figures["plan_ms"]
        plan = f"{times['p50']:.0f} / {times['p95']:.0f}" if times else "-"
        table.add_row(name, *rates, str(figures["attempts"]["attempts"]), failures, f"{figures['mpph']['value']:.0f}", plan)
    console.print(table)
    for row in result["comparisons"]:
        figure = row["removed"] if clearing else row["first_attempt"]
        what = "removed more objects in" if clearing else "alone succeeded in"
        first, second = row["planners"]
        console.print(
            f"{first} {what} {figure['first_only']} scenes, {second} in {figure['second_only']}, "
            f"{figure['ties']} ties: p = {figure['p_value']:.3g}",
            highlight=False,
        )


def _special(protocol: dict[str, Any]) -> str:
    """What a protocol says of camera, approach and way to carry, each with a comma."""
    view = "" if protocol["view"] == "usual" else f"camera {protocol['view']}, "
    lean = "" if protocol["lean"] is None else f"at {protocol['lean']:g} degrees, "
    approach = "" if protocol["approach"] is None else f"approach {protocol['approach']:g} +- {protocol['within']:g} degrees, "
    return view + lean + approach + (f"carried {protocol['carry']}, " if protocol["carry"] else "")


def _interval(figure: dict[str, float]) -> str:
    return str(Interval(**figure))
