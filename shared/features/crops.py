"""Camera-frame depth crops of the GQ-CNN family: centred on a grasp, closing axis along the middle row."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

UPRIGHT = math.radians(1)
"""A cup that leans less than this from the optical axis is seen unturned: noise alone would turn it."""


@dataclass(frozen=True)
class CropView:
    """How a network's training crops saw the world.

    focal_px: focal length in crop pixels. near, far: range of their gripper depths, m. A crop of a grasp outside the range,
    or of another camera, is brought to what the training camera would have seen at the nearest depth inside it: the
    pixels are scaled and the depth is shifted (weak perspective: exact for objects that are small beside their distance).
    """

    focal_px: float
    near: float
    far: float

    def scale_and_shift(self, gripper_depth: np.ndarray, focal: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Gripper depths (N,) -> image pixels per crop pixel (N,) and metres to add to the depth (N,).

        focal: of the sent image, pixels; None when unknown: the training camera is assumed.
        """
        seen = np.clip(gripper_depth, self.near, self.far)
        scale = np.ones_like(seen) if focal is None else (focal / self.focal_px) * (seen / gripper_depth)
        return scale, seen - gripper_depth


def fill_holes(depth: np.ndarray) -> np.ndarray:
    """(H, W) float32 metres, 0 = no reading -> the same with each hole given its nearest reading.

    Raises ValueError when there is no reading at all.
    """
    holes = depth <= 0
    if not holes.any():
        return depth
    if holes.all():
        raise ValueError("the depth image has no reading at all")
    _, labels = cv2.distanceTransformWithLabels(holes.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros(labels.max() + 1, np.float32)
    nearest[labels[~holes]] = depth[~holes]
    result: np.ndarray = nearest[labels]
    return result


def crop(depth: Tensor, centers: Tensor, angles: Tensor, scale: Tensor, size: tuple[int, int]) -> Tensor:
    """All crops of one image in one sampling pass: (H, W) -> (N, 1, *size).

    centers (N, 2) as (u, v) pixels; angles (N,) of the closing axis from +u towards +v; scale (N,) image pixels per crop
    pixel. Crop pixel size / 2 lies on the centre, as in the published data. Beyond the image its rim is repeated.
    """
    shrink = max(1, int(scale.min().item())) if len(scale) else 1
    image = (
        F.avg_pool2d(depth[None, None], shrink, ceil_mode=True, count_include_pad=False) if shrink > 1 else depth[None, None]
    )
    down, right = (torch.arange(side, dtype=depth.dtype, device=depth.device) - side / 2 for side in size)
    along, across = right[None, None, :] * scale[:, None, None], down[None, :, None] * scale[:, None, None]
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    u = centers[:, 0, None, None] + cosine * along - sine * across
    v = centers[:, 1, None, None] + sine * along + cosine * across
    # Pixel (u, v) of the image is ((u + 1/2) / shrink - 1/2) of the shrunken one; grid_sample wants -1..1 edge to edge.
    height, width = image.shape[2:]
    grid = torch.stack(((u + 0.5) * (2 / (shrink * width)) - 1, (v + 0.5) * (2 / (shrink * height)) - 1), dim=-1)
    flat = grid.reshape(1, -1, size[1], 2)
    sampled = F.grid_sample(image, flat, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.reshape(-1, 1, *size)


def cup_crop_view(approach: Tensor) -> tuple[Tensor, Tensor]:
    """How crops of cups are cut (Dex-Net 3.0, section V): angles (N,) from +u towards +v that lie along the crop's middle row,
    those of the approach's projection, and leans (N,), the approach's angles from the optical axis; rad.

    approach: (N, 3) unit vectors into the surface, camera frame.
    """
    lean = torch.acos(approach[:, 2].clamp(-1, 1))
    return torch.where(lean > UPRIGHT, torch.atan2(approach[:, 1], approach[:, 0]), torch.zeros_like(lean)), lean
