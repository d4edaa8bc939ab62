"""`python -m benchmarks.policy`: the whole policy of `gqcnn`, in batches and grasp after grasp, on the same scenes and seeds.

Three ways to the same plan, each free to use all threads: as it is; with the same geometry in batches but one crop and one
forward pass per grasp; and all of it in a loop, as it is commonly written, each pose measured, refused or cut and scored before
the next, until there are enough. How often the best grasp is the same (2 mm, 2 degrees) stands beside the times: rounding may
decide between equals. Weights are random: the numbers do not change the time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.networks import make
from benchmarks.planners import scenes
from benchmarks.tables import keep, show
from grasp_client.contract import Grasp, GraspPlan
from planning.base import LoadedNetwork
from planning.batched_inference import InferenceSteps
from planning.gqcnn.cem import CemResult, Poses
from planning.gqcnn.crop_scorer import CropScorer
from planning.gqcnn.jaw import GQCNNPlanner
from planning.jaw.candidates import JawCandidates
from planning.scene.scene import PlanningScene
from shared.registry import ModelCard

NEAR, TURNED = 0.002, np.radians(2)
"""Best grasps nearer than both are the same, m and rad."""


class ForwardByForward(GQCNNPlanner):
    """Geometry in batches, then one crop and one forward pass per grasp."""

    def _score(
        self, scene: PlanningScene, scorer: CropScorer, poses: Poses, most: int, found: CemResult[JawCandidates]
    ) -> InferenceSteps[None]:
        hands, rejected = self.feasible(scene, poses)
        found.rejected += rejected
        for k in range(min(len(hands), most)):
            one = hands.pick(torch.tensor([k]))
            found.candidates.append(one)
            found.logits.append((yield from scorer(self.seen(scene, one))))


class GraspByGrasp(GQCNNPlanner):
    """One pose after the other, until enough are scored."""

    def _score(
        self, scene: PlanningScene, scorer: CropScorer, poses: Poses, most: int, found: CemResult[JawCandidates]
    ) -> InferenceSteps[None]:
        scored = 0
        for k in range(len(poses[0])):
            one, rejected = self.feasible(scene, tuple(values[k : k + 1] for values in poses))
            found.rejected += rejected
            if len(one) and scored < most:
                found.candidates.append(one)
                found.logits.append((yield from scorer(self.seen(scene, one))))
                scored += 1
            if scored == most:
                return


WAYS = {"in batches": GQCNNPlanner, "a forward pass per grasp": ForwardByForward, "grasp by grasp": GraspByGrasp}


def network(architecture: str) -> LoadedNetwork:
    """Random weights as the server holds them."""
    values = {"name": architecture, "version": 1, "architecture": architecture, "parameters": {}}
    card = ModelCard.model_validate({**values, "view": {"focal_px": 552.5, "near": 0.6, "far": 0.9}})
    return LoadedNetwork(architecture, 1, make(architecture, torch.device("cpu")), card, torch.device("cpu"))


def measure(architecture: str, seen: list[Any], ways: dict[str, Any]) -> list[dict[str, Any]]:
    """Median seconds of a plan by each way, how many times the first, and the share of equal best grasps."""
    loaded = network(architecture)
    rows: list[dict[str, Any]] = []
    plans: dict[str, list[GraspPlan]] = {}
    for way, planner in ways.items():
        planner().plan_batch([seen[0]], loaded)
        times = []
        for item in seen:
            started = time.perf_counter()
            plans.setdefault(way, []).extend(planner().plan_batch([item], loaded))
            times.append(time.perf_counter() - started)
        answered = sum(bool(plan.grasps) for plan in plans[way])
        same = np.mean([_same(a, b) for a, b in zip(next(iter(plans.values())), plans[way], strict=True)])
        rows.append(
            {
                "network": architecture,
                "way": way,
                "plans": len(seen),
                "answered": answered,
                "p50_s": float(np.median(times)),
                "same": same,
            }
        )
    first = rows[0]["p50_s"]
    return [{**row, "ratio": row["p50_s"] / first} for row in rows]


def _same(one: GraspPlan, other: GraspPlan) -> bool:
    if not one.grasps or not other.grasps:
        return len(one.grasps) == len(other.grasps)
    a, b = _pose(one.grasps[0]), _pose(other.grasps[0])
    turn = np.arccos(np.clip((np.trace(a[:3, :3].T @ b[:3, :3]) - 1) / 2, -1, 1))
    return bool(np.linalg.norm(a[:3, 3] - b[:3, 3]) < NEAR and min(turn, np.pi - turn) < TURNED)


def _pose(grasp: Grasp) -> np.ndarray:
    return np.asarray(grasp.pose_camera, dtype=float)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.policy", description=__doc__, formatter_class=raw)
    parser.add_argument("--networks", nargs="+", default=["gqcnn", "gqcnn4"])
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("data/bench/policy.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seen = scenes(options.scenes, 640, 480, "standard")
    seeded = [(observation, request.model_copy(update={"seed": 0})) for observation, request in seen]
    rows = [row for name in options.networks for row in measure(name, seeded, WAYS)]
    show(f"A plan of the cross-entropy method, {options.threads} threads", rows)
    keep(options.out, rows)


if __name__ == "__main__":
    main()
