"""Where wide open jaws fit over what a depth image shows: dense first answers that a colour network learns before outcomes."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from grasp_client.contract import CameraIntrinsics, Gripper
from shared.maps.heightmap import HeightMap, project

RESOLUTION = 0.003
MARGIN = 0.002
"""Fingers and palm stay this far above what lies under them, m."""
HELD = (0.005, 0.012)
"""Between the fingers something rises at least this far above their tips, m: half of their height over the table within these
bounds, for what only reaches between high tips is held better by lower ones."""
AROUND = 27
"""Cells and angles whose answers are counted together: three by three by three."""
TABLE = 0.004
"""What rises less than this over the table is its noise, m: tips near the table would fit nowhere."""
PAD = 0.008
"""Width of the strip between the fingers in which it must, m."""


def fits(
    depth: np.ndarray,
    camera: CameraIntrinsics,
    camera_pose: np.ndarray,
    gripper: Gripper,
    angles: Sequence[float],
    heights: Sequence[float],
    pixels: np.ndarray,
) -> np.ndarray:
    """(T R, h, w) uint8: in how many of AROUND neighbouring cells and angles a jaw that goes straight down, wide open, touches
    nothing on its way and has something between its fingers; for T heights of the tips over the table, R image angles of the
    closing axis, evenly spaced, seen at pixels (h, w, 2).

    depth (H, W), m. Counting neighbours prefers the middle of where a hand fits. Whether it can hold, outcomes tell.
    """
    map = project(depth, camera, camera_pose, resolution=RESOLUTION)
    above = map.height - map.table_map
    above[above < TABLE] = 0
    ground = np.array([_cells(map, camera, pixels, height) for height in heights])
    found = np.zeros((len(heights), len(angles), *pixels.shape[:2]), bool)
    for turn, angle in enumerate(angles):
        axis = np.array([math.cos(angle) / camera.fx, math.sin(angle) / camera.fy, 0.0]) @ map.pose[:3, :3]
        turned, matrix = _turned(above, math.atan2(axis[1], axis[0]))
        under, between = _swept(turned, gripper, map.resolution)
        for level, height in enumerate(heights):
            free = [greatest < height + start - MARGIN for start, greatest in under]
            held = between > height + min(max(height / 2, HELD[0]), HELD[1])
            fit = (np.logical_and.reduce(free) & held).astype(np.uint8)
            where = (ground[level] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
            found[level, turn] = cv2.remap(fit, where[..., 0], where[..., 1], cv2.INTER_NEAREST) > 0
    return _counted(found).reshape(-1, *pixels.shape[:2])


def _counted(found: np.ndarray) -> np.ndarray:
    """(T, R, h, w) uint8 of bool: how many of the neighbours along rows, columns and angles are true."""
    turns = np.sum([np.roll(found, step, 1) for step in (-1, 0, 1)], axis=0, dtype=np.uint8)
    rows = np.pad(turns, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    high, wide = found.shape[2:]
    shifted = [rows[:, :, i : i + high, j : j + wide] for i in range(3) for j in range(3)]
    result: np.ndarray = np.add.reduce(shifted, axis=0, dtype=np.uint8)
    return result


def _cells(map: HeightMap, camera: CameraIntrinsics, pixels: np.ndarray, height: float) -> np.ndarray:
    """(h, w, 2): column and row of the map under what is seen at pixels, `height` m over the table."""
    ones = np.ones(pixels.shape[:2])
    seen = [(pixels[..., 0] - camera.cx) / camera.fx, (pixels[..., 1] - camera.cy) / camera.fy, ones]
    rays = np.stack(seen, -1) @ map.pose[:3, :3]
    eye = -map.pose[:3, :3].T @ map.pose[:3, 3]
    points = eye + rays * ((-height - eye[2]) / rays[..., 2])[..., None]
    result: np.ndarray = (points[..., :2] - map.corner) / map.resolution
    return result


def _turned(heights: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The map with `angle` turned to lie along the columns, and the matrix (2, 3) that brings (column, row) there."""
    rows, columns = heights.shape
    side = math.ceil(math.hypot(rows, columns))
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), math.degrees(angle), 1.0)
    matrix[:, 2] += (side - columns) / 2, (side - rows) / 2
    return cv2.warpAffine(heights, matrix, (side, side), flags=cv2.INTER_NEAREST), matrix


def _swept(heights: np.ndarray, gripper: Gripper, resolution: float) -> tuple[list[tuple[float, np.ndarray]], np.ndarray]:
    """Of a hand in the middle of each cell: how far above the tips its parts begin (m) and the greatest height under each
    (fingertips, whole fingers, palm), and the greatest between the fingers."""

    def greatest(along: float, across: float) -> np.ndarray:
        size = max(1, round(along / resolution)), max(1, round(across / resolution))
        return cv2.dilate(heights, np.ones(size[::-1], np.uint8))

    def fingers(thickness: float) -> np.ndarray:
        aside = round((gripper.max_width + thickness) / 2 / resolution)
        one = greatest(thickness, gripper.finger_width)
        padded = cv2.copyMakeBorder(one, 0, 0, aside, aside, cv2.BORDER_CONSTANT, value=0)
        return np.maximum(padded[:, : -2 * aside], padded[:, 2 * aside :])

    thickness, pad_depth = gripper.pad
    under = [
        (0.0, fingers(thickness)),
        (pad_depth, fingers(gripper.finger_thickness)),
        (gripper.finger_depth, greatest(gripper.palm_width, gripper.palm_thickness)),
    ]
    return under, greatest(gripper.max_width - 0.004, PAD)
