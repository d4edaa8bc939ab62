"""Qualities of a whole depth image under 16 angles and 16 depths by a fully convolutional network of the GQ-CNN family.

Only what can become a grasp is evaluated: places on things under which the tips of a jaw fit, and angles at which a jaw could
close there. The picture under each angle is cut into pieces that hold such places; a piece is one question to the network, so
that other work goes between them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from planning.batched_inference import InferenceSteps, NetworkCall
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps, to_map
from planning.gqcnn.pieces import Form, Piece, affordable, cut, form_of
from planning.jaw.quality_map import angle_bins, spacing
from planning.jaw.sampling import ANGLES, survey
from planning.limits import LEAST_OVERLAP, TABLE_GAP
from planning.scene.projection import map_pixels, map_points
from planning.scene.scene import PlanningScene
from shared.features.crops import crop

DEPTHS = 16
"""Depths of the tips at which the image is evaluated."""
FEWER_DEPTHS = 6
"""For a network that takes the depth off its input: each depth then costs a pass of its own."""
DEEPEST = 0.06
"""Fingertips farther than this under the surface at the centre are not considered, m."""
WIDEST = 2048
"""Longest side of the turned picture, pixels of the network's: what is so near that it would be larger is seen from farther."""
EVERY = 3
"""Of the depths that cost a pass of their own, every third is asked about under an angle, other ones under the next: quality
changes little between neighbours, and the best are tried again around where they were found."""


