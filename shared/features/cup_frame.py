"""The scene as a suction cup sees it: patches around the contact, heights relative to the plane that the cup is pressed on.

The server cuts the patches of all its candidates, the trainer those of executed grasps, with the same code. Position, tilt
and height are undone, as `hand_frame` does for a jaw; how the patch is turned about the approach is arbitrary, since a cup is
round.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grasp_client.contract import CameraIntrinsics, Grasp, Gripper
from shared.features.cup_load import heaviest_held, to_middle
from shared.features.hand_frame import sample_map
from shared.grasp_poses import CupPose, cups_of
from shared.maps.heightmap import HeightMap, project

PLAIN_CHANNELS = 6
"""Of networks that see the scene alone, through cells of one size."""
CHANNELS = 11
"""Of networks that are also told of the cup and of the weight that it holds."""
SIDE = 32
"""Patches are squares of this many cells."""
STEP = 0.0025
"""Cell size of the near view of a cup of USUAL_RADIUS, m: 80 mm in the plane of the cup, what its lip meets."""
USUAL_RADIUS = 0.015
"""m. The near view and its fine heights are larger for larger cups, smaller for smaller ones."""
SCALES = (0.4, 2.0)
"""Least and greatest scale of the near view."""
FAR_STEP = 0.008
"""Cell size of the far view, m: 256 mm, what hangs on it."""
FINE = 0.006
"""Distances from the cup's plane are clipped to it, m, and scaled to -1..1."""
COARSE = 0.06
"""Heights over the contact are, in the near view, m."""
FAR = 0.12
"""Heights over the contact are, in the far view, m."""
SOFT = 0.001
"""The rim of the footprint fades over this many metres either way, so that no cell decides for itself."""
USUAL_WEIGHT = 0.15
"""kg. Weights are seen as their logarithm over this one's."""


def scale_of(radius: float) -> float:
    """Size of the near view, and of its fine heights, over that of a cup of USUAL_RADIUS."""
    return min(max(radius / USUAL_RADIUS, SCALES[0]), SCALES[1])


def patches(scene: HeightMap, cups: CupPose, gripper: Gripper, channels: int = CHANNELS) -> Tensor:
    """What N cups see, (N, channels, SIDE, SIDE) float32 on the device of `cups`.

    Channels: distance out of the cup's plane / FINE and height over the contact / COARSE (the upper bound where nothing was
    read); 1 where a reading was, else 0; 1 under the cup, else 0; height / FAR and reading again over the far view. With
    CHANNELS the near view and FINE grow with the cup, and the same all over the patch follow: log2 of the scale of the near
    view; unevenness that the lip takes up over the cup's radius, times 4; tangent of half the approach's lean; 1 where the
    moment of the seal is told, else 0; logarithm of the heaviest thing held so far from its middle over USUAL_WEIGHT, halved.
    """
    scale = scale_of(gripper.cup_radius) if channels == CHANNELS else 1.0
    layers = torch.from_numpy(np.stack([scene.upper_bound, scene.known.astype(np.float32)])).to(cups.x.device)[None]
    x, y, near, known = _look(scene, layers, cups, STEP * scale)
    # Cells of the far view are larger than the map's: their mean, not a sample, keeps thin things in sight.
    _, _, far, far_known = _look(scene, F.avg_pool2d(layers, 3, 1, 1, count_include_pad=False), cups, FAR_STEP)
    fine = (near - cups.plane(x, y)) * cups.normal()[:, 2:] / (FINE * scale)
    coarse, far = (near - cups.height[:, None]) / COARSE, (far - cups.height[:, None]) / FAR
    cup = footprint(gripper.cup_radius / scale, x.device).reshape(-1).expand_as(fine)
    seen = [fine.clamp(-1, 1), coarse.clamp(-1, 1), known, cup, far.clamp(-1, 1), far_known]
    if channels == CHANNELS:
        seen += [each[:, None].expand_as(fine) for each in _told(scene, cups, gripper)]
    return torch.stack(seen, dim=1).reshape(-1, channels, SIDE, SIDE).to(torch.float32)


def _told(scene: HeightMap, cups: CupPose, gripper: Gripper) -> list[Tensor]:
    """Of each cup (N,) what is the same all over its patch, in the order of the channels."""
    weight = heaviest_held(gripper, torch.hypot(*to_middle(scene, cups)))
    same = torch.ones_like(cups.x)
    return [
        same * math.log2(scale_of(gripper.cup_radius)),
        same * min(4 * gripper.lip[0] / gripper.cup_radius, 2.0),
        torch.tan(torch.acos(cups.normal()[:, 2].clamp(0, 1)) / 2),
        same * (gripper.cup_moment is not None),
        (torch.log(weight.clamp(min=1e-6) / USUAL_WEIGHT) / 2).clamp(-2, 2),
    ]


def _look(scene: HeightMap, layers: Tensor, cups: CupPose, step: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Map x, y, height, m, and known share, each (N, SIDE * SIDE), on cells of `step` m in the plane of each cup."""
    line = _line(layers.device, step)
    x, y = cups.offsets(line.expand(SIDE, SIDE).reshape(-1), line[:, None].expand(SIDE, SIDE).reshape(-1))
    return x, y, *sample_map(scene, layers, x, y)


def footprint(radius: float, device: torch.device) -> Tensor:
    """Where a cup of a radius (m) covers a patch of unscaled cells, (SIDE, SIDE), 1 inside."""
    line = _line(device, STEP)
    from_centre = torch.sqrt(line**2 + line[:, None] ** 2)
    return (0.5 + (radius - from_centre) / (2 * SOFT)).clamp(0, 1)


def _line(device: torch.device, step: float) -> Tensor:
    return step * (torch.arange(SIDE, device=device) - (SIDE - 1) / 2)


def outcome_patches(
    depth: np.ndarray,
    camera: CameraIntrinsics,
    camera_pose: np.ndarray | None,
    grasps: Sequence[Grasp],
    gripper: Gripper,
    channels: int = CHANNELS,
) -> np.ndarray:
    """Patches (N, channels, SIDE, SIDE) float32 of executed grasps on one depth image (H, W), m, 0 = no reading.

    Raises ValueError when the image has no reading, the camera looks up, or a grasp has no pose.
    """
    scene = project(depth, camera, camera_pose)
    return patches(scene, cups_of(scene.pose, grasps, gripper), gripper, channels).numpy()
