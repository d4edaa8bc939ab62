"""The scene as the hand sees it: patches of the height map, turned into the grasp frame, heights relative to the fingertips.

The server cuts the patches of all its candidates, the trainer those of executed grasps, with the same code. Scoring in this
frame needs about ten times fewer labels than angle bins as output channels, because position, angle and tip height are
already undone.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grasp_client.contract import CameraIntrinsics, Grasp, Gripper
from shared.grasp_poses import HandPose, hands_of
from shared.maps.approach_map import LEVEL, approachable, depth_cloud, project_along, support_of
from shared.maps.heightmap import HeightMap, hand_scale, project

CHANNELS = 6
ROWS = 24
"""Patch size across the closing axis (y of the grasp frame), cells."""
COLUMNS = 40
"""Patch size along the closing axis (x), cells."""
STEP = 0.003
"""Cell size of the near view, m: 72 x 120 mm, what the fingers meet. It and the three below are those of a jaw that opens 80
mm; of another they are larger or smaller with its opening, so that each sees its own."""
FAR_STEP = 0.008
"""Cell size of the far view, m: 192 x 320 mm, where the rest of the object lies, which decides whether it turns out of the
grip."""
SPAN = 0.06
"""Heights of the near view are clipped to this far from the fingertips, m, and scaled to -1..1."""
FAR_SPAN = 0.12
"""The same for the far view, m."""
OCTAVES = 4.0
"""The channel that tells a hand's scale is the binary logarithm of it over this: -1 for the smallest, 0 for a jaw of 80 mm."""
LEVELS = 33
"""Samples along the line of sight of a cell that is not seen straight down."""


def patches(scene: HeightMap, hands: HandPose, gripper: Gripper, unit: float = 1.0) -> Tensor:
    """What N hands see, (N, CHANNELS, ROWS, COLUMNS) float32 on the device of `hands`.

    Channels: height over the fingertips, against the approach, / SPAN (the upper bound where nothing was read); 1 where a
    reading was, else 0; 1 under the two fingertips at the requested opening, else 0; the first two again over the far view,
    heights / FAR_SPAN; how large the hand is (log2 of its scale / OCTAVES), the same in all cells. Steps and spans are those of
    the hand's scale. unit: map, hands and gripper are in units of so many metres.
    """
    scale = hand_scale(gripper)
    layers = [scene.upper_bound, scene.known.astype(np.float32)]
    # Cells of the far view are larger than the map's: their mean, not a sample, keeps thin things in sight.
    wide = 2 * int(0.375 * FAR_STEP * scale / scene.resolution) + 1
    means = [cv2.blur(layer, (wide, wide), borderType=cv2.BORDER_REPLICATE) for layer in layers]
    near_layers, far_layers = (torch.from_numpy(np.stack(each)).to(hands.width.device)[None] for each in (layers, means))
    near, near_known = _look(scene, near_layers, hands, STEP * scale, SPAN * scale)
    far, far_known = _look(scene, far_layers, hands, FAR_STEP * scale, FAR_SPAN * scale)
    near, far = (near / (SPAN * scale)).clamp(-1, 1), (far / (FAR_SPAN * scale)).clamp(-1, 1)
    size = torch.full_like(near, math.log2(scale * unit) / OCTAVES)
    return torch.stack([near, near_known, footprint(hands.width, gripper, scale), far, far_known, size], dim=1).to(
        torch.float32
    )


def _look(scene: HeightMap, layers: Tensor, hands: HandPose, step: float, span: float) -> tuple[Tensor, Tensor]:
    """Height over the fingertips, m, and known share, each (N, ROWS, COLUMNS), on cells of `step` m.

    Seen straight down, what a cell shows lies under the cell itself. From elsewhere it is searched on the cell's line of sight,
    from `span` behind the tips to as far beyond them.
    """
    along, across = (step * (torch.arange(count, device=layers.device) - (count - 1) / 2) for count in (COLUMNS, ROWS))
    closing, second = (axis[:, :, None, None] for axis in hands.rotation.unbind(2)[:2])
    x, y, z = (hands.position[:, :, None, None] + along * closing + across[:, None] * second).unbind(1)
    if hands.straight:
        height, known = sample_map(scene, layers, x, y)
        return height - hands.tip[:, None, None], known
    ax, ay, az = (axis[:, None, None] for axis in hands.approach.unbind(1))
    found, gap_before, back_before = torch.full_like(x, torch.inf), torch.full_like(x, -1.0), span
    for back in torch.linspace(span, -span, LEVELS).tolist():
        gap = sample_map(scene, layers, x - back * ax, y - back * ay)[0] - (back * az - z)
        # The surface crosses the line of sight between two samples: where, if it is even between them.
        crossed = back + (back_before - back) * gap / (gap - gap_before).clamp(min=1e-6)
        found = torch.where((gap >= 0) & torch.isinf(found), crossed.clamp(back, back_before), found)
        gap_before, back_before = gap, back
    found = torch.where(torch.isinf(found), -span, found)
    return found, sample_map(scene, layers, x - found * ax, y - found * ay)[1]


