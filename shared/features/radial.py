"""Windows of pictures, each turned so that what stands upright in its middle leans along +u.

Seen from above, an upright edge runs away from the nadir, the pixel that looks straight down, and the farther the higher it
is. A network that sees all edges run the same way need not learn every direction.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def radial_windows(
    pictures: Tensor, middles: Tensor, nadirs: Tensor, side: int, turns: Tensor | None = None, mirrors: Tensor | None = None
) -> Tensor:
    """Windows (N, C, side, side) of pictures (N, C, H, W) around pixels `middles` (N, 2) as (u, v), at the pictures' scale;
    beyond a picture its rim repeats.

    nadirs: (N, 2) as (u, v), of each picture. turns (N,): rad, turned by so much more. mirrors (N,) bool: across +u.
    """
    angles = radial_angles(middles, nadirs, turns)
    across = torch.ones_like(angles) if mirrors is None else torch.where(mirrors, -1.0, 1.0)
    cos, sin = angles.cos(), angles.sin()
    axes = torch.stack([torch.stack([cos, -sin * across], 1), torch.stack([sin, cos * across], 1)], 1)
    size = middles.new_tensor([pictures.shape[3], pictures.shape[2]])
    theta = torch.cat([axes * side / size[:, None], ((2 * middles + 1) / size - 1)[:, :, None]], 2)
    grid = F.affine_grid(theta, [len(pictures), 1, side, side], align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def radial_angles(middles: Tensor, nadirs: Tensor, turns: Tensor | None = None) -> Tensor:
    """(N,): image angle of a window's +u, rad from the picture's +u towards its +v."""
    away = middles - nadirs
    return torch.atan2(away[:, 1], away[:, 0]) + (0.0 if turns is None else turns)


def leans(middles: Tensor, nadirs: Tensor, focal: Tensor | float) -> Tensor:
    """(N,): pixels by which an upright edge leans away from the nadir, per pixel that it would be long from the side."""
    result: Tensor = (middles - nadirs).norm(dim=1) / focal
    return result
