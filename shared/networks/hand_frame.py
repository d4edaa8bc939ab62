"""The scene as the hand sees it: patches of the height map, turned into the grasp frame, heights relative to the fingertips.

The server cuts the patches of all its candidates, the trainer those of executed grasps, with the same code. Scoring in this
frame needs about ten times fewer labels than angle bins as output channels, because position, angle and tip height are
already undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grasp_client.contract import CameraIntrinsics, Grasp, Gripper
from grasp_client.geometry import invert
from shared.heightmap import HeightMap, project

CHANNELS = 5
ROWS, COLUMNS = 24, 40
"""Patch size in cells: across (y of the grasp frame) and along the closing axis (x)."""
STEP, FAR_STEP = 0.003, 0.008
"""Cell size, m, of the near view (72 x 120 mm: what the fingers meet) and of the far one (192 x 320 mm: where the rest of the
object lies, which decides whether it turns out of the grip)."""
SPAN, FAR_SPAN = 0.06, 0.12
"""Heights are clipped to this far from the fingertips, m, and scaled to -1..1."""


@dataclass(frozen=True)
class HandPose:
    """N grasps in a map: x, y, height of the fingertips (m), angle of the closing axis (rad), opening (m); tensors (N,)."""

    x: Tensor
    y: Tensor
    tip: Tensor
    angle: Tensor
    width: Tensor


def patches(scene: HeightMap, hands: HandPose, gripper: Gripper) -> Tensor:
    """What N hands see, (N, CHANNELS, ROWS, COLUMNS) float32 on the device of `hands`.

    Channels: height over the fingertips / SPAN (the upper bound where nothing was read); 1 where a reading was, else 0; 1 under
    the two fingers at the requested opening, else 0; the first two again over the far view, heights / FAR_SPAN.
    """
    layers = torch.from_numpy(np.stack([scene.bound, scene.known.astype(np.float32)])).to(hands.x.device)[None]
    near, near_known = _look(scene, layers, hands, STEP)
    # Cells of the far view are larger than the map's: their mean, not a sample, keeps thin things in sight.
    far, far_known = _look(scene, F.avg_pool2d(layers, 3, 1, 1, count_include_pad=False), hands, FAR_STEP)
    near, far = (near / SPAN).clamp(-1, 1), (far / FAR_SPAN).clamp(-1, 1)
    return torch.stack([near, near_known, footprint(hands.width, gripper), far, far_known], dim=1).to(torch.float32)


def _look(scene: HeightMap, layers: Tensor, hands: HandPose, step: float) -> tuple[Tensor, Tensor]:
    """Height over the fingertips, m, and known share, each (N, ROWS, COLUMNS), on cells of `step` m."""
    device = layers.device
    along, across = (step * (torch.arange(count, device=device) - (count - 1) / 2) for count in (COLUMNS, ROWS))
    cos, sin = torch.cos(hands.angle)[:, None, None], torch.sin(hands.angle)[:, None, None]
    x = hands.x[:, None, None] + along * cos - across[:, None] * sin
    y = hands.y[:, None, None] + along * sin + across[:, None] * cos
    rows, columns = scene.height.shape
    column = (x - scene.corner[0]) / scene.resolution
    row = (y - scene.corner[1]) / scene.resolution
    grid = torch.stack([(2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1], dim=-1)
    grid = grid.reshape(1, -1, COLUMNS, 2).to(torch.float32)
    sampled = F.grid_sample(layers, grid, mode="bilinear", padding_mode="border", align_corners=False)
    sampled = sampled[0].reshape(2, -1, ROWS, COLUMNS)
    inside = (grid.abs() <= 1).all(-1).reshape(-1, ROWS, COLUMNS)
    table = float(scene.table[0]) * x + float(scene.table[1]) * y
    height = torch.where(inside, sampled[0], table.to(torch.float32))
    return height - hands.tip[:, None, None], sampled[1] * inside


def footprint(width: Tensor, gripper: Gripper) -> Tensor:
    """Share of each patch cell that the open fingers cover seen along the approach, (N, ROWS, COLUMNS), for openings (N,) m."""
    along, across = (STEP * (torch.arange(count, device=width.device) - (count - 1) / 2) for count in (COLUMNS, ROWS))
    inner = width[:, None] / 2
    covered = torch.minimum(along.abs() + STEP / 2, inner + gripper.finger_thickness) - torch.maximum(
        along.abs() - STEP / 2, inner
    )
    beside = gripper.finger_width / 2 - (across.abs() - STEP / 2)
    return (covered / STEP).clamp(0, 1)[:, None, :] * (beside / STEP).clamp(0, 1)[None, :, None]


def hands_of(scene: HeightMap, grasps: Sequence[Grasp], gripper: Gripper) -> HandPose:
    """Executed grasps, by `pose_camera` and `width`, in the frame of a map. Raises ValueError for a grasp without either."""
    if any(grasp.pose_camera is None or grasp.width is None for grasp in grasps):
        raise ValueError("expected grasps with pose_camera and width; a plan made without a camera has neither")
    into_map = invert(scene.pose)
    poses = np.array([into_map @ np.asarray(grasp.pose_camera, dtype=float) for grasp in grasps]).reshape(-1, 4, 4)
    tips = poses[:, :3, 3] + gripper.tcp_offset * poses[:, :3, 2]
    values = (
        tips[:, 0],
        tips[:, 1],
        -tips[:, 2],
        np.arctan2(poses[:, 1, 0], poses[:, 0, 0]),
        [grasp.width for grasp in grasps],
    )
    return HandPose(*(torch.as_tensor(np.asarray(value), dtype=torch.float32) for value in values))


def outcome_patches(
    depth: np.ndarray,
    camera: CameraIntrinsics,
    camera_pose: np.ndarray | None,
    grasps: Sequence[Grasp],
    gripper: Gripper,
) -> np.ndarray:
    """Patches (N, CHANNELS, ROWS, COLUMNS) float32 of executed grasps on one depth image (H, W), m, 0 = no reading.

    Raises ValueError when the image has no reading, the camera looks up, or a grasp has no metric pose.
    """
    scene = project(depth, camera, camera_pose)
    return patches(scene, hands_of(scene, grasps, gripper), gripper).numpy()


def outcome_patch(
    depth: np.ndarray, camera: CameraIntrinsics, camera_pose: np.ndarray | None, grasp: Grasp, gripper: Gripper
) -> np.ndarray:
    """Patch (CHANNELS, ROWS, COLUMNS) of one executed grasp; see `outcome_patches`."""
    return outcome_patches(depth, camera, camera_pose, [grasp], gripper)[0]
