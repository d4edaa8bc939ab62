"""A colour picture in the size that a network learned from, and the way between its pixels and those that were sent."""

from dataclasses import dataclass

import cv2
import numpy as np

from grasp_client.contract import CameraIntrinsics

STRIDE = 16
"""Sides of pictures are multiples of it."""
LONGEST = 1024
"""A picture is never enlarged beyond this, pixels."""
ENOUGH = 4
"""Of a sent picture with more pixels than so many squared for each that is shown, only some are averaged."""
RAY_SCALE = 3.0
"""Tangents of a common field of view become as large as colours."""


@dataclass(frozen=True)
class RgbInput:
    """image (H, W, 3), sides multiples of STRIDE: the sent one resized by `scale` (u, v), its right and lower rim repeated.

    size: rows and columns that show the sent picture.
    """

    image: np.ndarray
    scale: tuple[float, float]
    size: tuple[int, int]

    def to_picture(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) as (u, v) of the sent picture, in this one."""
        return (np.asarray(pixels, dtype=float) + 0.5) * self.scale - 0.5

    def lens(self, camera: CameraIntrinsics | None, focal: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Principal point (1, 2) and focal length (1,) in pixels of this picture.

        Without a camera: the middle, and the focal length of training, `focal` (none: half the longer side).
        """
        if camera is not None:
            return self.to_picture(np.array([[camera.cx, camera.cy]])), np.array([camera.fx * self.scale[0]])
        return (np.array([self.size[::-1]]) - 1) / 2, np.array([focal or max(self.size) / 2])

    def to_sent(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) as (u, v) of this picture, in the sent one."""
        return (np.asarray(pixels, dtype=float) + 0.5) / self.scale - 0.5


def rays(size: tuple[int, int], principal: np.ndarray, focal: np.ndarray) -> np.ndarray:
    """(N, 2, rows, columns) float32: tangents along u and v of the directions in which pixels look, times RAY_SCALE.

    principal (N, 2) as (u, v), focal (N,): of each of N pictures, in its pixels.
    """
    u = (np.arange(size[1])[None] - principal[:, :1]) / focal[:, None]
    v = (np.arange(size[0])[None] - principal[:, 1:]) / focal[:, None]
    shape = (len(focal), *size)
    both = [np.broadcast_to(u[:, None, :], shape), np.broadcast_to(v[:, :, None], shape)]
    return (RAY_SCALE * np.stack(both, 1)).astype(np.float32)


def fit(image: np.ndarray, factor: float, interpolation: int = cv2.INTER_AREA) -> RgbInput:
    """The image (H, W[, C]) resized by `factor`, or by less where its longer side would exceed LONGEST."""
    factor = min(factor, LONGEST / max(image.shape[:2]))
    rows, columns = (max(1, round(side * factor)) for side in image.shape[:2])
    scale = columns / image.shape[1], rows / image.shape[0]
    if interpolation == cv2.INTER_AREA and factor > 1:
        interpolation = cv2.INTER_LINEAR
    elif interpolation == cv2.INTER_AREA and (apart := int(1 / (ENOUGH * factor))) > 1:
        image = image[apart // 2 :: apart, apart // 2 :: apart]
    resized = image if (rows, columns) == image.shape[:2] else cv2.resize(image, (columns, rows), interpolation=interpolation)
    below, beside = -rows % STRIDE, -columns % STRIDE
    return RgbInput(cv2.copyMakeBorder(resized, 0, below, 0, beside, cv2.BORDER_REPLICATE), scale, (rows, columns))


def factor_to(
    size: tuple[int, int],
    image_size: int,
    pixels_per_metre: float | None,
    camera: CameraIntrinsics | None,
    table_depth: float | None,
) -> float:
    """By what to resize a picture of `size` (rows, columns) for a network.

    With the camera, and for a network that knows how many pixels it saw per metre of table, to as many; else until the shorter
    side has `image_size` pixels.
    """
    if pixels_per_metre and camera is not None and table_depth:
        return pixels_per_metre * table_depth / camera.fx
    return image_size / min(size)
