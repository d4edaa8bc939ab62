"""Pictures of what a planner saw and found: depth in colour, qualities over it, grasps on top."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from grasp_client.contract import CameraIntrinsics, Grasp, Gripper, Push, RefusedGrasp

_NEAR_TO_FAR = ((250, 243, 221), (186, 206, 200), (109, 150, 170), (62, 92, 128), (34, 44, 78))
_NO_READING = (12, 12, 14)
_BAD_TO_GOOD = ((214, 40, 40), (247, 190, 50), (46, 204, 84))
_OUTLINE = (10, 10, 10)
REFUSED = (255, 36, 36)
"""Colour of refused grasps and of where they meet something."""

UNPREDICTED = (70, 150, 255)
"""Colour of pushes of which nothing is predicted."""
_SUPERSAMPLING = 2
_LABELS = 10
"""Grasps that get their rank written beside them; more would cover the picture."""
_UNKNOWN_WIDTH = 30.0
"""Pixels. Drawn when a grasp says no width, so that position and angle can still be seen."""


def depth_picture(depth: np.ndarray) -> np.ndarray:
    """(H, W) metres, 0 = no reading, to (H, W, 3) uint8: near is light, surfaces are shaded, no reading is black."""
    known = depth > 0
    if not known.any():
        return np.full((*depth.shape, 3), _NO_READING, np.uint8)
    near, far = np.percentile(depth[known], (1, 99))
    share = np.clip((depth - near) / max(far - near, 1e-6), 0, 1)
    picture: np.ndarray = _ramp(share, _NEAR_TO_FAR) * _shading(np.where(known, depth, far), far - near)[..., None]
    picture[~known] = _NO_READING
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return picture


def _shading(depth: np.ndarray, span: float) -> np.ndarray:
    """Brightness 0.7 to 1.25 by how the surface leans, as if light came from the upper left."""
    if min(depth.shape) < 2:
        return np.ones(depth.shape)
    down, right = np.gradient(depth)
    brightness: np.ndarray = np.clip(1 - 12 * (down + right) / max(span, 1e-3), 0.7, 1.25)
    return brightness


def blend_heatmap(picture: np.ndarray, quality: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Qualities (H, W) in 0 to 1 over a (H, W, 3) uint8 picture; the better, the more opaque; NaN shows the picture."""
    known = np.nan_to_num(np.clip(quality, 0, 1))
    opacity = (strength * np.sqrt(known))[..., None]
    blended: np.ndarray = (picture * (1 - opacity) + _ramp(known, _BAD_TO_GOOD) * opacity).astype(np.uint8)
    return blended


def draw_grasps(
    picture: np.ndarray,
    grasps: Sequence[Grasp],
    gripper: Gripper | None = None,
    camera: CameraIntrinsics | None = None,
    zoom: int = 1,
    refused: Sequence[RefusedGrasp] = (),
    pushes: Sequence[Push] = (),
) -> np.ndarray:
    """Grasps on a (H, W, 3) uint8 picture, best on top, coloured by quality, the first ten numbered; below them
    the refused ones in red, with a cross where a part of the hand meets something. Pushes are arrows, the best on top.

    A jaw is two finger plates joined by its closing axis, filled where the fingertips are and outlined where a finger is thick
    above its pad; a cup is a circle. With a camera the plates and the cup have the gripper's size.

    Returns (H * zoom, W * zoom, 3) uint8.
    """
    height, width = picture.shape[:2]
    scale = zoom * _SUPERSAMPLING
    canvas = Image.fromarray(picture).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(canvas)
    hand = gripper or Gripper()
    for each in reversed(refused):
        _Pen(draw, scale, each, REFUSED).hand(hand, _pixels_per_metre(each, camera))
    for each in refused:
        if each.obstacle_px:
            _Pen(draw, scale, each, REFUSED).cross(*each.obstacle_px)
    pens = [_Pen(draw, scale, grasp, quality_colour(grasp.quality), bold=rank == 0) for rank, grasp in enumerate(grasps)]
    for pen, grasp in zip(reversed(pens), reversed(grasps), strict=True):
        pen.hand(hand, _pixels_per_metre(grasp, camera))
    for rank in reversed(range(min(len(pens), _LABELS))):
        pens[rank].label(str(rank + 1))
    for rank in reversed(range(len(pushes))):
        _arrow(draw, scale, pushes[rank], bold=rank == 0)
    return np.asarray(canvas.resize((width * zoom, height * zoom), Image.Resampling.LANCZOS))


def _pixels_per_metre(grasp: Grasp, camera: CameraIntrinsics | None) -> float | None:
    """Of the image at the grasp's depth; None where neither the grasp nor the camera gives it."""
    if camera and grasp.depth and grasp.depth > 0:
        return (camera.fx + camera.fy) / 2 / grasp.depth
    if grasp.width and grasp.width_px:
        return grasp.width_px / grasp.width
    return None


