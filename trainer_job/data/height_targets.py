"""What is learned from a picture with true heights: a window round a thing in it, and the truth about what it shows."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from shared.features.radial import leans, radial_angles, radial_windows
from shared.maps.open_hand import AROUND
from shared.networks.height_from_rgb import COARSE, COARSER, PIXELS_PER_METRE, REACHES, SIDE, at_turns
from shared.rgb_windows import CELL, UNTRIED, TriedGrasp
from shared.table_grasp import ROTATIONS
from trainer_job.data.examples import TensorBatch
from trainer_job.data.rgb_window_folders import RgbWindowBatch

TRIES = 12
"""A window's middle is the cell of the first of so many draws that hits a thing."""
WANDER = 7.0
"""Standard deviation of those draws, pixels."""
MARGIN = 22
"""Middles stay so far from the rim of the picture that was kept, pixels, that what is asked about them is in it."""
LOWEST = 0.004
"""m: nothing in a picture is lower but the table, which is at 0."""
AT_TRIED = 0.67
"""Share of windows whose middle is a grasp that was tried."""


@dataclass(frozen=True)
class WindowBatch(TensorBatch):
    """windows (N, 3, SIDE, SIDE), colours in 0..1, +u leads away from the nadir; lean (N,) of lines of sight; and the truth:

    turns (N,): angle from +u, in steps of pi / ROTATIONS, levels (N,): height of the tips, and held (N,): success of the
    grasp that was tried at a window's middle, UNTRIED if none was. fits (N, T, ROTATIONS): how well a hand fits, 0 to 1, by
    height of its tips and angle from +u. highest (N, 2): m, within each of REACHES. things (N, h, w): share of cells that
    shows a thing. spots (N, h, w): m."""

    windows: Tensor
    lean: Tensor
    turns: Tensor
    levels: Tensor
    held: Tensor
    fits: Tensor
    highest: Tensor
    things: Tensor
    spots: Tensor


def windows_of(
    batch: RgbWindowBatch, noise: torch.Generator, turns: Tensor | None = None, mirrors: Tensor | None = None
) -> WindowBatch:
    """Windows around one point of a thing in each picture, and what is true of them."""
    colours, heights = batch.colours.permute(0, 3, 1, 2).float() / 255, batch.heights.float() / 1e3
    middles, rows = _middles(batch.tried, heights, noise)
    cells = ((middles + 0.5) / CELL).long()
    nadirs = batch.lenses[:, :2]
    windows = radial_windows(colours, middles, nadirs, SIDE, turns, mirrors)
    seen = radial_windows(heights[:, None], middles, nadirs, SIDE, turns, mirrors)[:, 0]
    each = torch.arange(len(cells), device=cells.device)
    fits = batch.fits[each, :, cells[:, 1], cells[:, 0]].float().reshape(len(cells), -1, ROTATIONS) / AROUND
    radial = radial_angles(middles, nadirs, turns)
    return WindowBatch(
        windows,
        leans(middles, nadirs, batch.lenses[:, 2]),
        _way(radial, mirrors) * (rows[:, TriedGrasp.ANGLE] - radial) * ROTATIONS / math.pi,
        rows[:, TriedGrasp.LEVEL].clamp(min=0).long(),
        rows[:, TriedGrasp.HELD],
        turned_radially(fits, radial, mirrors),
        _highest(heights, middles.round().long()),
        F.avg_pool2d((seen > 0.5 * LOWEST).float(), COARSE),
        F.max_pool2d(seen, COARSER),
    )


def turned_radially(fits: Tensor, radial: Tensor, mirrors: Tensor | None = None) -> Tensor:
    """Answers (N, T, R) for image angles k pi / R, for angles k pi / R from directions `radial` (N,), rad, between the nearest
    two; mirrors (N,) bool: of windows that are mirrored across that direction."""
    rotations = torch.arange(fits.shape[2], device=fits.device)
    return at_turns(fits, radial[:, None] * len(rotations) / math.pi + _way(radial, mirrors)[:, None] * rotations)


def _way(radial: Tensor, mirrors: Tensor | None) -> Tensor:
    """(N,): the sense in which angles of windows count, beside that of pictures."""
    return torch.ones_like(radial) if mirrors is None else torch.where(mirrors, -1.0, 1.0)


def _middles(tried: Tensor, heights: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Middles (N, 2) of windows in pictures with heights (N, S, S), m, and one of the grasps (N, K, 5) that were tried there
    each, (N, 5), if any."""
    cells = _on_things(heights, noise)
    (count, tries), device = tried.shape[:2], tried.device
    rows = tried[torch.arange(count, device=device), torch.randint(tries, (count,), generator=noise, device=device)]
    there = torch.rand(count, generator=noise, device=device) < AT_TRIED
    there = there & (rows[:, TriedGrasp.HELD] != UNTRIED)
    rows = torch.where(there[:, None], rows, UNTRIED)
    return torch.where(there[:, None], rows[:, : TriedGrasp.ANGLE], (cells + 0.5) * CELL - 0.5), rows


def _on_things(heights: Tensor, noise: torch.Generator) -> Tensor:
    """(N, 2): columns and rows of cells of pictures (N, S, S) that show things near the pictures' middles; the middle one where
    none is hit."""
    count, side = heights.shape[:2]
    wander = (WANDER * torch.randn(count, TRIES, 2, generator=noise, device=heights.device)).round()
    wander[:, -1] = 0
    cells = (side // 2 + wander).clamp(MARGIN, side - 1 - MARGIN).long() // CELL
    each = torch.arange(count, device=heights.device)
    shown = F.max_pool2d(heights, CELL) > 0
    hit = shown[each[:, None], cells[..., 1], cells[..., 0]]
    first = torch.where(hit.any(1), hit.float().argmax(1), TRIES - 1)
    return cells[each, first]


def _highest(heights: Tensor, middles: Tensor) -> Tensor:
    """(N, 2): highest of heights (N, S, S) within each of REACHES around middles (N, 2)."""
    reach = round(max(REACHES) * PIXELS_PER_METRE)
    steps = torch.arange(-reach, reach + 1, device=heights.device)
    far = torch.hypot(*torch.meshgrid(steps.float(), steps.float(), indexing="ij"))
    last = heights.shape[1] - 1
    rows = (middles[:, 1, None, None] + steps[:, None]).clamp(0, last)
    columns = (middles[:, 0, None, None] + steps[None, :]).clamp(0, last)
    around = heights[torch.arange(len(heights), device=heights.device)[:, None, None], rows, columns]
    return torch.stack([(around * (far <= each * PIXELS_PER_METRE)).flatten(1).amax(1) for each in REACHES], 1)
