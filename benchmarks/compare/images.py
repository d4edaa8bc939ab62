"""Depth and colour images of made-up tables, drawn from seeds by numpy alone: no simulator, the same on every machine.

A scene is cut into level slices 2 mm apart. Every pixel's ray meets a slice in one point; where that lies inside an object's
outline the pixel shows the object, and the highest slice that a ray meets is what the camera sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

STEP = 0.002
TABLE_GREY = 110
CAMERA_HEIGHT = 0.7

Colour = tuple[int, int, int]
RED: Colour = (190, 60, 50)
BLUE: Colour = (50, 120, 190)
GREEN: Colour = (60, 160, 70)
YELLOW: Colour = (200, 180, 40)

Outline = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""(x, y, height), m, to whether the point belongs to the object."""


@dataclass(frozen=True)
class Thing:
    outline: Outline
    height: float
    colour: Colour


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the middle of the table from 0.7 m; tilt: rad from straight down, about its u axis."""

    height: int = 240
    width: int = 320
    focal: float = 300.0
    tilt: float = 0.0

    def intrinsics(self) -> dict[str, float]:
        return {"fx": self.focal, "fy": self.focal, "cx": (self.width - 1) / 2, "cy": (self.height - 1) / 2}

    def pose(self) -> np.ndarray:
        """4x4, camera (x right, y down, z forward) to base (z up, its origin in the middle of the table)."""
        sine, cosine = np.sin(self.tilt), np.cos(self.tilt)
        pose = np.eye(4)
        pose[:3, 0] = 1, 0, 0
        pose[:3, 1] = 0, -cosine, -sine
        pose[:3, 2] = 0, sine, -cosine
        pose[:3, 3] = -CAMERA_HEIGHT * pose[:3, 2]
        return pose

    def rays(self) -> np.ndarray:
        """(H, W, 3) directions in the base frame, of length 1 along the optical axis."""
        of = self.intrinsics()
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        inward = np.stack([(u - of["cx"]) / of["fx"], (v - of["cy"]) / of["fy"], np.ones(u.shape)], axis=-1)
        rays: np.ndarray = inward @ self.pose()[:3, :3].T
        return rays


def draw(things: Sequence[Thing], camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth (H, W) float32 m, colour (H, W, 3) uint8 and the things' numbers from 1, 0 for the table (H, W) uint8."""
    rays, eye = camera.rays(), camera.pose()[:3, 3]
    depth = -eye[2] / rays[..., 2]
    shows = np.zeros(depth.shape, np.uint8)
    for number, thing in enumerate(things, start=1):
        for height in np.arange(STEP, thing.height + STEP / 2, STEP):
            along = (height - eye[2]) / rays[..., 2]
            x, y = eye[0] + along * rays[..., 0], eye[1] + along * rays[..., 1]
            seen = thing.outline(x, y, float(height)) & (along < depth)
            depth[seen], shows[seen] = along[seen], number
    colours = np.array([(TABLE_GREY,) * 3, *(thing.colour for thing in things)])
    # The nearer the lighter, so that edges within one thing show in the colours too.
    light = 0.6 + 0.4 * (depth.max() - depth) / max(float(np.ptp(depth)), 1e-9)
    return depth.astype(np.float32), (colours[shows] * light[..., None]).astype(np.uint8), shows


def box(x: float, y: float, length: float, width: float, height: float, angle: float = 0.0, colour: Colour = RED) -> Thing:
    """Lengths in m; angle of its long side from the base frame's x, rad."""
    sine, cosine = np.sin(angle), np.cos(angle)

    def outline(px: np.ndarray, py: np.ndarray, _: float) -> np.ndarray:
        dx, dy = px - x, py - y
        inside: np.ndarray = (np.abs(cosine * dx + sine * dy) <= length / 2) & (np.abs(cosine * dy - sine * dx) <= width / 2)
        return inside

    return Thing(outline, height, colour)


def cylinder(x: float, y: float, radius: float, height: float, colour: Colour = BLUE) -> Thing:
    """Standing upright."""
    return Thing(lambda px, py, _: np.hypot(px - x, py - y) <= radius, height, colour)


def ball(x: float, y: float, radius: float, colour: Colour = GREEN) -> Thing:
    def outline(px: np.ndarray, py: np.ndarray, height: float) -> np.ndarray:
        return (px - x) ** 2 + (py - y) ** 2 + (height - radius) ** 2 <= radius**2

    return Thing(outline, 2 * radius, colour)


def few() -> list[Thing]:
    """A bar, a cylinder, a ball and a flat plate, well apart."""
    return [
        box(-0.07, 0.04, 0.12, 0.035, 0.04, 0.5),
        cylinder(0.08, 0.05, 0.025, 0.07),
        ball(0.02, -0.07, 0.03),
        box(-0.10, -0.07, 0.07, 0.05, 0.012, -0.3, YELLOW),
    ]


def clutter(seed: int, count: int = 9) -> list[Thing]:
    """Boxes, cylinders and balls thrown into a square of 24 cm; they touch and overlap."""
    rng = np.random.default_rng(seed)
    things = []
    for _ in range(count):
        x, y = rng.uniform(-0.12, 0.12, 2)
        size, height, angle = rng.uniform(0.02, 0.06), rng.uniform(0.02, 0.07), rng.uniform(0, np.pi)
        red, green, blue = rng.integers(30, 230, 3).tolist()
        colour = (red, green, blue)
        kind = rng.integers(3)
        if kind == 0:
            things.append(box(x, y, 2 * size, size, height, angle, colour))
        elif kind == 1:
            things.append(cylinder(x, y, size / 2, height, colour))
        else:
            things.append(ball(x, y, size / 2, colour))
    return things


def slab() -> list[Thing]:
    """A plate of 4 mm and one thing beside it: what only a cup can lift, at the edge of what is seen."""
    return [box(-0.05, 0.0, 0.09, 0.06, 0.004, 0.2), cylinder(0.09, 0.02, 0.02, 0.05)]


def noisy(depth: np.ndarray, seed: int, deviation: float = 0.001) -> np.ndarray:
    """With a sensor's errors, m."""
    return (depth + np.random.default_rng(seed).normal(0, deviation, depth.shape)).astype(np.float32)


def holed(depth: np.ndarray, seed: int, patches: int = 25, share: float = 0.03) -> np.ndarray:
    """With patches of 4 to 16 pixels and single pixels that have no reading: zeros, NaN and inf in turn."""
    rng = np.random.default_rng(seed)
    depth = depth.copy()
    height, width = depth.shape
    for number in range(patches):
        side = int(rng.integers(4, 17))
        v, u = int(rng.integers(height - side)), int(rng.integers(width - side))
        depth[v : v + side, u : u + side] = (0.0, np.nan, np.inf)[number % 3]
    depth[rng.random(depth.shape) < share] = 0.0
    return depth


def millimetres(depth: np.ndarray) -> np.ndarray:
    """uint16; what has no reading becomes 0."""
    return np.where(np.isfinite(depth), np.round(np.nan_to_num(depth, posinf=0.0) * 1000), 0).astype("<u2")