@dataclass(frozen=True)
class AngleMap:
    """Logits (D, h, w) for one angle of the closing axis (rad) and D tip depths (m), on a grid that lies turned in the image;
    -inf where none was asked for.

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


def angle_maps(
    scene: PlanningScene, scorer: CropScorer, close: bool = True
) -> InferenceSteps[tuple[list[AngleMap], Counter[str]]]:
    """One map per angle, and what was rejected before the network was asked. close: only where a jaw could close.

    Raises PlannerError 422 for a network that has no fully convolutional form.
    """
    form, box, rejected = form_of(scorer.network), _box(scene), Counter[str]()
    if box is None:
        return [], rejected
    center, extent, near, far = box
    count = DEPTHS if form.shared else FEWER_DEPTHS
    # Middles of equal bins between the highest point and the table.
    depths = near + (far - near) * (torch.arange(count, device=scene.device) + 0.5) / count
    scale, shift = (float(value[0]) for value in scorer.view.scale_and_shift(depths.mean()[None].cpu().numpy(), scorer.focal))
    scale = max(scale, float(extent.max()) / WIDEST)
    places, rejected = _places(scene) if close else (None, rejected)
    turns, asked, pieces = [], [], []
    for k in range(1 if form.bins else ANGLES):
        turns.append(_empty_maps(form, center, extent, k * math.pi / ANGLES, depths, scale))
        here = None if places is None else places.any(0) if form.bins else places[k]
        asked.append(wanted := _wanted(scene, turns[k][0], here))
        single = range(k % EVERY, count, EVERY) if close and not form.bins else range(count)
        for levels in [slice(count)] if form.shared else [slice(d, d + 1) for d in single]:
            flat = wanted[levels].any(0)
            pieces += [Piece(k, levels, part, flat[part]) for part in cut(flat.cpu().numpy(), form)]
    for piece in affordable(pieces, form):
        maps, size = turns[piece.turn], form.size(piece.box)
        along, across = (scale * (form.stride * side.start + (pixels - form.window) / 2)
                         for side, pixels in zip(piece.box[::-1], size[::-1], strict=True))  # fmt: skip
        middle = maps[0].corner + _turned(along, across, maps[0].turn, center)
        image = crop(scorer.depth, middle[None], center.new_tensor([maps[0].turn]), center.new_tensor([scale]), size) + shift
        run = partial(form.logits, wanted=piece.wanted)
        found = yield NetworkCall(scorer.loaded, (image, depths[None, piece.levels] + shift), run=run)
        for each, values in zip(maps, found[0], strict=True):
            each.logits[(piece.levels, *piece.box)][:, piece.wanted] = values
    for maps, wanted in zip(turns, asked, strict=True):
        for each in maps:
            each.logits.masked_fill_(~wanted, -torch.inf)
    return [each for maps in turns for each in maps], rejected


def _empty_maps(form: Form, center: Tensor, extent: Tensor, turn: float, depths: Tensor, scale: float) -> list[AngleMap]:
    """The maps under one turn, before anything was asked, over a box around a pixel `center`, both (2,)."""
    width, height = (extent / scale).tolist()
    cosine, sine = abs(math.cos(turn)), abs(math.sin(turn))
    rows, columns = math.ceil(width * sine + height * cosine), math.ceil(width * cosine + height * sine)
    corner = center - _turned(scale * columns / 2, scale * rows / 2, turn, center)
    shape = len(depths), rows // form.stride + 1, columns // form.stride + 1
    angles = [math.pi / 2 - (k + 0.5) * math.pi / form.bins for k in range(form.bins)] or [turn]
    logits = torch.full((len(angles), *shape), -torch.inf, device=center.device)
    return [
        AngleMap(angle, depths, each, corner, form.stride * scale, turn) for angle, each in zip(angles, logits, strict=True)
    ]


def _places(scene: PlanningScene) -> tuple[Tensor, Counter[str]]:
    """Cells of the map (ANGLES, H, W) bool near which a jaw could close along each angle in the image, and rejections."""
    x, y, scores, rejected = survey(scene)
    apart = spacing(x, y, scene.map.resolution)
    column, row = (
        torch.round((axis - corner) / scene.map.resolution).long()
        for axis, corner in zip((x, y), scene.map.corner, strict=True)
    )
    closes = torch.isfinite(scores)[:, angle_bins(scene)]
    layers = torch.zeros((ANGLES, *scene.map.height.shape), dtype=torch.uint8, device=scene.device)
    layers[:, row, column] = closes.T.to(torch.uint8)
    square = np.ones((2 * apart + 1,) * 2, np.uint8)
    grown = np.stack([cv2.dilate(layer, square) for layer in layers.cpu().numpy()])
    return torch.from_numpy(grown > 0).to(scene.device), rejected


def _wanted(scene: PlanningScene, grid: AngleMap, places: Tensor | None) -> Tensor:
    """Elements (D, h, w) bool of a map at whose depths the tips are under what is seen there, in `places` (H, W) of the map."""
    depth = torch.from_numpy(scene.observation.depth).to(scene.device)
    rows, columns = depth.shape
    pixels = grid.pixels()
    u, v = pixels.unbind(2)
    inside = (u >= 0) & (u <= columns - 1) & (v >= 0) & (v <= rows - 1)
    surface = depth[v.round().long().clamp(0, rows - 1), u.round().long().clamp(0, columns - 1)]
    inside &= surface > 0
    if places is not None:
        seen = ImageGrasps(pixels.reshape(-1, 2), torch.zeros_like(surface).reshape(-1), surface.reshape(-1))
        inside &= scene.sample(*to_map(scene, seen)[:2], places)[0].reshape(surface.shape)
    under = grid.depths[:, None, None] - surface
    return inside & (under > TABLE_GAP) & (under < DEEPEST)


def best(scene: PlanningScene, maps: Sequence[AngleMap], most: int) -> tuple[ImageGrasps, Tensor]:
    """The `most` best local maxima, best first: grasps and logits (N,)."""
    found: list[Tensor] = []
    for each in maps:
        u, v = each.pixels().unbind(2)
        logits, level = each.logits.max(0)
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
    mask = scene.observation.graspable
    if mask is not None and mask.any():
        inside = torch.from_numpy(np.argwhere(mask)[:, ::-1].astype(np.float32)).to(low.device)
        low, high = torch.maximum(low, inside.amin(0)), torch.minimum(high, inside.amax(0))
    if scene.request.region:
        region = torch.tensor(scene.request.region, dtype=torch.float32, device=low.device)
        low, high = torch.maximum(low, region[:2]), torch.minimum(high, region[2:])
    if (high <= low).any():
        return None
    pose = torch.as_tensor(scene.map.pose, dtype=torch.float32, device=x.device)
    nearest, farthest = (map_points(x, y, z) @ pose[2, :3] + pose[2, 3] for z in (height, scene.table_at(x, y)))
    return (low + high) / 2, high - low, nearest.amin(), farthest.amax()


def _turned(along: float, across: float, turn: float, like: Tensor) -> Tensor:
    """(u, v) of a step along and across rows that are turned by `turn`."""
    cosine, sine = math.cos(turn), math.sin(turn)
    return like.new_tensor([cosine * along - sine * across, sine * along + cosine * across])
