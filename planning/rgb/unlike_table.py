"""What in a colour picture is unlike the table it lies on: things of a size to be grasped, found without any training.

What differs from the table's colours, in one piece, enclosed by table and neither tiny nor huge, is taken for a thing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import PlanRequest
from grasp_client.observation import Observation
from planning.rgb.table_colours import unlikeness
from shared.features.rgb_input import RgbInput, factor_to, fit

PIXELS_PER_METRE = 200.0
"""Of table, in the picture that is looked at."""
AROUND = 0.22
"""m: standard deviation of how far from the optical axis colours count for the table's."""
UNLIKE = (3.0, 9.0)
"""Deviations from the table at which a pixel may belong to a thing, and at which it does in a piece too large for one."""
SURE = 10.0
"""Mean deviation of a piece that is surely not of the table."""
AREAS = (1.5e-4, 200e-4)
"""m2: of one thing."""
HEAP = 0.4
"""Power with which a larger piece, maybe a heap of things, is less likely."""
LONGEST = 0.30
"""m: what is longer, and narrow, is rather a rim."""
FRAME = 0.006
"""m: what comes so near to the picture's frame may go on behind it."""
CUT = 0.15
"""How much less likely that makes it."""
FARTHEST = 0.45
"""m: standard deviation of how far from the optical axis things lie."""
NARROW = 0.002
"""m: half width of what is too narrow to count."""
RIM = 0.007
"""m: standard deviation of where pieces end."""
PIECES = 12
"""Best pieces, and PLACES best places in each, that are proposed."""
PLACES = 6
ANGLES = 16
APART = 0.012
"""m between two places."""
ONE_COLOUR = 18.0
"""Step of L, a or b, of 255, over 1 cm at which one thing of a heap ends."""
UNKNOWN_SIDE = 0.5
"""m of table that the shorter side of a picture is taken to show where nobody tells."""
LEAST = 0.03
"""Likelihood of a thing where there is no piece, and of none where there is one."""


@dataclass(frozen=True)
class Pieces:
    """likely (H, W) float32: how likely a pixel shows a thing, 0 to 1. number (H, W) int32: of its piece, 0 for none.
    score (P,): of pieces 1 to P, how likely each is a thing."""

    likely: np.ndarray
    number: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Things:
    """places (N, 2) as (u, v) of the sent picture, in the middle of things, the likeliest first; angles (N,): of the closing
    axis there, rad; likely: of pieces of the picture that was looked at."""

    places: Tensor
    angles: Tensor
    likely: np.ndarray
    picture: RgbInput

    def logits_at(self, pixels: Tensor) -> Tensor:
        """(N,) of pixels (N, 2) of the sent picture: that a thing is seen there."""
        seen = np.rint(self.picture.to_picture(pixels.cpu().numpy())).astype(int)
        u, v = (seen[:, axis].clip(0, self.likely.shape[1 - axis] - 1) for axis in (0, 1))
        share = torch.from_numpy(self.likely[v, u].clip(LEAST, 1 - LEAST))
        return torch.logit(share).to(pixels.device)


@dataclass(frozen=True)
class _Look:
    """A request's picture at the scale that is looked at; centre (2,): (u, v) about which the table is taken to lie."""

    picture: RgbInput
    centre: np.ndarray

    @property
    def image(self) -> np.ndarray:
        return self.picture.image[: self.picture.size[0], : self.picture.size[1]]


def _look(observation: Observation, request: PlanRequest) -> _Look:
    rgb, camera, table_depth = observation.rgb, request.camera, request.table_depth
    assert rgb is not None
    metric = camera is not None and table_depth is not None
    side = round(PIXELS_PER_METRE * UNKNOWN_SIDE)
    picture = fit(rgb, factor_to(rgb.shape[:2], side, PIXELS_PER_METRE if metric else None, camera, table_depth))
    centre = [camera.cx, camera.cy] if camera is not None else [(rgb.shape[1] - 1) / 2, (rgb.shape[0] - 1) / 2]
    if request.region:
        u0, v0, u1, v1 = request.region
        centre = [(u0 + u1) / 2, (v0 + v1) / 2]
    return _Look(picture, picture.to_picture(np.array([centre]))[0])


