"""Clouds of one object each, as GraspGen's clients send them: does the first grasp hold, and what does a plan take?

    python -m benchmarks.clouds --rounds 200

Simulated single objects; the cloud is what the depth image shows of the object, thinned to `--points`. Planned are: the depth
image by `--planner`; the cloud alone, in the camera's frame; the same with gravity told; and with its surroundings and its
viewpoint. All attempts are under contact rule strict.
"""

import argparse
import json
import time
from typing import Any

import numpy as np

from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.geometry import deproject
from grasp_client.observation import GraspPlanner, Observation
from planning.local import local_planner
from shared.rates import wilson
from sim_worker.benchmark.trials import Protocol, run_round
from sim_worker.planners import NamedPlanner
from sim_worker.world import SceneError, World

MODES = ("image", "alone", "upright", "scene")


class CloudPlanner:
    """Plans for the cloud of what a request's segmask marks, thinned to `points`, by a planner of images."""

    def __init__(self, planner: GraspPlanner, mode: str, points: int) -> None:
        self.planner, self.mode, self.points = planner, mode, points
        self.seconds: list[float] = []

    def plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        item = self._item(observation, request)
        started = time.perf_counter()
        plan = self.planner.plan(*item)
        self.seconds.append(time.perf_counter() - started)
        if self.mode != "alone":
            return plan
        pose = np.asarray(request.camera_pose)
        based = [each.model_copy(update={"pose_base": (pose @ np.asarray(each.pose_camera)).tolist()}) for each in plan.grasps]
        return plan.model_copy(update={"grasps": based})

    def _item(self, observation: Observation, request: PlanRequest) -> tuple[Observation, PlanRequest]:
        depth, mask, camera = observation.depth, observation.segmask, request.camera
        assert depth is not None
        assert mask is not None
        assert camera is not None
        if self.mode == "image":
            return Observation(depth=depth), request
        v, u = np.nonzero(depth > 0)
        scene = deproject(np.stack([u, v], 1), depth[v, u], camera).astype(np.float32)
        points = scene[mask[v, u]]
        few = points[np.random.default_rng(0).permutation(len(points))[: self.points]]
        told: dict[str, Any] = {
            "camera": None,
            "region": None,
            "camera_pose": None if self.mode == "alone" else request.camera_pose,
        }
        if self.mode == "scene":
            told["viewpoint"] = [0.0, 0.0, 0.0]
        return Observation(points=few, scene_points=scene if self.mode == "scene" else None), request.model_copy(update=told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--planner", default="dense")
    parser.add_argument("--objects", default="validation")
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    arguments = parser.parse_args()
    local = local_planner(arguments.planner)
    planners = {mode: CloudPlanner(local, mode, arguments.points) for mode in arguments.modes}
    protocol = Protocol.model_validate(
        {"kind": "single", "profile": arguments.profile, "object_set": arguments.objects, "inputs": ["segmask"]}
    )
    held: dict[str, list[bool]] = {mode: [] for mode in planners}
    world = World()
    named = [NamedPlanner(mode, planner) for mode, planner in planners.items()]
    for number in range(arguments.rounds):
        try:
            trials = run_round(world, named, protocol, arguments.seed, number)
        except SceneError:
            continue
        for trial in trials:
            held[trial.planner].append(trial.first_success)
    base = float(np.median(planners[arguments.modes[0]].seconds))
    for mode, planner in planners.items():
        low, high = wilson(sum(held[mode]), len(held[mode]))
        median = float(np.median(planner.seconds))
        row = {"mode": mode, "held": sum(held[mode]), "of": len(held[mode]), "interval": [round(low, 3), round(high, 3)]}
        print(json.dumps({**row, "plan_ms": round(1e3 * median, 1), "ratio": round(median / base, 2)}), flush=True)


if __name__ == "__main__":
    main()
