"""`heatmap`: a network that sees colours gives a map of qualities per jaw angle; height comes from depth, or from the table."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference_server.planners.antipodal import select
from inference_server.planners.crop_scorer import ImageGrasps, to_image, to_map
from inference_server.planners.dense import calibrated
from inference_server.planners.grip import measure
from inference_server.planners.placement import RETREAT, place
from inference_server.planners.planner import Item, LoadedNetwork, Planner, PlannerError
from inference_server.planners.proposal import FLOOR, LEAST_OVERLAP
from inference_server.planners.scene import Scene, view
from inference_server.planners.selection import veto
from shared.contract import Grasp, GraspPlan, ModelRef, PlanRequest
from shared.geometry import approach_frame, deproject, wrap_angle
from shared.networks.mobileunet import MobileUNet
from shared.planner import Observation

PEAKS = 512
"""Best local maxima that geometry looks at, when there is depth."""
TIPS_ABOVE_TABLE = 0.01
"""Height of the fingertips over a table that is only known by its distance, m."""
LEAST_DISTANCE = 0.02
"""Grasps nearer to each other than this share of the image's longer side are one grasp, when there is no depth."""
NO_DEPTH = "no depth was sent: nothing was checked for width or collision, and the opening is the gripper's largest"
NO_HEIGHT = "neither depth nor table_depth (with camera) was sent: the grasps carry pixels only"


@dataclass(frozen=True)
class _Peaks:
    """Local maxima, best first: pixels (N, 2) as (u, v), angles (N,), logits (N,)."""

    pixels: Tensor
    angles: Tensor
    logits: Tensor


class HeatmapPlanner(Planner):
    name = "heatmap"
    description = "Colour image to quality maps per jaw angle. RGB, with depth or table_depth for the height."
    model_name = "heatmap"
    architecture = "mobileunet"
    inputs = frozenset({"rgb"})

    @torch.inference_mode()
    def plan_batch(self, items: Sequence[Item], network: LoadedNetwork | None) -> list[GraspPlan]:
        return [self._plan(item, self.need(network)) for item in items]

    @torch.inference_mode()
    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        """(R, H, W) with the network's own number of angles R."""
        network = self.need(network)
        self.check(observation, request)
        maps = calibrated(logit_maps(observation, network), network.card.calibration).cpu().numpy()
        angles = _network(network).angles
        return maps[np.argsort([angle % math.pi for angle in angles])]

    def _plan(self, item: Item, network: LoadedNetwork) -> GraspPlan:
        started = time.perf_counter()
        observation, request = item
        self.check(observation, request)
        maps = logit_maps(observation, network)
        if observation.depth is None:
            peaks, rejected = _peaks(maps, _network(network).angles, observation, request, None)
            plan = self._flat(item, network, peaks, rejected, started)
        else:
            plan = self._with_depth(item, network, maps, started)
        return plan.model_copy(update={"model": ModelRef(name=network.name, version=network.version)})

    def _with_depth(self, item: Item, network: LoadedNetwork, maps: Tensor, started: float) -> GraspPlan:
        """Peaks on what rises above the table, fitted to what is there, vetoed, and rated where the hand will be."""
        observation, request = item
        scene = view(observation, request, network.device)
        depth = torch.from_numpy(np.ascontiguousarray(observation.depth)).to(network.device)
        peaks, rejected = _peaks(maps, _network(network).angles, observation, request, _raised(scene, depth))
        column, row = peaks.pixels.long().unbind(1)
        grasps = ImageGrasps(peaks.pixels, peaks.angles, depth[row, column])
        hands, _, missed = measure(scene, request.gripper, *to_map(scene, grasps)[:3])
        hands, _, vetoed = veto(scene, request.gripper, hands)
        logits = _at(maps, _network(network).angles, to_image(scene, hands))
        order = torch.argsort(logits, descending=True, stable=True)
        hands, quality = hands.pick(order), calibrated(logits[order], network.card.calibration)
        placed = place(scene, request.gripper, hands)
        return select(self.name, scene, hands, placed, quality, rejected + missed + vetoed, started)

    def _flat(self, item: Item, network: LoadedNetwork, peaks: _Peaks, rejected: Counter, started: float) -> GraspPlan:
        """Peaks on a table of which at most the distance is known."""
        observation, request = item
        quality = calibrated(peaks.logits, network.card.calibration)
        enough = quality >= request.min_quality
        rejected["low_quality"] += int((~enough).sum())
        found = zip(peaks.pixels[enough].tolist(), peaks.angles[enough].tolist(), quality[enough].tolist(), strict=True)
        grasps: list[Grasp] = []
        apart = LEAST_DISTANCE * max(observation.size)
        for pixel, angle, value in found:
            if all(math.dist(pixel, other.center_px) >= apart for other in grasps):
                grasps.append(_on_table(pixel, angle, value, request))
            if len(grasps) == request.n_grasps:
                break
        metric = request.camera is not None and request.table_depth is not None
        return GraspPlan(
            planner=self.name,
            grasps=grasps,
            rejections={reason: count for reason, count in sorted(rejected.items()) if count},
            timings_ms={"plan": 1e3 * (time.perf_counter() - started)},
            warnings=[NO_DEPTH] if metric else [NO_DEPTH, NO_HEIGHT],
        )