def find_things(observation: Observation, request: PlanRequest) -> Things:
    """What in the colours is unlike the table; where a region frames the table, unlike what is about the region's middle.

    Where a mask says what things are, colours say nothing: no places, and no pixel likelier than another.
    """
    look = _look(observation, request)
    if observation.graspable is not None:
        return Things(torch.zeros(0, 2), torch.zeros(0), np.full(look.picture.size, 0.5, np.float32), look.picture)
    pitch = 1 / PIXELS_PER_METRE
    pieces = unlike_table(look.image, look.centre, pitch)
    places = proposed(pieces, look.image, pitch)
    angles = narrowest(pieces, places, pitch, request.gripper.max_width)
    sent = torch.from_numpy(look.picture.to_sent(places)).float()
    return Things(sent, torch.from_numpy(angles).float(), pieces.likely, look.picture)


def piece_at(observation: Observation, request: PlanRequest, pixel: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Mask (H, W) bool, in the sent picture, of the piece unlike the table at a pixel (u, v), and the share of it that
    one thing may have: 1, less for a heap, 0 where the pixel shows the table."""
    look = _look(observation, request)
    pitch = 1 / PIXELS_PER_METRE
    pieces = unlike_table(look.image, look.centre, pitch)
    u, v = np.rint(look.picture.to_picture(np.array([pixel]))[0]).astype(int)
    rows, columns = pieces.number.shape
    own = int(pieces.number[min(max(v, 0), rows - 1), min(max(u, 0), columns - 1)])
    mask = (pieces.number == own) & (own > 0)
    sent = cv2.resize(mask.astype(np.uint8), observation.size[::-1], interpolation=cv2.INTER_NEAREST) > 0
    return sent, float(min(1.0, AREAS[1] / max(mask.sum() * pitch**2, 1e-9))) if own else 0.0


def unlike_table(image: np.ndarray, centre: np.ndarray, pitch: float) -> Pieces:
    """image (H, W, 3) uint8 of `pitch` metres per pixel; centre (2,): (u, v) of the optical axis."""
    lab = cv2.cvtColor(cv2.medianBlur(np.ascontiguousarray(image), 3), cv2.COLOR_RGB2LAB).astype(np.float32)
    height, width = lab.shape[:2]
    v, u = np.mgrid[:height, :width].astype(np.float32)
    off = np.hypot(u - centre[0], v - centre[1]) * pitch
    near = np.exp(-0.5 * (off / AROUND) ** 2) + 0.03
    far = unlikeness(lab, near)
    return _pieces(far, off, pitch)


def _pieces(far: np.ndarray, off: np.ndarray, pitch: float) -> Pieces:
    """Pixels that differ, in pieces, each with how much it does, and whether its size and place are those of a thing."""
    height, width = far.shape
    radius = max(1, round(NARROW / pitch))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    may = cv2.morphologyEx((far > UNLIKE[0]).astype(np.uint8), cv2.MORPH_OPEN, disc)
    _, number, stats, _ = cv2.connectedComponentsWithStats(may, connectivity=4)
    if (large := stats[:, cv2.CC_STAT_AREA] * pitch**2 > AREAS[1])[1:].any():
        may = cv2.morphologyEx(may & (~large[number] | (far > UNLIKE[1])), cv2.MORPH_OPEN, disc)
    count, number, stats, _ = cv2.connectedComponentsWithStats(may, connectivity=4)
    label, pixels = number.ravel(), np.maximum(stats[:, cv2.CC_STAT_AREA], 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(label, values.ravel(), count) / pixels

    area = pixels * pitch**2
    low, high = stats[:, :2], stats[:, :2] + stats[:, 2:4]
    rim = max(1, FRAME / pitch)
    cut = (low < rim).any(1) | (high > np.array([width, height]) - rim).any(1)
    long, wide = _sides(number, count)
    score = np.clip(mean(np.minimum(far, 2 * SURE)) / SURE, 0, 1)
    score *= np.clip(area / AREAS[0], 0, 1) ** 2 * np.clip(AREAS[1] / area, 0, 1) ** HEAP
    score *= np.where(wide < long / 3, np.clip(LONGEST / pitch / np.maximum(long, 1), 0, 1) ** 3, 1)
    score *= np.where(cut, CUT, 1.0) * np.exp(-0.5 * (mean(off) / FARTHEST) ** 2)
    score[0] = 0
    # Less likely towards the rim of a piece: the picture is blurred, and jaws close on both sides of a grasp's middle.
    likely = cv2.GaussianBlur(score[number].astype(np.float32), (0, 0), RIM / pitch)
    return Pieces(likely, number.astype(np.int32), score[1:])


def _sides(number: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Length and width (count,), pixels, of ellipses that are spread as the pieces are."""
    v, u = np.indices(number.shape).reshape(2, -1).astype(float)
    label = number.ravel()
    pixels = np.maximum(np.bincount(label, minlength=count), 1)
    x, y, xx, yy, xy = (np.bincount(label, values, count) / pixels for values in (u, v, u * u, v * v, u * v))
    half, apart = (xx - x * x + yy - y * y) / 2, np.hypot((xx - x * x - yy + y * y) / 2, xy - x * y)
    return 4 * np.sqrt(half + apart), 4 * np.sqrt(np.maximum(half - apart, 0))


def proposed(pieces: Pieces, image: np.ndarray, pitch: float) -> np.ndarray:
    """(N, 2): places (u, v) in the middle of pieces, or of what has one colour in a large one, the likeliest piece first."""
    lab = cv2.cvtColor(cv2.medianBlur(np.ascontiguousarray(image), 3), cv2.COLOR_RGB2LAB)
    reach = 2 * max(1, round(0.005 / pitch)) + 1
    square = np.ones((reach, reach), np.uint8)
    edge = (cv2.dilate(lab, square).astype(np.int16) - cv2.erode(lab, square)).max(2) > ONE_COLOUR
    around = 2 * max(1, round(APART / pitch)) + 1
    places: list[np.ndarray] = []
    for piece in 1 + np.argsort(-pieces.score)[:PIECES]:
        whole = pieces.number == piece
        inner = [whole] if whole.sum() * pitch**2 < AREAS[1] / 2 else [whole & ~edge, whole]
        for part in inner:
            depth = cv2.distanceTransform(np.pad(part.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
            top = (depth > 0) & (depth >= cv2.dilate(depth, np.ones((around, around), np.uint8)))
            v, u = np.nonzero(top)
            best = np.argsort(-depth[v, u])[:PLACES]
            places.append(np.stack([u[best], v[best]], 1))
    return np.concatenate([np.zeros((0, 2), np.int64), *places])


def narrowest(pieces: Pieces, places: np.ndarray, pitch: float, longest: float) -> np.ndarray:
    """(N,): angle of the line across its piece at each of places (N, 2) that is shortest, rad from +u towards +v.

    longest: beyond so many metres to a side nobody looks."""
    height, width = pieces.number.shape
    angles = np.arange(ANGLES) * math.pi / ANGLES
    steps = np.arange(1, math.ceil(longest / pitch) + 1)
    sides = np.concatenate([steps, -steps]).reshape(2, -1)
    u = places[:, 0, None, None, None] + np.cos(angles)[:, None, None] * sides
    v = places[:, 1, None, None, None] + np.sin(angles)[:, None, None] * sides
    column, row = np.rint(u).astype(int), np.rint(v).astype(int)
    seen = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    own = pieces.number[places[:, 1], places[:, 0]][:, None, None, None]
    same = seen & (pieces.number[row.clip(0, height - 1), column.clip(0, width - 1)] == own)
    across = np.logical_and.accumulate(same, 3).sum((2, 3)).astype(float)
    smooth = 2 * across + np.roll(across, 1, 1) + np.roll(across, -1, 1)
    result: np.ndarray = angles[smooth.argmin(1)]
    return result
