"""A colour network's maps: what it sees, what its grid means in pixels of the sent image, and the best places on it."""

import math
from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grasp_client.contract import PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlannerError
from shared.features.rgb_input import RgbInput, factor_to, fit, rays
from shared.networks.mobileunet import MobileUNet

PEAKS = 512
"""Best local maxima that are looked at."""


@dataclass(frozen=True)
class QualityMaps:
    """logits (T, R, h, w): T heights of the tips, R angles, on a grid over the picture that the network saw.

    angles: (R,) image angle of each. heights: (T,) m over the table; empty when the network knows but one, unsaid.
    """

    logits: Tensor
    angles: Tensor
    heights: Tensor
    picture: RgbInput

    @property
    def centers(self) -> Tensor:
        """(h, w, 2): what pixel (u, v) of the sent image lies under the middle of each cell."""
        rows, columns = self.logits.shape[2:]
        height, width = self.picture.image.shape[:2]
        v, u = np.meshgrid(_middles(rows, height), _middles(columns, width), indexing="ij")
        return torch.from_numpy(self.picture.to_sent(np.stack([u, v], -1))).float().to(self.logits.device)

    def resampled(self, size: tuple[int, int]) -> Tensor:
        """(T, R, H, W) in the pixels of the sent image of `size` (H, W)."""
        v, u = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
        found = self._sampled(torch.stack([u, v], -1).reshape(-1, 2).float())
        return found.reshape(*self.logits.shape[:2], *size)

    def at(self, pixels: Tensor, angles: Tensor, heights: Tensor) -> Tensor:
        """Logits (N,) at pixels (N, 2) as (u, v) of the sent image, of the nearest angle and the nearest height (N,)."""
        level = torch.zeros(len(pixels), dtype=torch.long, device=pixels.device)
        if len(self.heights):
            level = (heights[:, None] - self.heights).abs().argmin(1)
        return self._sampled(pixels)[level, self._nearest(angles), torch.arange(len(pixels), device=pixels.device)]

    def at_angles(self, pixels: Tensor, angles: Tensor) -> Tensor:
        """Logits (N, T, K) at pixels (N, 2) as (u, v) of the sent image, of the nearest of the maps' to each of angles (K,)."""
        return self._sampled(pixels)[:, self._nearest(angles)].permute(2, 0, 1)

    def _nearest(self, angles: Tensor) -> Tensor:
        off = (angles[:, None] - self.angles + math.pi / 2) % math.pi - math.pi / 2
        return off.abs().argmin(1)

    def _sampled(self, pixels: Tensor) -> Tensor:
        """(T, R, N) between the cells."""
        height, width = self.picture.image.shape[:2]
        seen = (self.picture.to_picture(pixels.cpu().numpy()) + 0.5) * 2 / np.array([width, height]) - 1
        grid = torch.from_numpy(seen).float().to(self.logits.device)[None, None]
        return F.grid_sample(
            self.logits.flatten(0, 1)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
        ).reshape(*self.logits.shape[:2], -1)


@dataclass(frozen=True)
class Peaks:
    """Local maxima, best first: pixels (N, 2) as (u, v) of the sent image, angles (N,), levels (N,) of height, logits (N,)."""

    pixels: Tensor
    angles: Tensor
    levels: Tensor
    logits: Tensor


def heat_maps(
    observation: Observation, request: PlanRequest, network: LoadedNetwork, table_depth: float | None = None
) -> QualityMaps:
    """What the network says, at the scale that it learned: pixels per metre of table where that is known, else image size.

    table_depth: measured, where the request does not give it.
    """
    module = the_network(network)
    rgb = observation.rgb
    if rgb is None or (module.inputs == 4 and observation.depth is None):
        raise PlannerError(
            422, "missing_image", f"this version of {network.name} needs rgb{' and depth' * (module.inputs == 4)}"
        )
    learned = (network.card.model_extra or {}).get("view") or {}
    factor = factor_to(
        rgb.shape[:2], module.image_size, learned.get("pixels_per_metre"), request.camera, request.table_depth or table_depth
    )
    picture = fit(rgb, factor)
    image = _tensor(picture, network) / 255
    if module.inputs == 4:
        depth = fit(np.asarray(observation.depth), factor, cv2.INTER_NEAREST)
        image = torch.cat([image, _tensor(depth, network)], 1)
    if module.rays:
        lens = picture.lens(request.camera, learned.get("focal_px"))
        image = torch.cat([image, torch.from_numpy(rays(picture.image.shape[:2], *lens)).to(network.device)], 1)
    logits = module(image)[0].unflatten(0, (-1, module.rotations))
    angles, heights = (torch.tensor(values, device=network.device) for values in (module.angles, module.tip_heights))
    return QualityMaps(logits, angles, heights, picture)