def sample_map(scene: HeightMap, layers: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Height, m, and known share at map x, y (any shape); beyond the map the table goes on, unknown.

    layers: (1, 2, H, W), height and known share of the cells.
    """
    rows, columns = scene.height.shape
    across, down = (
        ((2 * ((place - corner) / scene.resolution) + 1) / count - 1).to(torch.float32)
        for place, corner, count in ((x, scene.corner[0], columns), (y, scene.corner[1], rows))
    )
    places = torch.stack([across, down], dim=-1).reshape(1, -1, x.shape[-1], 2)
    sampled = F.grid_sample(layers, places, mode="bilinear", padding_mode="border", align_corners=False)[0].reshape(2, *x.shape)
    inside = (across.abs() <= 1) & (down.abs() <= 1)
    if bool(inside.all()):
        return sampled[0], sampled[1]
    table = float(scene.table[0]) * x + float(scene.table[1]) * y
    return torch.where(inside, sampled[0], table.to(torch.float32)), sampled[1] * inside


def footprint(width: Tensor, gripper: Gripper, scale: float) -> Tensor:
    """Share of each patch cell that the open fingers cover seen along the approach, (N, ROWS, COLUMNS), for openings (N,) m.

    scale: of the hand.
    """
    step = STEP * scale
    along, across = (step * (torch.arange(count, device=width.device) - (count - 1) / 2) for count in (COLUMNS, ROWS))
    inner = width[:, None] / 2
    covered = torch.minimum(along.abs() + step / 2, inner + gripper.pad[0]) - torch.maximum(along.abs() - step / 2, inner)
    beside = gripper.finger_width / 2 - (across.abs() - step / 2)
    return (covered / step).clamp(0, 1)[:, None, :] * (beside / step).clamp(0, 1)[None, :, None]


def outcome_patches(
    depth: np.ndarray,
    camera: CameraIntrinsics,
    camera_pose: np.ndarray | None,
    grasps: Sequence[Grasp],
    gripper: Gripper,
) -> np.ndarray:
    """Patches (N, CHANNELS, ROWS, COLUMNS) float32 of executed grasps on one depth image (H, W), m, 0 = no reading.

    Those that come straight down are seen in the map along gravity, others each in the map along its own approach, as planners
    see them; NaN where that comes from behind what is seen. Raises ValueError when the image has no reading, or a grasp has no
    metric pose.
    """
    scale = hand_scale(gripper)
    down = np.array([0.0, 0.0, 1.0]) if camera_pose is None else -np.asarray(camera_pose, dtype=float)[2, :3]
    scene = project(depth, camera, camera_pose, scale=scale) if down[2] >= math.cos(LEVEL) else None
    frame = np.eye(4) if scene is None else scene.pose
    leaning = hands_of(frame, grasps, gripper).approach[:, :2].any(1).tolist() if scene else [True] * len(grasps)
    seen = np.full((len(grasps), CHANNELS, ROWS, COLUMNS), np.nan, np.float32)
    cloud = depth_cloud(depth, camera, support_of(scene) if scene else None, -down, scale=scale) if any(leaning) else None
    for direction, places in _by_approach(grasps, leaning).items():
        map = scene
        if cloud is not None and direction is not None:
            map = project_along(cloud, np.array(direction)) if approachable(cloud, np.array(direction)) else None
        if map is not None:
            seen[places] = patches(map, hands_of(map.pose, [grasps[place] for place in places], gripper), gripper)
    return seen


def _by_approach(grasps: Sequence[Grasp], leaning: Sequence[bool]) -> dict[tuple[float, ...] | None, list[int]]:
    """Places of grasps by their approach, camera frame; None: straight down."""
    found: dict[tuple[float, ...] | None, list[int]] = {}
    for place, (grasp, leans) in enumerate(zip(grasps, leaning, strict=True)):
        direction = np.asarray(grasp.pose_camera, dtype=float)[:3, 2].round(6) if leans else None
        found.setdefault(None if direction is None else tuple(direction.tolist()), []).append(place)
    return found