def logit_maps(observation: Observation, network: LoadedNetwork) -> Tensor:
    """(R, H, W) in the pixels of the sent image, which the network sees at the size it was trained at."""
    module = _network(network)
    rgb = observation.rgb
    if rgb is None or (module.inputs == 4 and observation.depth is None):
        raise PlannerError(
            422, "missing_image", f"this version of {network.name} needs rgb{' and depth' * (module.inputs == 4)}"
        )
    rows, columns = rgb.shape[:2]
    factor = module.image_size / min(rows, columns)
    size = [max(16, 16 * round(side * factor / 16)) for side in (rows, columns)]
    shrunk = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(shrunk).to(network.device).permute(2, 0, 1)[None].float() / 255
    if module.inputs == 4:
        depth = cv2.resize(np.asarray(observation.depth), size[::-1], interpolation=cv2.INTER_NEAREST)
        image = torch.cat([image, torch.from_numpy(depth).to(network.device)[None, None]], 1)
    return F.interpolate(module(image), size=(rows, columns), mode="bilinear", align_corners=False)[0]


def _network(network: LoadedNetwork) -> MobileUNet:
    assert isinstance(network.module, MobileUNet)  # the registry's card is checked against `architecture`
    return network.module


def _raised(scene: Scene, depth: Tensor) -> Tensor:
    """(H, W) bool: pixels that see something above the table."""
    row, column = torch.nonzero(depth > 0, as_tuple=True)
    surface = ImageGrasps(torch.stack([column, row], 1).float(), torch.zeros_like(depth[row, column]), depth[row, column])
    x, y, _, height = to_map(scene, surface)
    raised = torch.zeros_like(depth, dtype=torch.bool)
    raised[row, column] = height > scene.table_at(x, y) + FLOOR + LEAST_OVERLAP
    return raised


def _peaks(
    maps: Tensor, angles: list[float], observation: Observation, request: PlanRequest, raised: Tensor | None
) -> tuple[_Peaks, Counter]:
    """The best local maxima of maps (R, H, W) on raised pixels (H, W), within segmask and region."""
    rows, columns = maps.shape[1:]
    rejected: Counter = Counter()
    if raised is not None:
        rejected["below_table"] += int((~raised).sum())
        maps = torch.where(raised, maps, -torch.inf)
    radius = max(1, max(rows, columns) // 100)
    peak = torch.isfinite(maps) & (maps >= F.max_pool2d(maps[None], 2 * radius + 1, 1, radius)[0])
    turn, row, column = torch.nonzero(peak, as_tuple=True)
    keep = torch.ones_like(turn, dtype=torch.bool)
    if observation.segmask is not None:
        inside = torch.from_numpy(np.ascontiguousarray(observation.segmask)).to(maps.device)[row, column]
        rejected["segmask"] += int((~inside).sum())
        keep &= inside
    if request.region:
        u0, v0, u1, v1 = request.region
        within = (column >= u0) & (column <= u1) & (row >= v0) & (row <= v1)
        rejected["region"] += int((keep & ~within).sum())
        keep &= within
    turn, row, column = turn[keep], row[keep], column[keep]
    logits = maps[turn, row, column]
    best = torch.topk(logits, min(len(logits), max(PEAKS, 4 * request.n_grasps))).indices
    pixels = torch.stack([column[best], row[best]], 1).float()
    return _Peaks(pixels, torch.tensor(angles, device=maps.device)[turn[best]], logits[best]), rejected


def _at(maps: Tensor, angles: list[float], grasps: ImageGrasps) -> Tensor:
    """Logits (N,) of maps (R, H, W) at grasps, each read from the map of the nearest angle."""
    between = (grasps.angles[:, None] - torch.tensor(angles, device=maps.device) + math.pi / 2) % math.pi - math.pi / 2
    column, row = (grasps.centers[:, axis].round().long().clamp(0, maps.shape[2 - axis] - 1) for axis in (0, 1))
    return maps[between.abs().argmin(1), row, column]


def _on_table(pixel: list[float], angle: float, quality: float, request: PlanRequest) -> Grasp:
    """A grasp straight along the optical axis, just above the table; pixels only when its distance is not known."""
    grasp = Grasp(kind="parallel_jaw", quality=quality, center_px=pixel, angle=wrap_angle(angle))
    camera, gripper = request.camera, request.gripper
    if camera is None or request.table_depth is None:
        return grasp
    tips = deproject(np.array([pixel]), np.array([request.table_depth - TIPS_ABOVE_TABLE]), camera)[0]
    axis = np.array([math.cos(angle) / camera.fx, math.sin(angle) / camera.fy, 0.0])
    approach = np.array([0.0, 0.0, 1.0])
    pose = approach_frame(tips - gripper.tcp_offset * approach, axis, approach)
    before = approach_frame(pose[:3, 3] - RETREAT * approach, axis, approach)
    base = None if request.camera_pose is None else np.asarray(request.camera_pose)
    per_pixel = float(tips[2] * np.linalg.norm(axis))
    return grasp.model_copy(
        update={
            "depth": float(pose[2, 3]),
            "width": gripper.max_width,
            "width_px": gripper.max_width / per_pixel,
            "pose_camera": pose.tolist(),
            "pregrasp_camera": before.tolist(),
            "pose_base": None if base is None else (base @ pose).tolist(),
            "pregrasp_base": None if base is None else (base @ before).tolist(),
        }
    )
