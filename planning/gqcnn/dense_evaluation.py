"""Qualities of a whole depth image under 16 angles and 16 depths by a fully convolutional network of the GQ-CNN family."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planning.base import PlannerError
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps
from planning.limits import LEAST_OVERLAP, TABLE_GAP
from planning.scene.projection import map_pixels, map_points
from planning.scene.scene import PlanningScene
from shared.features.crops import crop
from shared.networks.fc_gqcnn import FCGQCNN, convert
from shared.networks.gqcnn import GQCNN
from shared.networks.gqcnn4 import GQCNN4

ANGLES = 16
"""Angles of the closing axis under which the image is evaluated."""
DEPTHS = 16
"""Depths of the tips at which it is."""
FEWER_DEPTHS = 6
"""For a network that takes the depth off its input: each depth then costs a pass of its own."""
DEEPEST = 0.06
"""Fingertips farther than this under the surface at the centre are not considered, m."""


@dataclass(frozen=True)
class AngleMap:
    """Logits (D, h, w) for one angle of the closing axis (rad) and D tip depths (m), on a grid that lies turned in the image.

    corner: (2,) pixel (u, v) of element (0, 0); step: pixels between elements; turn: of the rows against +u, rad.
    """

    angle: float
    depths: Tensor
    logits: Tensor
    corner: Tensor
    step: float
    turn: float

    def pixels(self) -> Tensor:
        """(h, w, 2) pixels of the elements as (u, v)."""
        rows, columns = (self.step * torch.arange(side, device=self.corner.device) for side in self.logits.shape[1:])
        cosine, sine = math.cos(self.turn), math.sin(self.turn)
        along, across = columns[None, :], rows[:, None]
        return self.corner + torch.stack([cosine * along - sine * across, sine * along + cosine * across], 2)

    def on_image(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Values (h, w) of the elements, interpolated at every pixel of an image (H, W); 0 beyond the grid."""
        v, u = torch.meshgrid(*(torch.arange(side, device=values.device) for side in size), indexing="ij")
        u, v = (u - self.corner[0]) / self.step, (v - self.corner[1]) / self.step
        cosine, sine = math.cos(self.turn), math.sin(self.turn)
        column, row = cosine * u + sine * v, cosine * v - sine * u
        height, width = values.shape
        grid = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], 2)[None]
        return F.grid_sample(values[None, None], grid, mode="bilinear", align_corners=False)[0, 0]


def angle_maps(scene: PlanningScene, scorer: CropScorer) -> Iterator[AngleMap]:
    """One map per angle. Raises PlannerError 422 for a network that has no fully convolutional form."""
    box = _box(scene)
    if box is None:
        return
    center, extent, near, far = box
    count = FEWER_DEPTHS if getattr(scorer.network, "depth_mode", "") == "im_depth_sub" else DEPTHS
    # Middles of equal bins between the highest point and the table.
    depths = near + (far - near) * (torch.arange(count, device=scene.device) + 0.5) / count
    scale, shift = (float(value[0]) for value in scorer.view.scale_and_shift(depths.mean()[None].cpu().numpy(), scorer.focal))
    bins = getattr(scorer.network, "angular_bins", 0)
    for turn in [0.0] if bins else [k * math.pi / ANGLES for k in range(ANGLES)]:
        size = _canvas(extent / scale, turn, scorer.size)
        angle, steps = torch.tensor([turn], device=scene.device), torch.tensor([scale], device=scene.device)
        image = crop(scorer.depth, center[None], angle, steps, size) + shift
        maps, stride = _logits(scorer.network, image, depths + shift)
        corner = center + _turned(scale * (scorer.size - size[1]) / 2, scale * (scorer.size - size[0]) / 2, turn, center)
        for k in range(maps.shape[1]):
            axis = math.pi / 2 - (k + 0.5) * math.pi / bins if bins else turn
            yield AngleMap(axis, depths, maps[:, k], corner, stride * scale, turn)


def best(scene: PlanningScene, maps: Iterator[AngleMap], most: int) -> tuple[ImageGrasps, Tensor]:
    """The `most` best local maxima on what is seen, best first: grasps and logits (N,)."""
    depth = torch.from_numpy(scene.observation.depth).to(scene.device)
    rows, columns = depth.shape
    found: list[Tensor] = []
    for each in maps:
        u, v = each.pixels().unbind(2)
        inside = (u >= 0) & (u <= columns - 1) & (v >= 0) & (v <= rows - 1)
        surface = depth[v.round().long().clamp(0, rows - 1), u.round().long().clamp(0, columns - 1)]
        under = each.depths[:, None, None] - surface
        fits = inside & (surface > 0) & (under > TABLE_GAP) & (under < DEEPEST)
        logits, level = torch.where(fits, each.logits, -torch.inf).max(0)
        peak = torch.isfinite(logits) & (logits >= F.max_pool2d(logits[None], 3, 1, 1)[0])
        angle = torch.full_like(logits[peak], each.angle)
        found.append(torch.stack([logits[peak], u[peak], v[peak], angle, each.depths[level[peak]]], 1))
    table = torch.cat(found) if found else torch.zeros(0, 5, device=scene.device)
    table = table[torch.topk(table[:, 0], min(most, len(table))).indices]
    return ImageGrasps(table[:, 1:3], table[:, 3], table[:, 4]), table[:, 0]


