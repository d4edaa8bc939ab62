"""From the shipped weights: objects that the shipped model does badly on, and what the loop gains there and loses elsewhere.

`tools`: hammers, which the model has never met. `hard`: objects chosen by measurement among those that learners may see
(random shapes below 900 that are not of the validation set): every object that fails once in a first pass is tried again, and
what stays once more and longer. What is reported comes from other scenes than those that chose or taught.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pybullet_data

from benchmarks.learning import tools
from benchmarks.learning.running import attempts, run_until, seconds, stored
from benchmarks.learning.success import by_object, rate, results
from shared.durable import replace_file
from shared.rates import paired_gain
from shared.registry import Registry
from sim_worker.benchmark.trials import Protocol

PROFILE = "hard"
FIRST_SCENES = 1_000
TRIES, MOST = (5, 25), (0.6, 0.7)
"""Tries per object of the second and the third pass, and the greatest rate of success of an object that stays."""
VARIABLES = {
    "PROFILE": PROFILE, "VARY": "nothing", "SCENE_KIND": "single", "PLANNER": "dense", "OBJECT_SET": "folder",
    "SHARD_OUTCOMES": "32", "WORKERS": "1", "WORLDS": "2", "TORCH_THREADS": "1",
}  # fmt: skip
TOOLS = 12
OLD = Protocol(kind="single", profile="standard", object_set="test", rounds=400, seeds=[7])


def choose(out: Path, models: Path) -> Path:
    """The folder of hard objects; chosen once and kept, stage by stage."""
    version = Registry(models).champion("dense")
    assert version is not None
    passes = [out / "suspects", out / "second-pass", out / "hard-objects"]
    if not passes[0].exists():
        first = by_object(models, version, Protocol(kind="single", profile=PROFILE, object_set="train", rounds=FIRST_SCENES))
        _write(out / "first-pass.json", first)
        _copy(sorted({name for name, success in first if name.startswith("random/") and not success}), passes[0])
    for seed, (before, after, tries, most) in enumerate(zip(passes, passes[1:], TRIES, MOST, strict=False), 1):
        if after.exists():
            continue
        rounds = tries * len(list(before.iterdir()))
        tried = defaultdict(list)
        for name, success in by_object(
            models, version, Protocol(kind="single", profile=PROFILE, objects_dir=before, rounds=rounds, seeds=[seed])
        ):
            tried[name].append(success)
        _write(out / f"{after.name}.json", {name: [sum(each), len(each)] for name, each in sorted(tried.items())})
        bad = [name for name, each in sorted(tried.items()) if sum(each) <= most * len(each)]
        _copy([f"random/{Path(name).parent.name}" for name in bad], after)
    return passes[-1]


def _copy(names: list[str], target: Path) -> None:
    """The shapes' files, whole or not at all."""
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    source = Path(pybullet_data.getDataPath()) / "random_urdfs"
    for name in names:
        shutil.copytree(source / name.split("/")[1], draft / name.split("/")[1])
    draft.rename(target)


@dataclass(frozen=True)
class Lesson:
    """objects: folder that the loop learns; others: like them, never met, to test on as well; outcomes_per_round."""

    name: str
    objects: Path
    others: Path | None
    outcomes_per_round: int


def chosen(out: Path, models: Path) -> Lesson:
    """Random shapes that the champion of `models` does badly on."""
    return Lesson("hard", choose(out, models), None, 1000)


def hammers(out: Path, models: Path) -> Lesson:
    """Hammers, the same for all models."""
    return Lesson("tools", tools.write(out / "hammers", TOOLS, 0), tools.write(out / "other-hammers", TOOLS, 1), 500)


LESSONS = {"tools": hammers, "hard": chosen}


def run(lesson: Lesson, out: Path, seed: int, wanted: int, models: Path, minutes: float) -> bool:
    """One seed, as far as the time allows; writes <lesson>-<seed>.json when it is whole."""
    objects, name = lesson.objects, f"{lesson.name}-{seed}"
    data = out / name
    variables = {
        **VARIABLES,
        "OUTCOMES_PER_ROUND": str(lesson.outcomes_per_round),
        "OBJECTS_DIR": str(objects.resolve()),
        "SEED": str(seed),
        "SHIPPED_MODELS_DIR": str(models.resolve()),
    }
    if not run_until(data, wanted, variables, minutes):
        return False
    registry = Registry(data / "models")
    last = registry.champion("dense")
    assert last is not None
    fresh = Protocol(kind="single", profile=PROFILE, objects_dir=objects, rounds=400, seeds=[7])
    protocols = {"hard": fresh, "old": OLD, f"old_{PROFILE}": OLD.model_copy(update={"profile": PROFILE})}
    if lesson.others:
        protocols["unseen"] = fresh.model_copy(update={"objects_dir": lesson.others})
    tested = {kind: results(data / "models", [1, last], each, data / "success.json") for kind, each in protocols.items()}
    times = np.array([time for time, _ in stored(data)])
    promoted = [
        {"version": version, "attempts": int((times <= seconds(decision["time"])).sum()), "reason": decision.get("reason")}
        for version in registry.versions("dense")
        for decision in registry.card("dense", version).decisions
        if decision["action"] in ("promoted", "rejected")
    ]
    report = {
        "seed": seed,
        "attempts": attempts(data),
        "objects": len(list(objects.iterdir())),
        "settings": variables,
        "decisions": promoted,
        "champion": last,
        **{
            kind: {"before": rate(found[1]), "after": rate(found[last]), "gain": paired_gain(found[1], found[last])}
            for kind, found in tested.items()
        },
    }
    replace_file(out / f"{name}.json", json.dumps(report, indent=1).encode())
    return True


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(value).encode())
