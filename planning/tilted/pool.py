"""Candidates of several directions in one pool: searched and vetoed each along its own approach, compared by their poses."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import Grasp, PlanRequest
from planning.calibration import told_by
from planning.jaw.candidates import JawCandidates
from planning.jaw.filters import veto
from planning.jaw.search import predict
from planning.limits import FINGER_GAP
from planning.scene.projection import wire_grasps
from planning.scene.scene import PlanningScene
from planning.tilted.atlas import atlas_of, by_scene
from planning.tilted.scenes import ApproachScenes, in_other
from shared.features.hand_frame import patches
from shared.grasp_poses import HandPose

RANKED = (28, 12)
"""Candidates that the network sees, at least: of straight down, and of every other direction."""
MORE = 0.15
"""What every further direction adds to the candidates that are looked at, as a share of those of `dense`."""
APART, TURNED = 0.006, 0.17
"""Candidates nearer than this to a better one of their direction, m, and turned by less, rad, are not ranked."""


@dataclass(frozen=True)
class Pool:
    """Candidates by direction, each in the map of its scene, and what was refused."""

    seen: ApproachScenes
    hands: list[JawCandidates]
    rejected: Counter[str]

    def __len__(self) -> int:
        return sum(map(len, self.hands))

    def features(self) -> Tensor:
        """What the network sees of all candidates, (N, CHANNELS, ROWS, COLUMNS)."""
        looks = [
            patches(scene.map, hands.pose, scene.gripper, scene.unit)
            for scene, hands in zip(self.seen.scenes, self.hands, strict=True)
            if len(hands)
        ]
        return torch.cat(looks)

    def told(self) -> np.ndarray:
        """The circumstances of all candidates, (N, C)."""
        leans = []
        for scene, hands in zip(self.seen.scenes, self.hands, strict=True):
            down = torch.as_tensor(scene.map.pose[:3, :3].T @ self.seen.down, dtype=torch.float32)
            leans.append(hands.pose.approach.cpu() @ down)
        straight_down = torch.cat(leans)[:, None]
        return told_by(self.seen.scenes[0], torch.cat([torch.zeros(len(straight_down), 2), straight_down], 1))

    def poses(self) -> HandPose:
        """All candidates in the camera's frame, m."""
        parts = [in_frame(hands.pose, scene) for scene, hands in zip(self.seen.scenes, self.hands, strict=True)]
        position, rotation, width = (torch.cat(each) for each in zip(*parts, strict=True))
        return HandPose.of(position, rotation, width)

    def grasps(self, chosen: Tensor, qualities: Tensor) -> list[Grasp]:
        """The reply's grasps of the candidates at these indices (K,), in this order, with the qualities (N,) of all."""
        found: dict[int, Grasp] = {}
        start = 0
        for scene, hands in zip(self.seen.scenes, self.hands, strict=True):
            here = chosen[(chosen >= start) & (chosen < start + len(hands))]
            grasps = wire_grasps(scene, hands.pick(here - start).pose, qualities[here]) if len(here) else []
            found.update(zip(here.tolist(), grasps, strict=True))
            start += len(hands)
        return [found[index] for index in chosen.tolist()]


@torch.inference_mode()
def search(seen: ApproachScenes, request: PlanRequest) -> Pool:
    """The best feasible hands of every direction, with their analytic scores."""
    first = seen.scenes[0]
    groups = [[first], seen.scenes[1:]] if seen.bin is first or first.levels is not None else [seen.scenes]
    searched = [_predict(scenes) for scenes in groups if scenes]
    found = [hands for hands_of_group, _ in searched for hands in hands_of_group]
    refused = sum((rejected for _, rejected in searched), Counter())
    for number, scene in enumerate(seen.scenes):
        if scene is seen.overhead:
            continue
        found[number], rejected = found[number].filtered({"below_table": under_table(scene, found[number], seen)})
        refused += rejected
        if seen.bin:
            found[number], rejected = in_bin(scene, found[number], seen.bin)
            refused += rejected
    most = [max(RANKED[scene is not seen.overhead], 2 * request.n_grasps // len(seen.scenes)) for scene in seen.scenes]
    pooled = [hands.distinct(hands.score, count, APART, TURNED)[0] for hands, count in zip(found, most, strict=True)]
    refused["outside_map"] += max(scene.map.outside for scene in seen.scenes)
    return Pool(seen, pooled, refused)


def _predict(scenes: list[PlanningScene]) -> tuple[list[JawCandidates], Counter[str]]:
    """Feasible hands of each scene, looked for in all of them at once, and counted rejections."""
    if len(scenes) == 1:
        hands, rejected = predict(scenes[0])
        return [hands], rejected
    atlas = atlas_of(scenes)
    hands, rejected = predict(atlas, 1 + MORE * (len(scenes) - 1))
    return by_scene(atlas, hands), rejected


def under_table(scene: PlanningScene, hands: JawCandidates, seen: ApproachScenes) -> Tensor:
    """Whether (N,) a part of a direction's hands would reach under the plane that carries the things, seen there or not."""
    gripper = scene.gripper
    position, rotation, width = (each.cpu().numpy() for each in in_frame(hands.pose, scene))
    closing, across, approach = rotation.transpose(2, 0, 1)
    size = {name: scene.unit * getattr(gripper, name) for name in ("finger_width", "palm_width", "palm_thickness")}
    outer = 0.5 * width[:, None] + scene.unit * scene.pad[0]
    tips = np.stack([outer * closing, 0.5 * size["finger_width"] * across], 1)
    palm = np.stack([0.5 * size["palm_width"] * closing, 0.5 * size["palm_thickness"] * across], 1)
    behind = position - scene.unit * gripper.finger_depth * approach
    lowest = np.minimum(seen.support.under(position, tips), seen.support.under(behind, palm))
    return torch.as_tensor(lowest < scene.unit * FINGER_GAP / 2, device=hands.x.device)


def in_bin(scene: PlanningScene, hands: JawCandidates, straight: PlanningScene) -> tuple[JawCandidates, Counter[str]]:
    """Those of a direction's hands that also the walls of the bin, which is seen from above, leave room for."""
    pose = in_other(scene, straight)
    turn = torch.as_tensor(pose[:3, :3], dtype=torch.float32, device=hands.x.device)
    shift = torch.as_tensor(pose[:3, 3], dtype=torch.float32, device=hands.x.device)
    moved = HandPose.of(scene.unit * hands.pose.position @ turn.T + shift, turn @ hands.pose.rotation, scene.unit * hands.width)
    rise = moved.tip - straight.table_at(moved.x, moved.y)
    there = replace(hands, pose=moved, rise=rise, source=torch.arange(len(hands), device=turn.device))
    kept, rejected = veto(straight, there)
    return hands.pick(kept.source), rejected


def in_frame(pose: HandPose, scene: PlanningScene) -> tuple[Tensor, Tensor, Tensor]:
    """Positions (N, 3) and openings (N,), m, and rotations (N, 3, 3) of a scene's hands in the camera's frame."""
    to_camera = torch.as_tensor(scene.map.pose, dtype=torch.float32, device=pose.width.device)
    position = scene.unit * (pose.position @ to_camera[:3, :3].T + to_camera[:3, 3])
    return position, to_camera[:3, :3] @ pose.rotation, scene.unit * pose.width