class _Pen:
    """Draws one grasp in a colour; lengths are pixels of the picture, `scale` canvas pixels each."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, scale: int, grasp: Grasp, colour: Sequence[float] | np.ndarray, bold: bool = False
    ) -> None:
        self._draw = draw
        self._scale = scale
        self._grasp = grasp
        self._line = (2.0 if bold else 1.2) * scale
        red, green, blue = colour
        self._colour = (round(red), round(green), round(blue))

    def hand(self, gripper: Gripper, pixels_per_metre: float | None) -> None:
        if self._grasp.kind == "suction":
            self.cup(gripper.cup_radius * pixels_per_metre if pixels_per_metre else _UNKNOWN_WIDTH / 3)
        else:
            self.jaw(gripper, pixels_per_metre)

    def jaw(self, gripper: Gripper, pixels_per_metre: float | None) -> None:
        opening = self._grasp.width_px or _UNKNOWN_WIDTH
        thin, thick = gripper.pad[0], gripper.finger_thickness
        tip, whole = (thin * pixels_per_metre, thick * pixels_per_metre) if pixels_per_metre else (opening / 6, opening / 6)
        plate = gripper.finger_width * pixels_per_metre if pixels_per_metre else opening / 2.5
        self._stroke([self._at(-opening / 2, 0), self._at(opening / 2, 0)])
        for inner in (-opening / 2, opening / 2):
            plates = [
                [self._at(x, y) for x, y in ((inner, -plate / 2), (outer, -plate / 2), (outer, plate / 2), (inner, plate / 2))]
                for outer in (inner + math.copysign(extent, inner) for extent in (tip, whole))
            ]
            self._draw.polygon(plates[0], fill=self._colour)
            for corners in plates:
                self._stroke([*corners, corners[0]])
        self._dot(1.6)

    def cup(self, radius: float) -> None:
        ring = [self._at(radius * math.cos(turn), radius * math.sin(turn)) for turn in np.linspace(0, 2 * math.pi, 49)]
        self._stroke(ring)
        self._dot(1.6)

    def label(self, text: str) -> None:
        x, y = self._at(0, 0)
        size = 11 * self._scale
        self._draw.text(
            (x + 5 * self._scale, y - size - 2 * self._scale), text, font_size=size, fill=(255, 255, 255),
            stroke_width=self._scale, stroke_fill=_OUTLINE,
        )  # fmt: skip

    def cross(self, u: float, v: float) -> None:
        """At a pixel of the picture."""
        x, y, reach = (u + 0.5) * self._scale - 0.5, (v + 0.5) * self._scale - 0.5, 3.5 * self._scale
        for slant in (1, -1):
            self._stroke([(x - reach, y - slant * reach), (x + reach, y + slant * reach)])

    def _at(self, along: float, across: float) -> tuple[float, float]:
        """Canvas point at `along` the closing axis and `across` it from the grasp's centre; pixel centres are integers."""
        cosine, sine = math.cos(self._grasp.angle), math.sin(self._grasp.angle)
        u = self._grasp.center_px[0] + along * cosine - across * sine
        v = self._grasp.center_px[1] + along * sine + across * cosine
        return (u + 0.5) * self._scale - 0.5, (v + 0.5) * self._scale - 0.5

    def _stroke(self, points: list[tuple[float, float]]) -> None:
        self._draw.line(points, fill=_OUTLINE, width=round(self._line + 1.2 * self._scale), joint="curve")
        self._draw.line(points, fill=self._colour, width=round(self._line), joint="curve")

    def _dot(self, radius: float) -> None:
        x, y = self._at(0, 0)
        reach = radius * self._scale + self._line / 2
        self._draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=self._colour, outline=_OUTLINE, width=self._scale)


def _arrow(draw: ImageDraw.ImageDraw, scale: int, push: Push, bold: bool) -> None:
    """From where the fingers come down to where they go up again; blue where nothing is predicted."""
    if push.start_px is None or push.end_px is None:
        return
    start, end = (((u + 0.5) * scale - 0.5, (v + 0.5) * scale - 0.5) for u, v in (push.start_px, push.end_px))
    turn, head = math.atan2(end[1] - start[1], end[0] - start[0]), (7 if bold else 5) * scale
    wings = [(end[0] - head * math.cos(turn + side), end[1] - head * math.sin(turn + side)) for side in (-0.5, 0.5)]
    predicted = push.predicted_quality
    red, green, blue = (round(each) for each in (UNPREDICTED if predicted is None else quality_colour(predicted)))
    line = (2.5 if bold else 1.2) * scale
    for colour, width in ((_OUTLINE, line + 1.2 * scale), ((red, green, blue), line)):
        for points in ([start, end], [wings[0], end, wings[1]]):
            draw.line(points, fill=colour, width=round(width), joint="curve")
        reach = width / 2 + scale
        draw.ellipse((start[0] - reach, start[1] - reach, start[0] + reach, start[1] + reach), fill=colour)


def quality_colour(quality: float) -> np.ndarray:
    """(3,) float, 0 to 255, in which a grasp of that quality is drawn."""
    return _ramp(np.float64(quality), _BAD_TO_GOOD)


def _ramp(share: np.ndarray | np.float64, colours: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """Colours (..., 3) float at `share` (...) in 0 to 1, between evenly spaced ones."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(share, stops, channel) for channel in zip(*colours, strict=True)], axis=-1)
