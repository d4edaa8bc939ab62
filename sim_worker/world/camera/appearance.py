"""Colours, table texture and light of a scene: for planners that see RGB."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import CameraIntrinsics

PALE_TABLE = (0.80, 0.78, 0.74)
PALETTE = [colorsys.hsv_to_rgb(i * 0.381966 % 1, 0.65, 0.85) for i in range(12)]
"""Colours of objects that have none of their own: hues a golden angle apart."""


def draw_colour(varied: bool, index: int, random: np.random.Generator) -> tuple[float, float, float, float]:
    """RGBA of the scene's object `index`: from the palette, or any colour."""
    if not varied:
        return (*PALETTE[index % len(PALETTE)], 1.0)
    return (*colorsys.hsv_to_rgb(random.random(), random.uniform(0.0, 0.95), random.uniform(0.15, 0.95)), 1.0)


@dataclass(frozen=True)
class Appearance:
    """`waves` (n, 5): wave vector x, y (rad/m), phase, strength, and how much of it is colour rather than grey."""

    table: tuple[float, float, float]
    waves: np.ndarray
    light: np.ndarray
    brightness: float

    @staticmethod
    def draw(varied: bool, random: np.random.Generator) -> Appearance:
        if not varied:
            return Appearance(PALE_TABLE, np.zeros((0, 5)), np.array([0.3, 0.2, 1.0]), 1.0)
        table = colorsys.hsv_to_rgb(random.random(), random.uniform(0, 0.6), random.uniform(0.25, 0.95))
        count, grain = int(random.integers(0, 6)), random.uniform(-np.pi, np.pi)
        angle = grain + random.normal(0, 0.3, count)
        length = random.uniform(60, 900, count)
        waves = np.stack(
            [length * np.cos(angle), length * np.sin(angle), *random.uniform(0, 1, (3, count)) * [[6.3], [0.12], [1]]], axis=1
        )
        light = np.array([*random.uniform(-0.8, 0.8, 2), 1.0])
        return Appearance(table, waves, light, float(random.uniform(0.6, 1.15)))

    def paint(
        self, rgb: np.ndarray, bare: np.ndarray, depth: np.ndarray, camera: CameraIntrinsics, pose: np.ndarray
    ) -> np.ndarray:
        """The rendered colours (H, W, 3) with the table painted where it shows (`bare`, H x W bool)."""
        v, u = np.nonzero(bare & (depth > 0))
        z = depth[v, u].astype(float)
        points = np.stack([(u - camera.cx) * z / camera.fx, (v - camera.cy) * z / camera.fy, z], axis=1)
        xy = points @ pose[:2, :3].T + pose[:2, 3]
        colour = np.tile(np.asarray(self.table), (len(u), 1))
        for kx, ky, phase, strength, hue in self.waves:
            wave = strength * np.sin(xy[:, 0] * kx + xy[:, 1] * ky + phase)
            colour += wave[:, None] * np.array([1.0, 1.0 - hue, 1.0 - 0.5 * hue])
        image = rgb.astype(np.float32)
        image[bare] = 0
        image[v, u] = colour * 255
        result: np.ndarray = np.clip(image * self.brightness, 0, 255).astype(np.uint8)
        return result
