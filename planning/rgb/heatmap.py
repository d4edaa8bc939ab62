"""`heatmap`: a network that sees colours gives a map of qualities per jaw angle; height comes from depth, or from the table."""

import math
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import Grasp, GraspPlan, PlanRequest
from grasp_client.geometry import pose_from, wrap_angle
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem, Planner
from planning.batched_inference import between_passes
from planning.calibration import calibrated, calibrated_logits
from planning.gqcnn.crop_scorer import ImageGrasps, to_image, to_map
from planning.jaw.filters import veto
from planning.jaw.fit import measure
from planning.limits import LEAST_OVERLAP, RETREAT, TABLE_GAP
from planning.plan_result import select
from planning.rgb.maps import Peaks, find_peaks, heat_maps, the_network
from planning.rgb.ranking import candidates_of, rank, rank_refined
from planning.rgb.refinement import GraspRefiner, can_refine
from planning.rgb.unlike_table import find_things
from planning.scene.scene import PlanningScene, observe_scene
from shared.table_grasp import table_grasp, table_up

LEAST_DISTANCE = 0.02
"""Grasps nearer to each other than this share of the image's longer side are one grasp, when there is no depth."""
UNSAID_HEIGHT = 0.010
"""Height of the tips over the table for a network that was taught one, unsaid, m."""
NO_DEPTH = "no_depth: nothing was checked for width or collision, and the opening is the gripper's largest"
NO_HEIGHT = "no_table_depth: neither depth nor table_depth (with camera) was sent: the grasps carry pixels only"


class HeatmapPlanner(Planner):
    name = "heatmap"
    description = "Colour image to quality maps per jaw angle. RGB, with depth or table_depth for the height."
    cpu_seconds = 0.015
    model_name = "heatmap"
    architecture = "mobileunet"
    inputs = frozenset({"rgb"})

    @torch.inference_mode()
    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        return [self._plan(item, self.need(network)) for item in items]

    @torch.inference_mode()
    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        """(R, H, W) with the network's own number of angles R; the best over all heights of the tips."""
        network = self.need(network)
        measured = None
        if observation.depth is not None and request.camera is not None:
            measured = _table_depth(observe_scene(observation, request, network.device))
        maps = heat_maps(observation, request, network, measured)
        logits = maps.resampled(observation.size).amax(0)[torch.argsort(maps.angles % math.pi)]
        return calibrated(logits, network.card.calibration).cpu().numpy()

    def _plan(self, item: PlanItem, network: LoadedNetwork) -> GraspPlan:
        started = time.perf_counter()
        how = self._flat if item[0].depth is None else self._with_depth
        return how(item, network, started)

    def _with_depth(self, item: PlanItem, network: LoadedNetwork, started: float) -> GraspPlan:
        """Peaks on what rises above the table, fitted to what is there, vetoed, and rated where the hand will be."""
        observation, request = item
        scene = observe_scene(observation, request, network.device)
        depth = torch.from_numpy(np.ascontiguousarray(observation.depth)).to(network.device)
        maps = heat_maps(observation, request, network, _table_depth(scene))
        peaks, rejected = find_peaks(maps, observation, request, _raised(scene, depth))
        column, row = peaks.pixels.round().long().unbind(1)
        grasps = ImageGrasps(peaks.pixels, peaks.angles, depth[row, column])
        hands, missed = measure(scene, *to_map(scene, grasps)[:3])
        hands, vetoed = veto(scene, hands)
        seen = to_image(scene, hands.pose)
        quality = calibrated(maps.at(seen.centers, seen.angles, hands.rise), network.card.calibration)
        return select(self.name, scene, hands, quality, rejected + missed + vetoed, network, started)

    def _flat(self, item: PlanItem, network: LoadedNetwork, started: float) -> GraspPlan:
        """Peaks on a table of which at most the distance is known."""
        observation, request = item
        maps = heat_maps(observation, request, network)
        between_passes.get()()
        peaks, rejected = find_peaks(maps, observation, request)
        things = find_things(observation, request)
        between_passes.get()()
        calibrate = partial(calibrated_logits, calibration=network.card.calibration)
        metric = request.camera is not None and request.table_depth is not None
        from_rgb = the_network(network).height_from_rgb
        if from_rgb is not None and can_refine(request, maps.heights):
            refiner = GraspRefiner(from_rgb, observation, request, network.device)
            candidates = candidates_of(peaks, maps, calibrate, refiner, things, item)
            peaks, heights = rank_refined(candidates, maps.heights, request.gripper.finger_depth)
        else:
            peaks = rank(peaks, maps, calibrate, things, item)
            known = maps.heights if len(maps.heights) else torch.tensor([UNSAID_HEIGHT], device=peaks.logits.device)
            heights = known[peaks.levels]
        quality = torch.sigmoid(peaks.logits)
        enough = quality >= request.min_quality
        rejected["low_quality"] += int((~enough).sum())
        grasps: list[Grasp] = []
        apart = LEAST_DISTANCE * max(observation.size)
        for pixel, angle, height, value in _listed(peaks, heights, quality, enough):
            if len(grasps) == request.n_grasps:
                break
            if any(math.dist(pixel, other.center_px) < apart for other in grasps):
                continue
            grasp = Grasp(kind="parallel_jaw", quality=value, center_px=pixel, angle=wrap_angle(angle))
            try:
                grasps.append(_on_table(grasp, height, request) if metric else grasp)
            except ValueError:  # a camera that looks towards the horizon sees more than the table
                rejected["off_table"] += 1
        return GraspPlan(
            planner=self.name,
            model=network.ref,
            grasps=grasps,
            rejections={reason: count for reason, count in sorted(rejected.items()) if count},
            timings_ms={"plan": 1e3 * (time.perf_counter() - started)},
            warnings=[NO_DEPTH] if metric else [NO_DEPTH, NO_HEIGHT],
        )


