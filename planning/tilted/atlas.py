"""The maps of several directions laid side by side, so that one search goes through all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from planning.jaw.candidates import JawCandidates
from planning.scene.scene import OUTSIDE, PlanningScene
from shared.grasp_poses import HandPose
from shared.maps.heightmap import HeightMap

GAP = 16
"""Cells between two maps. A palm reaches no farther beyond its own: that is larger than the things by what a hand meets."""
LAYERS: dict[str, float | bool] = {
    "upper_bound": OUTSIDE,
    "known": False,
    "dilated": OUTSIDE,
    "seen": OUTSIDE,
    "obstacle": float("inf"),
    "top": OUTSIDE,
    "near_unobserved": True,
    "truncated_to": 0.0,
    "above_table": 0.0,
    "goal": False,
}
"""Of a scene, and what each holds between two maps."""


@dataclass(frozen=True)
class Atlas(PlanningScene):
    """Scenes over each other in one map, whose corner is the origin. shift (K, 3): from the atlas to each scene's map, m.
    starts (K - 1,): y at which each of them but the first begins, m. tables (K, 3): slopes and height of their tables there.
    poses (K, 4, 4) float64: to the camera frame."""

    shift: Tensor = field(init=False, repr=False)
    starts: Tensor = field(init=False, repr=False)
    tables: Tensor = field(init=False, repr=False)
    poses: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        raise TypeError("made by atlas_of")

    def tile(self, y: Tensor) -> Tensor:
        """Index of the scene in which atlas y (any shape), m, lie."""
        return torch.bucketize(y.contiguous(), self.starts)

    def table_at(self, x: Tensor, y: Tensor, aside: tuple[Tensor, Tensor] | None = None) -> Tensor:
        slope_x, slope_y, height = self.tables[self.tile(y)].unbind(-1)
        if aside is not None:
            x, y = x + aside[0], y + aside[1]
        return slope_x * x + slope_y * y + height

    def to_camera(self, points: Tensor) -> Tensor:
        return self.poses[self.tile(points[:, 1])]


def atlas_of(scenes: Sequence[PlanningScene]) -> Atlas:
    """The scenes, of one observation and resolution and without bins, side by side."""
    first, device, cells = scenes[0], scenes[0].device, scenes[0].map.resolution
    rows = [scene.map.height.shape[0] for scene in scenes]
    tops = np.cumsum([0, *(each + GAP for each in rows[:-1])])
    shape = int(tops[-1]) + rows[-1], max(scene.map.height.shape[1] for scene in scenes)
    layers: dict[str, Tensor | None] = {}
    for name, between in LAYERS.items():
        parts = [getattr(scene, name) for scene in scenes]
        if parts[0] is None:
            layers[name] = None
            continue
        layers[name] = whole = torch.empty(shape, dtype=parts[0].dtype, device=device)
        for top, part in zip(tops, parts, strict=True):
            whole[top : top + len(part), : part.shape[1]] = part
            whole[top : top + len(part), part.shape[1] :] = between
            whole[top + len(part) : top + len(part) + GAP] = between
    shift = np.array([[*scene.map.corner, 0.0] for scene in scenes]) - np.outer(tops * cells, [0.0, 1.0, 0.0])
    slopes = np.array([scene.map.table for scene in scenes])
    poses = np.array([scene.map.pose for scene in scenes])
    poses[:, :3, 3] += (poses[:, :3, :3] @ shift[:, :, None])[:, :, 0]
    nothing = np.zeros(shape, bool)
    empty = np.zeros(shape, np.float32)
    noise = max(scene.map.table_noise for scene in scenes)
    whole_map = HeightMap(
        empty, nothing, empty, nothing, first.map.pose, (0.0, 0.0), np.zeros(2), first.map.table_share, noise, cells
    )
    atlas = object.__new__(Atlas)  # its layers are those of the scenes, not made anew
    atlas.__dict__.update(first.__dict__, map=whole_map, table=(0.0, 0.0), inside=None, **layers)
    atlas.__dict__.update(
        shift=torch.as_tensor(shift, dtype=torch.float32, device=device),
        starts=torch.as_tensor((tops[1:] - GAP // 2) * cells, dtype=torch.float32, device=device),
        tables=torch.as_tensor(np.column_stack([slopes, (slopes * shift[:, :2]).sum(1)]), dtype=torch.float32, device=device),
        poses=torch.as_tensor(poses, device=device),
    )
    return atlas


def by_scene(atlas: Atlas, hands: JawCandidates) -> list[JawCandidates]:
    """Hands of the atlas by scene, each in the map of its own."""
    tile = atlas.tile(hands.pose.y)
    parts = []
    for number, shift in enumerate(atlas.shift):
        mine = hands.pick(torch.nonzero(tile == number).squeeze(1))
        pose = mine.pose
        parts.append(replace(mine, pose=HandPose(pose.position + shift, pose.approach, pose.angle, pose.width)))
    return parts
