"""`python -m benchmarks.simulation`: attempts per core-second, beside a plain Panda arm in the same run.

A core-second is CPU time of the process that simulates. Plans over HTTP are made by a server in a process of its own, as when
the loop runs; planning in the process (for labels) is counted.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from benchmarks.panda_baseline import PandaBaseline
from benchmarks.serving.servers import graspserver
from grasp_client import GraspClient
from grasp_client.contract import Gripper, PlanRequest
from sim_worker.planners import load_planner
from sim_worker.tasks.labels import Mix, candidates, label_scene
from sim_worker.world import SceneError, SceneSpec, World

WORLDS = (1, 2, 3)


class Settings(BaseSettings):
    """Throughput of the simulator."""

    model_config = SettingsConfigDict(cli_kebab_case=True)
    seconds: float = Field(20.0, gt=0, description="CPU seconds of each measurement")
    json_file: Path = Field(Path("runs/simulation.json"), description="where the figures go")


def attempts_per_core_second(attempt: Callable[[int], int], seconds: float) -> tuple[float, int]:
    """Rate and number of attempts; `attempt(seed)` says how many it made."""
    attempt(10_000)  # loading of meshes and code is not what is measured
    gc.freeze()  # as workers and collections do
    done, seed, start = 0, 0, time.process_time()
    while time.process_time() - start < seconds:
        done += attempt(seed)
        seed += 1
    return done / (time.process_time() - start), done


def fresh_attempt(url: str) -> Callable[[int], int]:
    """A new single-object scene, an image, a plan over HTTP, one attempt."""
    world, client = World(), GraspClient(url)

    def attempt(seed: int) -> int:
        spec = SceneSpec(seed=seed, kind="single", object_set="train", profile="standard")
        try:
            scene = world.build(spec)
        except SceneError:
            return 0
        view = scene.observe()
        request = PlanRequest(camera=view.camera, camera_pose=np.asarray(view.camera_pose).tolist(), planner="antipodal")
        plan = client.plan(view.observation, request)
        if plan.grasps and plan.grasps[0].width is not None:
            scene.attempt(np.array(plan.grasps[0].pose_base), plan.grasps[0].width, Gripper())
        return 1

    return attempt


def labels(kind: str, models: Path) -> Callable[[int], int]:
    """Many labels of one settled scene, sampling and planning included."""
    world, planner, mix, hand = World(), load_planner("antipodal", models), Mix(), Gripper()

    def attempt(seed: int) -> int:
        spec = SceneSpec.model_validate({"seed": seed, "kind": kind, "object_set": "train", "profile": "standard"})
        try:
            scene = world.build(spec)
        except SceneError:
            return 0
        tried = candidates(scene, mix, planner, planner, hand)
        return len(list(label_scene(scene, tried, hand, f"benchmark:{seed}")))

    return attempt


def _label_rate(seconds: float, result: multiprocessing.Queue[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        attempt = labels("single", Path(folder))
        attempt(10_000)
        gc.freeze()
        done, seed, start = 0, 0, time.monotonic()
        while time.monotonic() - start < seconds:
            done += attempt(seed)
            seed += 1
        result.put(done / (time.monotonic() - start))


def wall_rate(processes: int, seconds: float) -> float:
    """Labels per second of wall time with that many processes side by side."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    workers = [context.Process(target=_label_rate, args=(seconds, result)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    rates = [result.get() for _ in workers]
    for worker in workers:
        worker.join()
    value: float = sum(rates)
    return value


def worker_rate(url: str, worlds: int, attempts: int) -> float:
    """Attempts per second of wall time of one worker process with that many worlds, start-up included, plans over HTTP."""
    with tempfile.TemporaryDirectory() as spool:
        command = [sys.executable, "-m", "sim_worker", "--server-url", url, "--outbox-dir", spool, "--log-level", "error"]
        command += ["--scene-kind", "single", "--planner", "antipodal", "--attempts", str(attempts), "--worlds", str(worlds)]
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return attempts / (time.monotonic() - start)


def main(settings: Settings) -> dict[str, dict[str, float]]:
    """Measure, print, and write the figures."""
    console, rows = Console(), {}

    def measure(name: str, attempt: Callable[[int], int]) -> None:
        rate, done = attempts_per_core_second(attempt, settings.seconds)
        rows[name] = {"per_core_second": rate, "attempts": done}
        console.print(f"{name}: {rate:.1f} attempts per core-second ({done} attempts)")

    baseline = PandaBaseline()
    measure("plain Panda arm, 240 Hz, one scene per attempt", lambda seed: 1 + 0 * baseline.attempt(seed))
    with tempfile.TemporaryDirectory() as folder:
        with graspserver(Path(folder)) as server:
            measure("fresh single-object attempt, image, HTTP plan", fresh_attempt(server.url))
            rates = [worker_rate(server.url, worlds, max(20, round(10 * settings.seconds))) for worlds in WORLDS]
        measure("labels on settled single scenes", labels("single", Path(folder)))
        measure("labels on settled 5-object scenes", labels("pile", Path(folder)))
    plain = next(iter(rows.values()))["per_core_second"]
    for row in rows.values():
        row["times_plain"] = row["per_core_second"] / plain
    one, two = wall_rate(1, settings.seconds), wall_rate(2, settings.seconds)
    rows["two processes against one, labels per second"] = {"one": one, "two": two, "ratio": two / one}
    for worlds, rate in zip(WORLDS[1:], rates[1:], strict=True):
        compared = {"one": rates[0], "two": rate, "ratio": rate / rates[0]}
        rows[f"{worlds} worlds in a worker against one, attempts per second over HTTP"] = compared
    _print(console, rows)
    settings.json_file.parent.mkdir(parents=True, exist_ok=True)
    settings.json_file.write_text(json.dumps(rows, indent=1))
    return rows


def _print(console: Console, rows: dict[str, dict[str, float]]) -> None:
    table = Table("what", "attempts", "per core-second", "times plain")
    for name, row in rows.items():
        if "ratio" in row:
            console.print(f"{name}: {row['two']:.1f} / {row['one']:.1f} = {row['ratio']:.2f}")
        else:
            table.add_row(name, f"{row['attempts']:.0f}", f"{row['per_core_second']:.1f}", f"{row['times_plain']:.1f}")
    console.print(table)


if __name__ == "__main__":
    main(CliApp.run(Settings))
