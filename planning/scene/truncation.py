"""What reaches out of view: robot arms, bin walls, half-seen objects. They are kept apart from the things on the table."""

import cv2
import numpy as np

from grasp_client.contract import CameraIntrinsics
from planning.limits import NOISE_DEVIATIONS
from shared.maps.heightmap import MAX_HEIGHT, HeightMap

COARSE = 2
"""Cells along a side of the blocks on which structures are followed."""
LOWEST = 0.010
"""Lowest level over the table at which structures are followed, m."""
LOW = (0.004, 0.0065)
"""Lower levels for cups, which stand on what is too low for fingers, m."""
STEP = 0.012
"""Distance of the levels, m."""
JOINED = np.ones((3, 3), np.uint8)
"""Pieces are joined over gaps of two blocks: depth sensors break thin connections."""
NEAR_UNOBSERVED = 3
"""A block this near to unobserved cells lies on the edge of view, in blocks."""
Frame = tuple[int, int, int, int]
"""First column and row, last column and row of a part of an image."""
READ = 0.1
"""A column or a row has readings where it has more than this share of those of the fullest one."""
NEAR_FRAME = 0.015
"""A block seen this near to the frame of the image lies on the edge of view, as a share of the image's width."""


def truncation_height(scene: HeightMap, camera: CameraIntrinsics, depth: np.ndarray | None, cup: bool = False) -> np.ndarray:
    """Greatest level over the table at which the structure that rises there reaches the edge of view, (H, W) float32 m.

    Cut the scene at the height of the fingertips: what a jaw holds is the connected piece around it. When that piece reaches
    the edge of view it is not wholly seen, and the level here is above the fingertips. 0 where nothing leaves.
    depth: the image (rows, columns), m; None for a map of several, whose own edge tells. cup: comes from where is seen, so
    that holes of the image round what it lifts hide nothing; its edge of view is that of the readings, above their noise.
    """
    rows, columns = scene.height.shape
    above = (scene.upper_bound - scene.table_map)[::COARSE, ::COARSE]
    frame = None if depth is None else _read(depth) if cup else (0, 0, depth.shape[1] - 1, depth.shape[0] - 1)
    edge = _edge(scene, camera, frame, holes=not cup)
    level = np.zeros(above.shape, np.float32)
    highest = min(MAX_HEIGHT, float(above[edge].max(initial=0.0)))  # what stands higher must not cost a level per STEP
    noise = NOISE_DEVIATIONS * scene.table_noise
    low = [each for each in LOW if each >= noise] if cup else []
    for height in [*low, *np.arange(max(LOWEST, noise) if cup else LOWEST, highest, STEP)]:
        solid = cv2.dilate((above > height).astype(np.uint8), JOINED)
        _, piece = cv2.connectedComponents(solid, connectivity=4)
        out = np.zeros(piece.max() + 1, bool)
        out[piece[edge]] = True
        out[0] = False
        level[out[piece]] = height
    return np.repeat(np.repeat(level, COARSE, 0), COARSE, 1)[:rows, :columns]


def _read(depth: np.ndarray) -> Frame:
    """The part of an image (H, W), m, that has readings: cameras have none in a band along a side."""
    read = depth > 0
    u, v = (np.flatnonzero(count > READ * count.max(initial=0)) for count in (read.sum(0), read.sum(1)))
    return (int(u[0]), int(v[0]), int(u[-1]), int(v[-1])) if len(u) and len(v) else (0, 0, 0, 0)


def _edge(scene: HeightMap, camera: CameraIntrinsics, frame: Frame | None, holes: bool) -> np.ndarray:
    """Blocks with a reading (h, w) bool that lie at the frame of the image or, with holes, beside unobserved cells."""
    unobserved = scene.unobserved[::COARSE, ::COARSE].astype(np.uint8) * np.uint8(holes)
    beside = cv2.dilate(unobserved, np.ones((2 * NEAR_UNOBSERVED + 1,) * 2, np.uint8)) > 0
    rows, columns = scene.height.shape
    x = scene.corner[0] + scene.resolution * np.arange(0, columns, COARSE, dtype=np.float32)
    y = scene.corner[1] + scene.resolution * np.arange(0, rows, COARSE, dtype=np.float32)
    height = scene.upper_bound[::COARSE, ::COARSE]
    px, py, pz = (
        np.float32(axis[0]) * x[None, :] + np.float32(axis[1]) * y[:, None] - np.float32(axis[2]) * height + np.float32(axis[3])
        for axis in scene.pose[:3]
    )
    pz = np.maximum(pz, 1e-4)
    u, v = camera.fx * px / pz + camera.cx, camera.fy * py / pz + camera.cy
    framed = np.zeros(u.shape, bool)
    if frame is not None:
        left, top, right, bottom = frame
        margin = NEAR_FRAME * (right - left + 1)
        framed = (u < left + margin) | (u > right - margin) | (v < top + margin) | (v > bottom - margin)
    at_border = np.zeros_like(framed)
    at_border[0] = at_border[-1] = at_border[:, 0] = at_border[:, -1] = True
    return np.asarray(scene.known[::COARSE, ::COARSE] & (beside | framed | at_border))