def _box(scene: PlanningScene) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Middle and extent (2,) as (u, v) of the part of the image that rises above the table, and its range of depths, m."""
    raised = torch.nonzero(scene.above_table >= TABLE_GAP + LEAST_OVERLAP)
    if not len(raised):
        return None
    x = scene.map.corner[0] + scene.map.resolution * raised[:, 1]
    y = scene.map.corner[1] + scene.map.resolution * raised[:, 0]
    height = scene.upper_bound[raised[:, 0], raised[:, 1]]
    pixels = map_pixels(scene, map_points(x, y, height))
    rows, columns = scene.observation.size
    low, high = pixels.amin(0).clamp(min=0), pixels.amax(0)
    high = torch.minimum(high, torch.tensor([columns - 1.0, rows - 1.0], device=high.device))
    if scene.observation.segmask is not None and scene.observation.segmask.any():
        inside = torch.from_numpy(np.argwhere(scene.observation.segmask)[:, ::-1].astype(np.float32)).to(low.device)
        low, high = torch.maximum(low, inside.amin(0)), torch.minimum(high, inside.amax(0))
    if scene.request.region:
        region = torch.tensor(scene.request.region, dtype=torch.float32, device=low.device)
        low, high = torch.maximum(low, region[:2]), torch.minimum(high, region[2:])
    if (high <= low).any():
        return None
    pose = torch.as_tensor(scene.map.pose, dtype=torch.float32, device=x.device)
    nearest, farthest = (map_points(x, y, z) @ pose[2, :3] + pose[2, 3] for z in (height, scene.table_at(x, y)))
    return (low + high) / 2, high - low, nearest.amin(), farthest.amax()


def _canvas(extent: Tensor, turn: float, window: int) -> tuple[int, int]:
    """Rows and columns of the turned picture that holds the whole box and half a window around it."""
    width, height = extent.tolist()
    cosine, sine = abs(math.cos(turn)), abs(math.sin(turn))
    return math.ceil(width * sine + height * cosine) + window, math.ceil(width * cosine + height * sine) + window


def _logits(network: nn.Module, image: Tensor, depths: Tensor) -> tuple[Tensor, int]:
    """Logits (D, A, h, w) of one picture (1, 1, H, W) at depths (D,), and the stride."""
    if isinstance(network, GQCNN4):
        if network.depth_mode == "im_depth_sub":
            return torch.cat([network.dense(image, depth[None]) for depth in depths]), network.stride
        maps = network.merge(network.features(image), depths)
        return maps.expand(len(depths), -1, -1, -1), network.stride
    if isinstance(network, GQCNN):
        dense = _fully_convolutional(network)
        if not network.takes_gripper_depth:
            return dense(image)[:, None].expand(len(depths), -1, -1, -1), dense.stride
        return torch.cat([dense(image, depth[None]) for depth in depths])[:, None], dense.stride
    raise PlannerError(422, "not_convolutional", f"{type(network).__name__} has no fully convolutional form; ask for gqcnn")


@lru_cache(maxsize=2)
def _fully_convolutional(network: GQCNN) -> FCGQCNN:
    """The same weights, made once per loaded network."""
    device = network.fc.weight.device
    pose = network.pc1
    dense = FCGQCNN(
        gripper_depth=network.takes_gripper_depth,
        padding=network.padding,
        mean=network.mean,
        std=network.std,
        depth_mean=pose.mean if pose else 0.0,
        depth_std=pose.std if pose else 1.0,
        lrn_size=network.lrn.size,
        lrn_alpha=network.lrn.alpha,
    )
    dense.load_state_dict(convert(network.state_dict()))
    return dense.to(device).eval()


def _turned(along: float, across: float, turn: float, like: Tensor) -> Tensor:
    """(u, v) of a step along and across rows that are turned by `turn`."""
    cosine, sine = math.cos(turn), math.sin(turn)
    return like.new_tensor([cosine * along - sine * across, sine * along + cosine * across])
