"""`python -m benchmarks.planners`: how long a plan takes, from the image in memory to ranked grasps.

Images of 640x480 pixels (`--size`) of seeded scenes, one object and piles of five in turn; every planner sees the same ones.
Ratios are against one forward pass of MobileNet-like work in the same run: a 3x3 convolution of 32 channels over the image.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.tables import keep, show
from grasp_client.contract import Gripper, PlanRequest
from grasp_client.observation import Observation
from planning.local import local_planner
from sim_worker.world import SceneSpec, World
from sim_worker.world.simulation.spec import CameraSpec

WARM = 3
"""Plans made before any is timed."""


def scenes(count: int, width: int, height: int, profile: str) -> list[tuple[Observation, PlanRequest]]:
    """What the camera sees of seeded scenes, and the request for it."""
    world = World()
    camera = CameraSpec(width=width, height=height, focal=width * 0.95)
    seen = []
    for seed in range(count):
        kind = ("single", "pile")[seed % 2]
        spec = {"seed": seed, "kind": kind, "object_set": "train", "profile": profile, "camera": camera}
        view = world.build(SceneSpec.model_validate(spec)).observe()
        pose = np.asarray(view.camera_pose).tolist()
        seen.append((view.observation, PlanRequest(camera=view.camera, camera_pose=pose)))
    return seen


def yardstick() -> float:
    """Median ms of one convolution, 32 to 32 channels of 3x3, over 640x480."""
    layer = torch.nn.Conv2d(32, 32, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(1, 32, 480, 640).to(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(15):
            started = time.perf_counter()
            layer(image)
            times.append(1e3 * (time.perf_counter() - started))
    return float(np.median(times))


def measure(name: str, models: Path, seen: list[tuple[Observation, PlanRequest]], repeats: int) -> dict[str, Any]:
    """Percentiles of the time of a plan, ms."""
    planner = local_planner(name, models)
    if "suction" in name:
        cup = Gripper(kind="suction", cup_radius=0.015)
        seen = [(observation, request.model_copy(update={"gripper": cup})) for observation, request in seen]
    for observation, request in seen[:WARM]:
        planner.plan(observation, request)
    gc.collect()
    gc.freeze()  # as the server does when it is ready
    times, answered = [], 0
    for _ in range(repeats):
        for observation, request in seen:
            started = time.perf_counter()
            plan = planner.plan(observation, request)
            times.append(1e3 * (time.perf_counter() - started))
            answered += bool(plan.grasps)
    p50, p95 = np.percentile(times, (50, 95))
    return {"planner": name, "plans": len(times), "answered": answered, "p50_ms": p50, "p95_ms": p95}


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.planners", description=__doc__, formatter_class=raw)
    parser.add_argument("--planners", nargs="+", default=["antipodal", "dense", "suction", "suction_dense", "gqcnn"])
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=Path("data/bench/planners.json"))
    options = parser.parse_args()
    width, height = options.size
    seen = scenes(options.scenes, width, height, options.profile)
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        unit = yardstick()
        for name in options.planners:
            row = {"threads": threads, **measure(name, options.models_dir, seen, options.repeats)}
            rows.append({**row, "yardsticks": row["p50_ms"] / unit})
    show(f"A plan on {options.size[0]} x {options.size[1]} pixels, {options.profile}", rows)
    keep(options.out, rows)


if __name__ == "__main__":
    main()
