"""Clouds of one object each, as GraspGen's clients send them: does the first grasp hold, and what does a plan take?

    python -m benchmarks.clouds --rounds 200

Simulated single objects; the cloud is what the depth image shows of the object, thinned to `--points`. Planned are: the depth
image by `--planner`; the cloud alone, in the camera's frame; the same with gravity told; and with its surroundings and its
viewpoint. All attempts are under contact rule strict.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zmq

from benchmarks.serving.servers import free_port, graspserver
from grasp_client.contract import Grasp, GraspPlan, PlanRequest
from grasp_client.geometry import deproject
from grasp_client.observation import GraspPlanner, Observation
from planning.local import local_planner
from shared.rates import wilson
from sim_worker.benchmark.trials import Protocol, run_round
from sim_worker.planners import NamedPlanner
from sim_worker.world import SceneError, World

MODES = ("image", "alone", "upright", "scene", "socket")
PATIENCE_MS = 60_000


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
        if self.mode not in ("alone", "socket"):
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
            "camera_pose": None if self.mode in ("alone", "socket") else request.camera_pose,
        }
        if self.mode == "scene":
            told["viewpoint"] = [0.0, 0.0, 0.0]
        return Observation(points=few, scene_points=scene if self.mode == "scene" else None), request.model_copy(update=told)


class GraspGenClient:
    """A REQ socket that asks for grasps on a cloud; its server's poses are those of plans (base offset 0)."""

    def __init__(self, port: int) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        assert observation.points is not None
        asked = {"action": "infer", "point_cloud": observation.points, "topk_num_grasps": request.n_grasps}
        self.socket.send(msgpack.packb(asked, default=_as_map))
        told = msgpack.unpackb(self.socket.recv(), object_hook=_as_array, strict_map_key=False)
        if "error" in told:
            raise RuntimeError(told["error"])
        ranked = zip(told["grasps"], told["widths"], told["confidences"], strict=True)
        flat: dict[str, Any] = {"kind": "parallel_jaw", "center_px": (0, 0), "angle": 0}
        grasps = [
            Grasp(**flat, quality=float(sure), width=float(width), pose_camera=pose.tolist()) for pose, width, sure in ranked
        ]
        return GraspPlan(planner="graspgen", grasps=grasps, rejections=told["rejections"], warnings=told["warnings"])


def _as_map(array: np.ndarray) -> dict[bytes, Any]:
    return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.tobytes()}


def _as_array(found: dict[Any, Any]) -> Any:
    return np.frombuffer(found[b"data"], found[b"type"]).reshape(found[b"shape"]) if b"nd" in found else found


@contextmanager
def graspgen_server(models: Path) -> Iterator[GraspGenClient]:
    """A client of a server that answers GraspGen's protocol, with the hand of the requests that are tried."""
    port = free_port()
    with graspserver(models, graspgen_port=port, graspgen_base_offset=0, deadline_ms=PATIENCE_MS):
        yield GraspGenClient(port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--planner", default="dense")
    parser.add_argument("--objects", default="validation")
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    with ExitStack() as stack:
        measure(arguments, stack)


def measure(arguments: argparse.Namespace, stack: ExitStack) -> None:
    local = local_planner(arguments.planner, arguments.models_dir)
    servers = {"socket": stack.enter_context(graspgen_server(arguments.models_dir))} if "socket" in arguments.modes else {}
    planners = {mode: CloudPlanner(servers.get(mode, local), mode, arguments.points) for mode in arguments.modes}
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
