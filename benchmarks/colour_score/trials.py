"""Candidates of `heatmap` that were tried in simulated scenes, with what its score saw of them."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from planning.base import PlanItem
from planning.calibration import calibrated_logits
from planning.local import LocalPlanner, local_planner
from planning.rgb.maps import find_peaks, heat_maps, the_network
from planning.rgb.ranking import RankWeights, RgbCandidates, candidates_of
from planning.rgb.refinement import GraspRefiner, adjusted
from planning.rgb.unlike_table import find_things
from shared.table_grasp import ROTATIONS, table_grasp, table_up
from sim_worker.benchmark.trials import Protocol, buildable
from sim_worker.planner_request import planning_request
from sim_worker.world import World
from sim_worker.world.simulation.scene import Scene

NEXT = 24
"""Besides the best, grasps are drawn among so many of the next best places."""
TRIED = 4
"""In each scene."""


@dataclass(frozen=True)
class Trials:
    """N grasps. terms (N, 4): as of `RankWeights`. held (N,): 0 or 1. scene (N,): its number. first (N,) bool: the best of its
    scene. photographic (N,) bool: by the scene's looks."""

    terms: np.ndarray
    held: np.ndarray
    scene: np.ndarray
    first: np.ndarray
    photographic: np.ndarray

    def logits(self, weights: RankWeights) -> np.ndarray:
        """(N,) of success."""
        *each, intercept = astuple(weights)
        result: np.ndarray = self.terms @ np.array(each) + intercept
        return result

    def pick(self, which: np.ndarray) -> Trials:
        return Trials(*(getattr(self, field.name)[which] for field in fields(self)))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez(path, **arrays)

    @staticmethod
    def read(path: Path) -> Trials:
        with np.load(path) as arrays:
            return Trials(**arrays)


def try_scenes(count: int, seed: int, object_set: str, models: Path) -> Trials:
    """Plans in `count` scenes and tries TRIED candidates of each, every one under its own draw of the hand's error."""
    protocols = [
        Protocol(kind="single", object_set=object_set, looks=looks, inputs=["rgb", "table_depth"], drop_inputs=["depth"])
        for looks in ("plain", "photographic")
    ]
    world, planner, random = World(), local_planner("heatmap", models), np.random.default_rng(seed)
    rows: list[tuple[np.ndarray, bool, int, bool, bool]] = []
    for number in track(range(count), "scenes"):
        protocol = protocols[number % 2]
        spec = buildable(world, protocol, seed, number)
        scene = world.build(spec)
        view = scene.observe()
        asked = planning_request(view, spec, protocol.gripper, 1, "heatmap", None, protocol.inputs, protocol.drop_inputs)
        item = asked.observation, asked.request
        candidates, heights = _candidates(planner, item)
        terms = candidates.averaged(candidates.terms).double().numpy()
        best, which = candidates.logits().flatten(1).max(1)
        order = torch.argsort(best, descending=True).tolist()
        more = random.permutation(order[1 : 1 + NEXT])[: TRIED - 1]
        for rank, index in enumerate([*order[:1], *more]):
            level, turn = divmod(int(which[index]), ROTATIONS)
            held = _try(scene, item, candidates, int(index), heights[level], turn)
            rows.append((terms[:, index, level, turn], held, number, rank == 0, bool(number % 2)))
    all_terms, all_held, *others = zip(*rows, strict=True)
    return Trials(np.array(all_terms), np.array(all_held, float), *map(np.array, others))


@torch.inference_mode()
def _candidates(planner: LocalPlanner, item: PlanItem) -> tuple[RgbCandidates, torch.Tensor]:
    """What `heatmap` ranks, and the heights (T,) of the tips, m."""
    network = planner.planner.need(planner.network)
    maps = heat_maps(*item, network)
    peaks, _ = find_peaks(maps, *item)
    from_rgb = the_network(network).height_from_rgb
    if from_rgb is None:
        raise ValueError(f"{network.ref}: only versions that estimate heights rank by these weights")
    refiner = GraspRefiner(from_rgb, *item, network.device)
    calibrate = partial(calibrated_logits, calibration=network.card.calibration)
    return candidates_of(peaks, maps, calibrate, refiner, find_things(*item), item), maps.heights


def _try(scene: Scene, item: PlanItem, candidates: RgbCandidates, index: int, height: torch.Tensor, turn: int) -> bool:
    """Whether the open hand holds something there."""
    request = item[1]
    assert request.camera is not None
    assert request.table_depth is not None
    pose = np.asarray(request.camera_pose)
    tips = float(adjusted(height[None], candidates.highest[index, None], request.gripper.finger_depth))
    place = candidates.pixels[index].tolist()
    grasp = table_grasp(place, turn * np.pi / ROTATIONS, tips, request.camera, request.table_depth, table_up(pose))
    return scene.attempt(pose @ grasp, request.gripper.max_width, request.gripper).success