def the_network(network: LoadedNetwork) -> MobileUNet:
    assert isinstance(network.module, MobileUNet)  # the registry's card is checked against `architecture`
    return network.module


def allowed(pixels: Tensor, observation: Observation, request: PlanRequest) -> Tensor:
    """(N,) bool: which of pixels (N, 2) as (u, v) lie in the sent image, within segmask and region."""
    last = torch.tensor([observation.size[1] - 1, observation.size[0] - 1], device=pixels.device)
    kept = ((pixels >= 0) & (pixels <= last)).all(1)
    return kept & _masked(pixels.clamp(min=torch.zeros_like(last), max=last), observation) & _within(pixels, request)


def find_peaks(
    maps: QualityMaps, observation: Observation, request: PlanRequest, raised: Tensor | None = None
) -> tuple[Peaks, Counter[str]]:
    """The best local maxima of every map on raised pixels (H, W), within segmask and region; and what was rejected.

    With `raised`, the heights of maps are left aside: the best of them stands for all, as level 0.
    """
    rejected: Counter[str] = Counter()
    size, centers = observation.size, maps.centers
    last = torch.tensor([size[1] - 1, size[0] - 1], device=centers.device)
    column, row = centers.round().long().clamp(min=torch.zeros_like(last), max=last).unbind(-1)
    inside = ((centers >= -0.5) & (centers <= last + 0.5)).all(-1)
    logits = maps.logits
    if raised is not None:
        logits, on_something = logits.amax(0, keepdim=True), raised[row, column]
        rejected["below_table"] += int((inside & ~on_something).sum())
        inside = inside & on_something
    logits = torch.where(inside, logits, -torch.inf)
    radius = max(1, max(logits.shape[2:]) // 100)
    best_near = F.max_pool2d(logits, 2 * radius + 1, 1, radius)
    level, turn, cell_row, cell_column = torch.nonzero(torch.isfinite(logits) & (logits >= best_near), as_tuple=True)
    pixels = torch.minimum(centers[cell_row, cell_column].clamp(min=0), last)
    keep = _masked(pixels, observation)
    if observation.graspable is not None:
        rejected["segmask" if observation.goal is None else "not_goal"] += int((~keep).sum())
    if request.region:
        within = _within(pixels, request)
        rejected["region"] += int((keep & ~within).sum())
        keep = keep & within
    found = Peaks(pixels, maps.angles[turn], level, logits[level, turn, cell_row, cell_column])
    best = torch.topk(torch.where(keep, found.logits, -torch.inf), min(int(keep.sum()), max(PEAKS, 4 * request.n_grasps)))
    return Peaks(*(each[best.indices] for each in (found.pixels, found.angles, found.levels, found.logits))), rejected


def _masked(pixels: Tensor, observation: Observation) -> Tensor:
    """(N,) bool: which of pixels (N, 2) of the image lie within its segmask and goal."""
    if observation.graspable is None:
        return torch.ones(len(pixels), dtype=torch.bool, device=pixels.device)
    column, row = pixels.round().long().unbind(1)
    return torch.from_numpy(np.ascontiguousarray(observation.graspable)).to(pixels.device)[row, column]


def _within(pixels: Tensor, request: PlanRequest) -> Tensor:
    """(N,) bool: which of pixels (N, 2) lie in the region."""
    if not request.region:
        return torch.ones(len(pixels), dtype=torch.bool, device=pixels.device)
    region = torch.tensor(request.region, device=pixels.device)
    return ((pixels >= region[:2]) & (pixels <= region[2:])).all(1)


def _middles(cells: int, pixels: int) -> np.ndarray:
    """Where the middle of each cell lies when `cells` of them cover `pixels`."""
    return (np.arange(cells) + 0.5) * pixels / cells - 0.5


def _tensor(picture: RgbInput, network: LoadedNetwork) -> Tensor:
    image = torch.from_numpy(np.atleast_3d(picture.image)).to(network.device)
    return image.permute(2, 0, 1)[None].float()
