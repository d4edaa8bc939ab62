"""`python -m benchmarks.agreement`: do the fast simulator's labels equal those of the slow one, and of the whole arm?

The slow reference takes 240 steps a second throughout, never lets a body sleep and ends no attempt early. Both start from the
same settled scene and try the same grasps; attempts that collide on the way in are decided by geometry alone and left out.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console

from grasp_client.contract import Gripper
from shared.rates import wilson
from sim_worker.grasp_poses import pose_in_base
from sim_worker.planners import load_planner
from sim_worker.tasks.labels import Mix, candidates
from sim_worker.world import Scene, SceneError, SceneSpec, World
from sim_worker.world.grippers import grip
from sim_worker.world.simulation.physics import Physics


class Settings(BaseSettings):
    """Label agreement."""

    model_config = SettingsConfigDict(cli_kebab_case=True)
    grasps: int = Field(500, ge=1, description="collision-free grasps per scene kind to compare with the reference")
    arm: int = Field(200, ge=0, description="grasps per scene kind to compare with the whole arm")
    kinds: list[str] = Field(["single", "pile"], description="scene kinds")
    json_file: Path = Field(Path("runs/agreement.json"), description="where the figures go")


@contextmanager
def never_early() -> Iterator[None]:
    """Hold every lifted object for the whole time."""
    usual, grip.RESTS_TO_TRUST = grip.RESTS_TO_TRUST, 10**9
    try:
        yield
    finally:
        grip.RESTS_TO_TRUST = usual


def compare(kind: str, settings: Settings, models: Path) -> dict[str, list[int]]:
    """[equal, compared] against the reference and against the arm."""
    fast, slow = World(), World(Physics(hz=240, sleeping=False))
    planner, hand = load_planner("antipodal", models), Gripper()
    mix = Mix(random=5, edges=5, feasible=8, on_policy=2)
    counts = {"reference": [0, 0], "arm": [0, 0]}
    seed = 50_000
    while counts["reference"][1] < settings.grasps or counts["arm"][1] < settings.arm:
        seed += 1
        spec = SceneSpec.model_validate({"seed": seed, "kind": kind, "object_set": "train", "profile": "standard"})
        try:
            scene = fast.build(spec)
        except SceneError:
            continue
        twin = Scene(slow.simulation, spec, scene.conditions, scene.placed)
        view = scene.observe()
        for trial, candidate in enumerate(candidates(scene, mix, planner, planner, hand)):
            pose = pose_in_base(candidate.grasp, np.asarray(view.camera_pose))
            width = candidate.grasp.width or hand.max_width
            result = scene.attempt(pose, width, hand, trial=trial)
            if result.failure == "collision":
                continue
            if counts["reference"][1] < settings.grasps:
                with never_early():
                    other = twin.attempt(pose, width, hand, trial=trial)
                _count(counts["reference"], result.success == other.success)
            if counts["arm"][1] < settings.arm:
                arm = scene.attempt(pose, width, hand, hand="arm", trial=trial)
                _count(counts["arm"], result.success == arm.success)
    return counts


def _count(row: list[int], equal: bool) -> None:
    row[0] += equal
    row[1] += 1


def main(settings: Settings) -> dict[str, dict[str, list[int]]]:
    """Compare, print, and write the figures."""
    console, rows = Console(), {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in settings.kinds:
            rows[kind] = compare(kind, settings, Path(folder))
            for name, (equal, compared) in rows[kind].items():
                if compared:
                    low, high = wilson(equal, compared)
                    console.print(
                        f"{kind}, {name}: {equal} of {compared} labels equal, {equal / compared:.3f} [{low:.3f}, {high:.3f}]"
                    )
    settings.json_file.parent.mkdir(parents=True, exist_ok=True)
    settings.json_file.write_text(json.dumps(rows, indent=1))
    return rows


if __name__ == "__main__":
    main(CliApp.run(Settings))
