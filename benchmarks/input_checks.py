"""`python -m benchmarks.input_checks`: what inspecting an observation takes, and what it tells of simulated scenes in order.

Scenes of every kind in turn, each of every profile, through the usual, a near and a far camera, with and without its pose,
with colour beside depth and alone. Whatever is told is a false alarm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter

import torch

from grasp_client.contract import PlanRequest
from grasp_client.observation import Observation
from planning.input_checks import inspect_input
from sim_worker.world import SceneError, SceneSpec, World
from sim_worker.world.simulation.profiles import PROFILES
from sim_worker.world.simulation.spec import CameraSpec

KINDS = ("single", "pile", "packed", "bin")
CAMERAS = {
    "usual": None,
    "640 x 480 from 0.5 m": CameraSpec(width=640, height=480, focal=615, distance=0.5),
    "320 x 240 from 1.3 m": CameraSpec(width=320, height=240, distance=1.3),
}
TIMED = "640 x 480 from 0.5 m"


def main(argv: list[str] | None = None) -> int:
    """Prints the false alarms of every profile and camera by their kind, and the median and 99th percentile of the CPU time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input_checks", description=__doc__)
    parser.add_argument("--scenes", type=int, default=200, help="scenes of each profile (default: 200)")
    parser.add_argument("--seed", type=int, default=8800, help="of the first scene (default: 8800)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    world, taken = World(), list[float]()
    told = {(profile, camera): Counter[str]() for profile in PROFILES for camera in CAMERAS}
    looked = Counter[tuple[str, str]]()
    for profile in PROFILES:
        for number in range(options.scenes):
            spec = SceneSpec(seed=options.seed + number, kind=KINDS[number % len(KINDS)], profile=profile)
            try:
                scene = world.build(spec)
            except SceneError:  # things that do not come to rest
                continue
            for name, camera in CAMERAS.items():
                view = scene.observe_with(camera or scene.spec.camera)
                rgb = view.rgb  # drawn when it is asked for
                looked[profile, name] += 1
                for pose in (None, view.camera_pose.tolist()):
                    request = PlanRequest(camera=view.camera, camera_pose=pose)
                    for depth in (view.observation.depth, None):
                        observation = Observation(depth, rgb)
                        started = time.thread_time()
                        found = inspect_input(observation, request)
                        if name == TIMED and depth is not None:
                            taken.append(1e3 * (time.thread_time() - started))
                        told[profile, name].update(text.partition(":")[0] for text in found)
    for (profile, name), counts in told.items():
        print(f"{profile}, {name}: {looked[profile, name]} scenes, false alarms {dict(counts) or 0}")
    print(f"640 x 480, {len(taken)} inspections: CPU time, median {statistics.median(taken):.2f} ms, "
          f"99 % below {statistics.quantiles(taken, n=100)[-1]:.2f} ms")  # fmt: skip
    return int(any(told.values()))


if __name__ == "__main__":
    sys.exit(main())
