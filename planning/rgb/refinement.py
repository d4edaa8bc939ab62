"""How likely a hand fits and holds at a place, at every angle and height of its tips, by heights estimated from colours."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.observation import Observation
from shared.features.radial import leans, radial_angles, radial_windows
from shared.features.rgb_input import factor_to, fit
from shared.networks.height_from_rgb import PIXELS_PER_METRE, SIDE, HeightFromRgb, at_turns, quantile
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS, table_up

STEEP = math.cos(math.radians(15))
"""Least cosine between the optical axis and straight down: heights were learned from cameras that look down."""
UNSURE = 0.25
"""Probability with which what is held may be lower than the tips allow for, and what is under the palm higher."""
HELD = 0.008
"""What is held rises so far above the tips, m."""
AT_ONCE = 128
"""Windows in a batch: what a request for a thousand grasps looks at would not fit into memory together."""


def can_refine(request: PlanRequest, heights: Tensor) -> bool:
    """Whether all is known that is needed: a metric camera that looks down, and heights (T,) of the tips, some."""
    if request.camera is None or request.table_depth is None or not len(heights):
        return False
    return bool(-table_up(_base(request))[2] > STEEP)


class GraspRefiner:
    """A picture of a request of which one `can_refine`, at the scale that was learned."""

    def __init__(self, network: HeightFromRgb, observation: Observation, request: PlanRequest, device: torch.device) -> None:
        camera, rgb = request.camera, observation.rgb
        assert camera is not None
        assert rgb is not None
        self.network = network
        self.picture = fit(rgb, factor_to(rgb.shape[:2], 0, PIXELS_PER_METRE, camera, request.table_depth))
        self.image = torch.from_numpy(np.ascontiguousarray(self.picture.image)).to(device).permute(2, 0, 1).float() / 255
        nadir = self.picture.to_picture(nadir_of(camera, table_up(_base(request)))[None])
        self.nadir = torch.from_numpy(nadir).float().to(device)
        self.focal = camera.fx * self.picture.scale[0]

    def refine(self, middles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, T, R) that a grasp holds, and that the open hand fits, which goes straight down at `middles` (N, 2) as
        (u, v) of the picture, its tips at each of the learned heights, closing along image angles k pi / R; and (N, 2, BINS) of
        the highest point around."""
        nadirs = self.nadir.expand(len(middles), 2)
        windows = [
            self.network(
                radial_windows(self.image.expand(len(some), -1, -1, -1), some, straight, SIDE),
                leans(some, straight, self.focal),
            )
            for some, straight in zip(middles.split(AT_ONCE), nadirs.split(AT_ONCE), strict=True)
        ]
        radial = radial_angles(middles, nadirs)[:, None] * ROTATIONS / math.pi
        turns = torch.arange(ROTATIONS, device=middles.device) - radial
        holds, fits, highest = map(torch.cat, zip(*windows, strict=True))
        return at_turns(holds, turns), at_turns(fits, turns), highest

    def seen(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 2) of the sent image in the picture."""
        return self._moved(self.picture.to_picture, pixels)

    def sent(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 2) of the picture in the sent image."""
        return self._moved(self.picture.to_sent, pixels)

    def _moved(self, way: Callable[[np.ndarray], np.ndarray], pixels: Tensor) -> Tensor:
        return torch.from_numpy(way(pixels.cpu().numpy())).float().to(pixels.device)


def adjusted(heights: Tensor, highest: Tensor, finger_depth: float) -> Tensor:
    """Heights (N,) of the tips, m, moved so that the jaws reach what is there and the palm stays above it.

    highest (N, 2, BINS): logits of the highest point under the palm and between the jaws. Where that is uncertain tips go low.
    """
    reaching = (quantile(highest[:, 1], UNSURE) - HELD).clamp(min=TIP_HEIGHTS[0])
    return torch.maximum(torch.minimum(heights, reaching), quantile(highest[:, 0], 1 - UNSURE) - finger_depth)


def nadir_of(camera: CameraIntrinsics, up: np.ndarray) -> np.ndarray:
    """(2,): pixel (u, v) that looks straight down, for a camera that looks down; up (3,): of the table, in its frame."""
    return np.array([camera.fx * up[0] / up[2] + camera.cx, camera.fy * up[1] / up[2] + camera.cy])


def _base(request: PlanRequest) -> np.ndarray | None:
    return None if request.camera_pose is None else np.asarray(request.camera_pose)
