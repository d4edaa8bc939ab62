"""What a finetuned version gained: both versions in the same scenes, in figures, in pictures, and what to do next."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from grasp_client.contract import Gripper
from shared.rates import paired_gain, rate_with_interval
from shared.registry import Registry
from sim_worker.benchmark.report import picture
from sim_worker.benchmark.trials import Protocol, Trial, run_round
from sim_worker.planners import load_planner
from sim_worker.world import World
from sim_worker.world.objects.folder import folder_models

SEED = 77
"""Of the scenes of the test; collections draw theirs apart from it."""
COLOUR_ALONE = {"inputs": ["rgb", "table_depth"], "drop_inputs": ["depth"]}
GAP = 8
_PAGE = """<!doctype html><meta charset="utf-8"><title>Before and after</title>
<style>body{{font:14px system-ui;margin:2em;max-width:1500px}} img{{display:block;max-width:100%}}</style>
<h1>Before (left) and after (right), in the same scene</h1>{body}"""


@dataclass(frozen=True)
class Found:
    """figures: before, after, gain, and of each object. shown: by object, the first scene as both versions met it."""

    figures: dict[str, Any]
    shown: dict[str, tuple[Trial, Trial]]


def measured(planner: str, models: Path, versions: tuple[int, int], objects: Path, gripper: Gripper, scenes: int) -> Found:
    """Both versions of a model in the same `scenes` (at least one for each object) of objects that lie singly."""
    names = sorted(folder_models(objects))
    told = COLOUR_ALONE if planner == "heatmap" else {}
    rounds = len(names) * max(1, round(scenes / len(names)))
    protocol = Protocol.model_validate(
        {
            "kind": "single",
            "objects_dir": objects,
            "named": names,
            "rounds": rounds,
            "gripper": gripper,
            **told,
        }
    )
    world, planners = World(), [load_planner(f"{planner}:{version}", models) for version in versions]
    tried: dict[str, list[tuple[bool, bool]]] = {}
    shown: dict[str, tuple[Trial, Trial]] = {}
    for number in range(rounds):
        one, other = run_round(world, planners, protocol, SEED, number)
        name = names[number % len(names)].removeprefix("folder/")
        tried.setdefault(name, []).append((one.first_success, other.first_success))
        if name in shown:
            one.keep_views("none")
            other.keep_views("none")
        else:
            shown[name] = (one, other)
    pairs = [pair for its in tried.values() for pair in its]
    figures = {
        "before": {"version": versions[0], **_rate([one for one, _ in pairs])},
        "after": {"version": versions[1], **_rate([other for _, other in pairs])},
        "gain": paired_gain([one for one, _ in pairs], [other for _, other in pairs]),
        "objects": {name: [_rate([pair[k] for pair in its]) for k in (0, 1)] for name, its in tried.items()},
    }
    return Found(figures, shown)


def _rate(successes: list[bool]) -> dict[str, float]:
    return rate_with_interval(sum(successes), len(successes))


def write_pictures(folder: Path, found: Found, gripper: Gripper) -> Path:
    """A picture for each object, and a page of them; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for number, (name, trials) in enumerate(sorted(found.shown.items())):
        sides, told = [], []
        for when, trial in zip(("before", "after"), trials, strict=True):
            pick = next((pick for pick in trial.picks if pick.view), None)
            view = pick.view if pick else trial.log.unplanned
            if view is not None:
                sides.append(picture(view, [pick.grasp] if pick else [], gripper, 1))
            result = "no grasp found" if pick is None else "lifted" if pick.result.success else str(pick.result.failure)
            told.append(f"{when}: {result}" + (f", promised {pick.grasp.quality:.0%}" if pick else ""))
        if len(sides) == 2:
            gap = np.full((sides[0].shape[0], GAP, 3), 255, np.uint8)
            Image.fromarray(np.hstack([sides[0], gap, sides[1]])).save(folder / f"{number:03d}.png")
            before, after = found.figures["objects"][name]
            rates = f"{before['successes']:.0f} and {after['successes']:.0f} of {after['attempts']:.0f} lifted"
            caption = html.escape(f"{name}: {rates}; {'; '.join(told)}")
            figures.append(f'<p>{caption}</p><img src="{number:03d}.png" loading="lazy">')
    page = folder / "index.html"
    page.write_text(_PAGE.format(body="".join(figures)), encoding="utf-8")
    return page


def print_report(report: dict[str, Any], registry: Registry, page: Path) -> None:
    """The table, what it means, and what to do next."""
    console, model = Console(), report["model"]
    before, after, gain = report["before"], report["after"], report["gain"]
    table = Table(title=f"{gain['n']} scenes that nothing was learned from, the same for both versions", title_justify="left")
    for column in ("object", f"version {before['version']}", f"version {after['version']}"):
        table.add_column(column)
    for name, rates in report["objects"].items():
        table.add_row(name, *(f"{rate['successes']:.0f} of {rate['attempts']:.0f}" for rate in rates))
    table.add_row("all", *(f"{rate['rate']:.0%} [{rate['low']:.0%}, {rate['high']:.0%}]" for rate in (before, after)))
    console.print(table)
    console.print(
        f"gain {gain['points']:+.1f} points, 95 % interval {gain['low']:+.1f} to {gain['high']:+.1f}; pictures: {page}"
    )
    champion = registry.champion(model)
    version = after["version"]
    console.print(_meaning(gain))
    if champion == version:
        console.print(f"{model} version {version} is the champion: `make run` serves it. Undo: POST /models/{model}/rollback")
    else:
        decisions = registry.card(model, version).decisions
        why = f": {decisions[-1].get('reason')}" if decisions else ""
        console.print(f"{model} version {champion} stays the champion{why}")
        console.print(
            f'Try it: "model_version": {version} in a request. Take it: POST /models/{model}/promote?version={version}'
        )


def _meaning(gain: dict[str, float]) -> str:
    if gain["low"] > 0:
        return "The new version is better on these objects."
    if gain["high"] < 0:
        return "The new version is worse on these objects: do not take it."
    return "No difference can be told from chance: more ATTEMPTS, or the objects were lifted well before."
