"""Pictures that look less like renders: patterned tables and things, shadows, lights, and what a colour camera does to them.

All of it is painted over a rendered picture, from depth: shapes, and so labels, stay as they are. What flat prints, the table's
edge and the arm show is not to be grasped.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from grasp_client.contract import CameraIntrinsics
from sim_worker.world.simulation.spec import Looks

GRID = 0.003
"""m: cells in which shadows are found."""
FARTHEST = 1.0
"""m from the base: beyond it no shadow is looked for."""
SOLID = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Heights under each seen point that cast a shadow, as shares of its own."""
CLEAR = 0.004
"""m over the table: what is lower casts no shadow."""
SHARES = {"prints": 0.35, "edge": 0.3, "arm": 0.25, "second light": 0.4, "patterned thing": 0.6}
"""Of scenes, and of things, that have one."""
TEXTURED = 0.5
"""Share of scenes whose patterns may be those of pictures, where there are any."""
PICTURES = 4
"""So many of them beside the other patterns."""
NOISE_CELLS = 64
THINGS = 8
"""Patterns of things, which take them in turn."""
Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of coordinates (N,) each, in periods of the pattern: where it is the second of two colours, (N,) from 0 to 1."""


def _wave(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 0.5 + 0.5 * np.sin(2 * math.pi * x)
    return result


def _clouds(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth noise, octaves of a lattice of fixed values."""
    lattice = np.random.default_rng(7).random((NOISE_CELLS, NOISE_CELLS)).astype(np.float32)
    value, weight = np.zeros(len(x), np.float32), 0.0
    for octave in range(3):
        u, v = ((2**octave * each) % NOISE_CELLS for each in (x, y))
        column, row = np.floor(u).astype(int), np.floor(v).astype(int)
        across, down = u - column, v - row
        corner = [lattice[(row + i) % NOISE_CELLS, (column + j) % NOISE_CELLS] for i in (0, 1) for j in (0, 1)]
        upper, lower = (corner[i] + across * (corner[i + 1] - corner[i]) for i in (0, 2))
        value += 0.5**octave * (upper + down * (lower - upper))
        weight += 0.5**octave
    return value / weight


PATTERNS: dict[str, Pattern] = {
    "clouds": _clouds,
    "grain": lambda x, y: _wave(0.7 * x + 1.5 * _clouds(0.3 * x, 0.04 * y)),
    "stripes": lambda x, y: (x % 1 < 0.5).astype(np.float32),
    "checks": lambda x, y: ((np.floor(x) + np.floor(y)) % 2).astype(np.float32),
    "speckle": lambda x, y: (_clouds(4 * x, 4 * y) > 0.6).astype(np.float32),
}
HELD_OUT: dict[str, Pattern] = {
    "veins": lambda x, y: np.clip(1 - 9 * np.abs(_clouds(0.5 * x, 0.5 * y) - 0.5), 0, 1),
    "weave": lambda x, y: np.where((np.floor(2 * x) + np.floor(2 * y)) % 2 > 0, _wave(4 * x), _wave(4 * y)),
    "bricks": lambda x, y: np.maximum((x + 0.5 * (np.floor(y) % 2)) % 1 < 0.06, y % 1 < 0.1).astype(np.float32),
    "rings": lambda x, y: _wave(np.hypot(x % 3 - 1.5, y % 3 - 1.5) + 0.5 * _clouds(x, y)),
}
"""Kept for judging: nothing is learned from them."""


