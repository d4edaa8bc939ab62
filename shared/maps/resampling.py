"""A depth image before it becomes a map: as many pixels as the map's cells ask for, edges sharp, lone holes closed."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from grasp_client.contract import CameraIntrinsics

RESOLUTION = 0.002
"""Side of a cell for a jaw that opens as wide as that of the Panda, m."""
FINEST = 0.0002
COARSEST = 0.004
LEAST_PIXELS = 0.5
"""A cell is at least so many pixels wide: finer ones would tell nothing more."""
MOST_CELLS = 1200
"""Cells of a small hand along the longer side of the picture."""
JUMP = 0.008
"""Neighbouring readings that differ by more lie on two surfaces, m."""
JUMP_NOISE = 0.02
"""The same by noise, which grows with the square of the distance, 1/m: four deviations of an active stereo camera's."""
STEP_GROWTH = 1.6
"""A step of a smeared edge grows less from a window of three pixels to one of five: that of a steep side doubles."""
BETWEEN = 0.15
"""What lies this share of a step from both of its surfaces is smeared."""
COMPANY = 5
"""A hole of one pixel with so many readings around it is filled by their median."""
MAX_POINTS = 4_000_000
"""An image is interpolated to at most this many points: a wide lens on a large sensor must not take gigabytes."""


@dataclass(frozen=True)
class Readings:
    """A depth image with as many pixels as a map's cells ask for: depth (H, W), m; their columns u (W,) and rows v (H,) in the
    image that was sent; side of the cells, m."""

    depth: np.ndarray
    u: np.ndarray
    v: np.ndarray
    resolution: float


def readings_of(depth: np.ndarray, camera: CameraIntrinsics, scale: float = 1.0, resolution: float | None = None) -> Readings:
    """What of a depth image (H, W), m, goes into maps for a hand of this scale. Raises ValueError when that is nothing."""
    distance = _typical_distance(depth)
    pitch = distance / min(camera.fx, camera.fy)
    cell = _cell_size(scale, pitch, max(depth.shape)) if resolution is None else resolution
    read = Readings(*_resample(depth, distance, pitch, cell), cell)
    if not (read.depth > 0).any():
        raise ValueError(
            f"at the focal length {camera.fx:g} x {camera.fy:g} the image shows only a few millimetres: `camera` must be in "
            "pixels of the sent image"
        )
    return read


def _cell_size(scale: float, pitch: float, side: int) -> float:
    """Side of a cell for a hand of this scale, m, in a picture of so many pixels with this distance between them, m."""
    least = max(FINEST, LEAST_PIXELS * pitch, pitch * side / MOST_CELLS if scale < 1 else 0.0)
    return min(max(RESOLUTION * min(scale, 1.0), least), COARSEST)


def _typical_distance(depth: np.ndarray) -> float:
    """Median of the readings, m. Raises ValueError without one."""
    rows, columns = depth.shape
    coarse = depth[:: max(1, rows // 64), :: max(1, columns // 64)]
    if not (coarse > 0).any():
        coarse = depth
    if not (coarse > 0).any():
        raise ValueError("the depth image has no reading: every pixel is 0")
    return float(np.median(coarse[coarse > 0]))


def _resample(depth: np.ndarray, distance: float, pitch: float, resolution: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image with 1.3 to 3 pixels to a cell, so that cells neither stay empty nor cost for nothing, and its u and v axes.

    Between readings of one surface it is interpolated, at a jump in depth the nearest reading is taken. distance: of what is
    seen, pitch: between its pixels, m.
    """
    depth = np.ascontiguousarray(depth, dtype=np.float32)
    rows, columns = depth.shape
    skip = max(1, int(0.7 * resolution / pitch))
    half = skip // 2
    depth = depth[half::skip, half::skip]
    if depth.size:  # of a focal length in another unit nothing is left, which the caller explains
        depth = _sharpened(depth, max(JUMP, 4 * skip * pitch, JUMP_NOISE * distance**2))
    if skip > 1:
        return depth, np.arange(half, columns, skip), np.arange(half, rows, skip)
    factor = max(1, min(8, math.ceil(pitch / (0.75 * resolution)), math.isqrt(MAX_POINTS // (rows * columns))))
    u = (np.arange(columns * factor) + 0.5) / factor - 0.5
    v = (np.arange(rows * factor) + 0.5) / factor - 0.5
    if factor == 1:
        return depth, u, v
    kernel = np.ones((3, 3), np.uint8)
    smooth = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) < max(0.005, 4 * pitch)
    size = (columns * factor, rows * factor)
    nearest = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
    linear = cv2.resize(depth, size, interpolation=cv2.INTER_LINEAR)
    return np.where(cv2.resize(smooth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0, linear, nearest), u, v


def _sharpened(depth: np.ndarray, jump: float) -> np.ndarray:
    """A depth image (H, W), m, without readings between two surfaces that are more than `jump` m apart, and without lone holes.

    Lenses and matching windows smear an edge over its neighbours, which makes things wider than they are. A smeared reading is
    given to the nearer of the two surfaces: morphological toggle contrast (Kramer and Bruckner 1975).
    """
    kernel = np.ones((3, 3), np.uint8)
    holes = depth == 0
    holed = bool(holes.any())
    farthest = cv2.dilate(depth, kernel)
    nearest = cv2.erode(np.where(holes, np.float32(np.inf), depth) if holed else depth, kernel)
    sharp = depth.copy()
    edge = np.flatnonzero((farthest - nearest > jump) & ~holes)
    if len(edge):
        # Over a wider window a step stays as it is, and a steep side grows with the window.
        here, far, near = (layer.ravel().take(edge) for layer in (depth, farthest, nearest))
        wider = cv2.dilate(farthest, kernel).ravel().take(edge) - cv2.erode(nearest, kernel).ravel().take(edge)
        step = far - near
        smeared = (wider < STEP_GROWTH * step) & (np.minimum(far - here, here - near) > BETWEEN * step)
        sharp.ravel()[edge[smeared]] = np.where(2 * here > far + near, far, near)[smeared]
    if holed:
        company = cv2.boxFilter(1 - holes.view(np.uint8), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        lone = np.flatnonzero(holes & (company >= COMPANY))
        around = np.pad(sharp, 1)
        width = around.shape[1]
        first = lone + lone // depth.shape[1] * 2  # in the padded image, where the window begins
        beside = np.stack([around.take(first + (i * width + j)) for i in range(3) for j in range(3)])
        # Of nine, sorted, the holes come first: the median of the others lies in their middle.
        count = np.count_nonzero(beside, axis=0)
        beside = np.sort(beside.T, axis=1).ravel()
        lower, upper = 9 - count + (count - 1) // 2, 9 - count + count // 2
        place = 9 * np.arange(len(lone))
        sharp.ravel()[lone] = 0.5 * (beside.take(place + lower) + beside.take(place + upper))
    return sharp
