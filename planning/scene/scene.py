"""What a planner looks at: the height map as tensors, with the hand's sizes turned into cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.scene.truncation import truncation_height
from shared.maps.heightmap import HeightMap, project

OUTSIDE = -10.0
"""Height of what lies beyond the map, m: nothing is known to be there."""
DILATION = 4
"""The palm is swept over the map dilated by this many cells, so that samples 10 mm apart miss nothing."""
TOP = 2
"""The top of what lies around a centre is looked for so near to it, cells."""
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
NEAR_UNOBSERVED = 4
"""No centre is tried this near to cells where anything may be."""
TYPICAL_FOCAL = 0.85
"""Focal length over the image's width of a common depth camera (61 degrees), for requests without a camera."""


@dataclass(frozen=True)
class PlanningScene:
    """One observation seen from above.

    metric: the request had a camera; else sizes are only plausible and replies carry pixels only.
    """

    map: HeightMap
    camera: CameraIntrinsics
    camera_pose: np.ndarray | None
    observation: Observation
    request: PlanRequest
    device: torch.device

    @property
    def metric(self) -> bool:
        return self.request.camera is not None

    @cached_property
    def upper_bound(self) -> Tensor:
        """Greatest possible height at every cell, (H, W), m."""
        return torch.from_numpy(self.map.upper_bound).to(self.device)

    @cached_property
    def known(self) -> Tensor:
        """Where a reading fell, (H, W) bool."""
        return torch.from_numpy(self.map.known).to(self.device)

    @cached_property
    def dilated(self) -> Tensor:
        """`upper_bound` dilated by DILATION cells, (H, W)."""
        return torch.from_numpy(dilate_round(self.map.upper_bound, DILATION)).to(self.device)

    @cached_property
    def seen(self) -> Tensor:
        """Height where it is known, OUTSIDE elsewhere, (H, W), m: what a hand can count on to hold."""
        return torch.from_numpy(self._seen).to(self.device)

    @cached_property
    def obstacle(self) -> Tensor:
        """`upper_bound`, and infinity where a finger may not go because anything may be there, (H, W), m."""
        return torch.where(torch.from_numpy(self.map.unobserved).to(self.device), torch.inf, self.upper_bound)

    @cached_property
    def top(self) -> Tensor:
        """Greatest seen height within TOP cells along both axes, (H, W), m."""
        return torch.from_numpy(cv2.dilate(self._seen, np.ones((2 * TOP + 1,) * 2, np.uint8))).to(self.device)

    @cached_property
    def _seen(self) -> np.ndarray:
        return np.where(self.map.known, self.map.upper_bound, np.float32(OUTSIDE))

    @cached_property
    def near_unobserved(self) -> Tensor:
        """Cells within NEAR_UNOBSERVED cells of unobserved ones, along both axes, (H, W) bool."""
        square = np.ones((2 * NEAR_UNOBSERVED + 1,) * 2, np.uint8)
        return torch.from_numpy(cv2.dilate(self.map.unobserved.astype(np.uint8), square) > 0).to(self.device)

    @cached_property
    def truncated_to(self) -> Tensor:
        """Greatest height over the table at which what rises there reaches out of view, (H, W), m; see `truncation_height`."""
        return torch.from_numpy(truncation_height(self.map, self.camera, self.observation.size)).to(self.device)

    @cached_property
    def above_table(self) -> Tensor:
        """Height over the table where known, 0 elsewhere, (H, W)."""
        return torch.where(self.known, self.upper_bound - torch.from_numpy(self.map.table_map()).to(self.device), 0.0)

    def table_at(self, x: Tensor, y: Tensor) -> Tensor:
        """Height of the table at map x, y, m."""
        return float(self.map.table[0]) * x + float(self.map.table[1]) * y

    def sample(self, layer: Tensor, x: Tensor, y: Tensor, beside: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Nearest cell of a layer (H, W) at map x, y (any shape); beyond the map its edge goes on, which is unobserved.

        beside: see `cells`.
        """
        return self.read(layer, self.cells(x, y, beside))

    def cells(self, x: Tensor, y: Tensor, beside: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Index, int32, of the nearest cell in a flat layer at map x, y (any shape), or at the edge that is nearest to it.

        beside: added to x and to y; a lattice is cheapest as its columns in x, y and its rows here, which broadcast.
        """
        rows, columns = self.map.height.shape
        scale, (left, top) = 1 / self.map.resolution, self.map.corner
        column, row = x * scale + (0.5 - left * scale), y * scale + (0.5 - top * scale)
        if beside is not None:
            column, row = column + beside[0] * scale, row + beside[1] * scale
        row = row.clamp_(0, rows - 0.5).to(torch.int32)
        return row.mul_(columns).add_(column.clamp_(0, columns - 0.5).to(torch.int32))

    def read(self, layer: Tensor, cells: Tensor) -> Tensor:
        """Values of a layer (H, W) at flat indices (any shape)."""
        return layer.reshape(-1).index_select(0, cells.reshape(-1)).reshape(cells.shape)


def observe_scene(observation: Observation, request: PlanRequest, device: torch.device) -> PlanningScene:
    """The scene of an observation with depth. Raises PlannerError 422 when there is nothing to see."""
    if observation.depth is None:
        raise PlannerError(422, "missing_image", "this planner needs depth; send a depth image")
    pose = None if request.camera_pose is None else np.asarray(request.camera_pose, dtype=float)
    camera = request.camera or assumed_camera(*observation.depth.shape)
    try:
        height_map = project(observation.depth, camera, pose, request.table_depth)
    except ValueError as error:
        raise PlannerError(422, "unusable_view", str(error)) from error
    return PlanningScene(height_map, camera, pose, observation, request, device)


def assumed_camera(rows: int, columns: int) -> CameraIntrinsics:
    """A common depth camera with an image of this size."""
    focal = TYPICAL_FOCAL * columns
    return CameraIntrinsics(fx=focal, fy=focal, cx=(columns - 1) / 2, cy=(rows - 1) / 2)


def dilate_round(layer: np.ndarray, radius: int) -> np.ndarray:
    """Greatest value within an octagon of the radius in cells, (H, W) float32; nothing is beyond the edge."""
    square = round(radius * 0.4)
    layer = cv2.dilate(layer, np.ones((2 * square + 1,) * 2, np.uint8))
    return cv2.dilate(layer, CROSS, iterations=radius - square) if radius > square else layer