@dataclass(frozen=True)
class Surface:
    """Two colours (3,) each, 0 to 1, in a pattern of a period, m, turned by an angle, rad."""

    pattern: Pattern
    first: np.ndarray
    second: np.ndarray
    period: float
    angle: float

    @staticmethod
    def draw(patterns: dict[str, Pattern], random: np.random.Generator) -> Surface:
        hue, saturation, value = random.random(), random.uniform(0, 0.6), random.uniform(0.15, 0.95)
        other = (hue + random.normal(0, 0.04)) % 1, np.clip(saturation + random.normal(0, 0.12), 0, 1)
        first = np.array(colorsys.hsv_to_rgb(hue, saturation, value))
        second = np.array(colorsys.hsv_to_rgb(*other, float(np.clip(value + random.normal(0, 0.14), 0.05, 1))))
        name = str(random.choice(list(patterns)))
        period = math.exp(random.uniform(math.log(0.006), math.log(0.08)))
        return Surface(patterns[name], first, second, period, random.uniform(-math.pi, math.pi))

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Colours (N, 3) at places (N,), m."""
        turned = (x * math.cos(self.angle) + y * math.sin(self.angle)) / self.period
        share = np.clip(self.pattern(turned, (y * math.cos(self.angle) - x * math.sin(self.angle)) / self.period), 0, 1)
        result: np.ndarray = self.first + share[:, None] * (self.second - self.first)
        return result


@dataclass(frozen=True)
class Photographic:
    """How one scene looks, drawn by its seed. prints (P, 5): as `_prints`.

    lights (L, 4): direction towards each and how much its shadow takes away."""

    table: Surface
    floor: Surface
    things: tuple[Surface | None, ...]
    edge: tuple[float, float] | None
    prints: np.ndarray
    paper: Surface
    lights: np.ndarray
    slope: np.ndarray
    tint: np.ndarray
    arm: tuple[float, float] | None

    @staticmethod
    def draw(looks: Looks, random: np.random.Generator, textures: Sequence[Pattern] = ()) -> Photographic | None:
        """None for plain looks. textures: patterns of pictures, for `photographic` looks."""
        if looks == "plain":
            return None
        held_out = looks == "held-out"
        patterns = HELD_OUT if held_out else PATTERNS
        if textures and not held_out and random.random() < TEXTURED:
            drawn_pictures = random.choice(len(textures), min(PICTURES, len(textures)), replace=False)
            patterns = {**patterns, **{f"picture {each}": textures[each] for each in drawn_pictures}}
        lights = 2 if random.random() < SHARES["second light"] else 1
        side = random.uniform(-math.pi, math.pi, lights)
        lean = np.tan(random.uniform(0.6, 1.0, lights) if held_out else random.uniform(0.0, 0.75, lights))
        papers = int(random.integers(1, 4)) if random.random() < SHARES["prints"] else 0
        drawn = {name: random.random() < share for name, share in SHARES.items()}
        return Photographic(
            Surface.draw(patterns, random),
            Surface.draw(patterns, random),
            tuple(
                Surface.draw(patterns, random) if random.random() < SHARES["patterned thing"] else None for _ in range(THINGS)
            ),
            (float(random.uniform(-math.pi, math.pi)), float(random.uniform(0.19, 0.26))) if drawn["edge"] else None,
            _prints(papers, random),
            Surface.draw(patterns, random),
            np.stack([lean * np.cos(side), lean * np.sin(side), np.ones(lights), random.uniform(0.1, 0.6, lights)], 1),
            random.normal(0, 0.8, 2),
            np.clip(random.normal(1, 0.08, 3), 0.75, 1.25),
            (float(random.uniform(0, 1)), float(random.uniform(0.08, 0.2))) if drawn["arm"] else None,
        )

    def with_print_at(self, middle: np.ndarray, random: np.random.Generator) -> Photographic:
        """The same, with one more flat print, about `middle` (2,), m."""
        one = _prints(1, random)
        one[0, :2] = middle
        return replace(self, prints=np.concatenate([self.prints, one]))

    def paint(
        self, rgb: np.ndarray, bodies: np.ndarray, bare: np.ndarray, depth: np.ndarray, camera: CameraIntrinsics,
        pose: np.ndarray, random: np.random.Generator,
    ) -> np.ndarray:  # fmt: skip
        """The picture (H, W, 3) uint8 of rendered colours. bodies (H, W): which thing each pixel shows; bare (H, W): the table;
        depth (H, W), m, exact; pose (4, 4), camera to base. random: of what the camera does to this one picture."""
        v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
        rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(depth.shape)], -1)
        points = (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
        image = rgb.astype(np.float32) / 255
        table = bare & (depth > 0)
        image[bare] = 0.1
        image[table] = self._flat(points[table])
        for body in np.unique(bodies[~bare]):
            surface, shows = self.things[int(body) % len(self.things)], (bodies == body) & ~bare
            if surface:
                x, y, z = points[shows].T
                image[shows] *= 0.4 + 0.9 * surface.at(x + 0.6 * z, y - 0.6 * z)
        image[table] *= self._lit(points, table, ~bare & (depth > 0))[table][:, None]
        place = points[..., :2] @ self.slope
        image *= np.clip(1 + place, 0.5, 1.5)[..., None] * self.tint
        if self.arm:
            image = self._with_arm(image, bare)
        return _photographed(image, random)

    def _flat(self, points: np.ndarray) -> np.ndarray:
        """Colours (N, 3) of the table, its prints, and the floor beyond its edge."""
        x, y = points[:, 0], points[:, 1]
        colours = self.table.at(x, y)
        for middle_x, middle_y, half, other, angle in self.prints:
            along = (x - middle_x) * math.cos(angle) + (y - middle_y) * math.sin(angle)
            across = (y - middle_y) * math.cos(angle) - (x - middle_x) * math.sin(angle)
            on = (np.abs(along) < half) & (np.abs(across) < other)
            colours[on] = 0.5 + 0.5 * self.paper.at(x[on], y[on])
        if self.edge:
            beyond = x * math.cos(self.edge[0]) + y * math.sin(self.edge[0]) > self.edge[1]
            colours[beyond] = 0.6 * self.floor.at(x[beyond], y[beyond])
        return colours

    def _lit(self, points: np.ndarray, table: np.ndarray, things: np.ndarray) -> np.ndarray:
        """Share (H, W) of the light that each pixel of the table has, with the shadows of what is seen."""
        light = np.ones(table.shape, np.float32)
        high = points[things & (points[..., 2] > CLEAR)]
        if not len(high) or not table.any():
            return light
        corner = np.maximum(points[table][:, :2].min(0), -FARTHEST)
        columns, rows = np.ceil((np.minimum(points[table][:, :2].max(0), FARTHEST) - corner) / GRID).astype(int) + 1
        cells = ((points[..., :2] - corner) / GRID).astype(np.float32)
        for *towards, _, strength in self.lights:
            # What is under a seen point is taken for solid, so that shadows begin where things stand.
            fallen = np.concatenate([high[:, :2] - part * high[:, 2:] * np.array(towards) for part in SOLID])
            column, row = np.floor((fallen - corner) / GRID).astype(int).T
            inside = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
            shadow = np.zeros((rows, columns), np.float32)
            shadow[row[inside], column[inside]] = 1
            shadow = cv2.GaussianBlur(cv2.morphologyEx(shadow, cv2.MORPH_CLOSE, np.ones((5, 5))), (0, 0), 1.5)
            light *= 1 - strength * cv2.remap(shadow, cells[..., 0], cells[..., 1], cv2.INTER_LINEAR)
        return light

    def _with_arm(self, image: np.ndarray, bare: np.ndarray) -> np.ndarray:
        """A grey part of a robot that reaches in from the rim, over the table alone."""
        assert self.arm is not None
        height, width = image.shape[:2]
        turn, size = 2 * math.pi * self.arm[0], self.arm[1] * min(height, width)
        middle = (width / 2 + 0.55 * width * math.cos(turn), height / 2 + 0.55 * height * math.sin(turn))
        v, u = np.mgrid[:height, :width]
        far = np.hypot(u - middle[0], v - middle[1]) / size
        shown = (far < 1) & bare
        image[shown] = 0.85 - 0.5 * (far[shown, None] > 0.6) - 0.3 * far[shown, None] ** 2
        return image


def _prints(count: int, random: np.random.Generator) -> np.ndarray:
    """(count, 5): middle (x, y), half sides, m, and angle, rad, of flat prints on the table."""
    sides = *random.uniform(-0.2, 0.2, (2, count)), *random.uniform(0.01, 0.06, (2, count))
    return np.stack([*sides, random.uniform(0, math.pi, count)], 1)


def _photographed(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colours (H, W, 3), 0 to 1 and over, as a camera stores them: blur, white balance, exposure, noise, JPEG."""
    height, width = image.shape[:2]
    image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.2, 1.0))
    v, u = np.mgrid[:height, :width]
    dim = 1 - random.uniform(0, 0.35) * ((u / width - 0.5) ** 2 + (v / height - 0.5) ** 2)[..., None]
    image = image * dim * random.uniform(0.85, 1.15, 3) * random.uniform(0.75, 1.3)
    grey = image.mean(2, keepdims=True)
    image = np.clip(grey + (image - grey) * random.uniform(0.7, 1.3), 0, None) ** random.uniform(0.75, 1.3)
    image = image + random.normal(0, random.uniform(0, 0.025), image.shape)
    stored = np.clip(255 * image, 0, 255).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 96))])
    result = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert result is not None  # it was encoded just now
    return np.asarray(result, np.uint8)
