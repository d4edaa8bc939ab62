"""`python -m benchmarks.bins`: are bins found, are they found where there are none, and is a wall ever what a jaw would hold?

Bins of drawn sizes, places and walls, seen by a tilted camera, whole or in part; nothing of them is told, unless `--told`. A
grasp holds a wall when its open fingers stand lower than the rim with a wall, or what lies beyond it, between or under them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console

from grasp_client.contract import Grasp, Gripper
from shared.rates import wilson
from sim_worker.planner_request import planning_request
from sim_worker.planners import load_planner
from sim_worker.world import Scene, SceneError, SceneSpec, World
from sim_worker.world.simulation.bins import Bin

WARNING = "bin_detected"
RIM = 0.002
"""Tips this far above the rim, m, stand over the walls: what they hold rises out of the bin."""


class Settings(BaseSettings):
    """Bins found, bins seen where there are none, and walls held."""

    model_config = SettingsConfigDict(cli_kebab_case=True, cli_implicit_flags=True)
    bins: int = Field(200, ge=0, description="scenes with a bin")
    others: int = Field(200, ge=0, description="scenes without one: single, pile and packed in turn")
    first: int = Field(0, ge=0, description="number of the first scene")
    planner: str = Field("dense", description="antipodal, dense, suction_dense or another planner of this process")
    gripper: str = Field("parallel_jaw", description="parallel_jaw or suction")
    object_set: str = Field("validation", description="objects of the scenes")
    told: bool = Field(False, description="tell the planner where the bin stands")
    models_dir: Path = Field(Path("models"), description="registry of the planner's weights")
    json_file: Path = Field(Path("runs/bins.json"), description="where the figures go")


def holds_wall(grasp: Grasp, bin: Bin) -> bool:
    """Whether an open jaw, or a cup, stands in a wall of the bin or beyond it while its tips are lower than the rim."""
    pose = np.asarray(grasp.pose_base)
    if pose[2, 3] > bin.inner[2] + RIM:
        return False
    reach = 0.5 * (grasp.width or 0.0) * pose[:2, 0]
    return not all(bin.holds(pose[:2, 3] + end * reach, 1.0) for end in (-1, 0, 1))


def spec_of(kind: str, number: int, object_set: str) -> SceneSpec:
    """Scene `number` of a kind: profiles in turn, bins with 3 to 15 things, piles and packed scenes with 3 to 10."""
    rng = np.random.default_rng([71, number])
    most = {"single": 1, "bin": 15}.get(kind, 10)
    count = int(rng.integers(min(3, most), most + 1))
    profile = ("standard", "hard", "clean")[number % 3]
    fields = {"seed": int(rng.integers(2**31)), "kind": kind, "object_set": object_set, "profile": profile, "count": count}
    return SceneSpec.model_validate(fields)


def looked_at(scene: Scene, planner: Any, gripper: Gripper, told: bool) -> Counter[str]:
    """What one plan of a scene came to."""
    call = planning_request(scene.observe(), scene.spec, gripper, 10, planner.name, extras=["bin"] if told else [])
    plan = planner.planner.plan(call.observation, call.request)
    found = Counter(scenes=1, detected=int(any(text.startswith(WARNING) for text in plan.warnings)))
    if scene.spec.bin and plan.grasps:
        held = [holds_wall(grasp, scene.spec.bin) for grasp in plan.grasps]
        found.update(planned=1, best_on_wall=int(held[0]), grasps=len(held), on_wall=sum(held))
    return found


def main() -> None:
    settings = CliApp.run(Settings)
    planner, world, console = load_planner(settings.planner, settings.models_dir), World(), Console()
    gripper = Gripper.model_validate({"kind": settings.gripper})
    figures: dict[str, Counter[str]] = {}
    kinds = ["bin"] * settings.bins + [("single", "pile", "packed")[k % 3] for k in range(settings.others)]
    for number, kind in enumerate(kinds, settings.first):
        try:
            scene = world.build(spec_of(kind, number, settings.object_set))
        except SceneError:
            continue
        bin = scene.spec.bin
        row = kind if bin is None else "bin, whole" if bin.view == 1 else "bin, in part"
        figures.setdefault(row, Counter()).update(looked_at(scene, planner, gripper, settings.told))
    settings.json_file.parent.mkdir(parents=True, exist_ok=True)
    settings.json_file.write_text(json.dumps({"settings": settings.model_dump(mode="json"), "figures": figures}, indent=1))
    for row, found in sorted(figures.items()):
        console.print(f"{row}: a bin seen in {_rate(found['detected'], found['scenes'])}")
        if found["planned"]:
            console.print(f"  best grasp on a wall or beyond it: {_rate(found['best_on_wall'], found['planned'])}")
            console.print(f"  of all grasps: {_rate(found['on_wall'], found['grasps'])}")


def _rate(hits: int, of: int) -> str:
    low, high = wilson(hits, of)
    return f"{hits} of {of} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