def _listed(peaks: Peaks, heights: Tensor, quality: Tensor, enough: Tensor) -> list[tuple[list[float], float, float, float]]:
    """(pixel, angle, height of the tips over the table, quality) of the peaks that are good enough."""
    columns = (peaks.pixels, peaks.angles, heights, quality)
    return list(zip(*(each[enough].tolist() for each in columns), strict=True))


def _table_depth(scene: PlanningScene) -> float | None:
    """Where the optical axis meets the table that the depth image shows, m; None where it does not."""
    pose, (a, b) = scene.map.pose, scene.map.table
    eye, axis = -pose[:3, :3].T @ pose[:3, 3], pose[:3, :3].T[:, 2]
    normal = np.array([a, b, 1.0])  # of the table's points: a x + b y + z = 0, for z points down
    towards = float(normal @ axis)
    return float(-(normal @ eye) / towards) if towards > 0 else None


def _raised(scene: PlanningScene, depth: Tensor) -> Tensor:
    """(H, W) bool: pixels that see something above the table."""
    row, column = torch.nonzero(depth > 0, as_tuple=True)
    surface = ImageGrasps(torch.stack([column, row], 1).float(), torch.zeros_like(depth[row, column]), depth[row, column])
    x, y, _, height = to_map(scene, surface)
    raised = torch.zeros_like(depth, dtype=torch.bool)
    raised[row, column] = height > scene.table_at(x, y) + TABLE_GAP + LEAST_OVERLAP
    return raised


def _on_table(grasp: Grasp, height: float, request: PlanRequest) -> Grasp:
    """The grasp with the pose of wide open jaws that go straight down until the tips are `height` m over the table.

    Raises ValueError for a pixel that does not look at the table.
    """
    camera, gripper = request.camera, request.gripper
    assert camera is not None
    assert request.table_depth is not None
    base = None if request.camera_pose is None else np.asarray(request.camera_pose)
    tips = table_grasp(grasp.center_px, grasp.angle, height, camera, request.table_depth, table_up(base))
    pose, before = (tips @ pose_from(np.eye(3), np.array([0, 0, -back])) for back in _backs(gripper.tcp_offset))
    # Pixels per metre along the closing axis, at the tips.
    seen = np.array([camera.fx, camera.fy]) * (tips[:2, 0] * tips[2, 3] - tips[:2, 3] * tips[2, 0]) / tips[2, 3] ** 2
    return grasp.model_copy(
        update={
            "depth": float(pose[2, 3]),
            "width": gripper.max_width,
            "width_px": float(gripper.max_width * np.linalg.norm(seen)),
            "pose_camera": pose.tolist(),
            "pregrasp_camera": before.tolist(),
            "pose_base": None if base is None else (base @ pose).tolist(),
            "pregrasp_base": None if base is None else (base @ before).tolist(),
        }
    )


def _backs(tcp_offset: float) -> tuple[float, float]:
    """How far behind the tips the tool point and its pre-grasp are, m."""
    return tcp_offset, tcp_offset + RETREAT
