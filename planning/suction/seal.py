"""How a cup would lie on what is seen at N places: the plane under it, how far the surface departs from it, where it ends."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from planning.scene.scene import OUTSIDE, PlanningScene
from planning.suction.candidates import SuctionCandidates
from shared.features.cup_load import heaviest_held, to_middle
from shared.grasp_poses import CupPose

STEP = 0.0035
"""Distance of the samples under a cup in a first look, m."""
CLOSE_STEP = 0.002
"""The same in a close look, m: a cell of the map."""
ROUNDS = 2
"""Times that the plane is fitted in a first look: the cup's outline on the map follows its tilt."""
CLOSE_ROUNDS = 3
"""The same in a close look."""
RIDGE = (1e-3, 0.0, 0.0, 1e-7, 0.0, 1e-7)
"""Added to the sums of the fit, so that cups without a reading have a plane, too."""
OUTLIER = 0.003
"""Departure, m, at which a sample counts half as much for the plane: edges and flying pixels must not tilt it."""
DROP = 0.005
"""A sample this far off the plane is not under the lip, m."""
SHARE_OF_RISE = 0.6
"""On low things this share of their height over the table takes its place, so that the table is not taken for the thing."""
LEAST_DROP = 0.0025
"""At least so much, m: less is noise."""
INSIDE = 0.004
"""The end of the surface is looked for from this far inside the rim, m."""
BEYOND = 0.012
"""To this far beyond it, m."""
PACE = 0.00075
"""In such steps, m."""
NEAREST = 3
"""The margin is the mean of so many of the nearest ends of the surface: one reading may err."""
MOVE = 0.004
"""Farthest that a contact is moved at once towards the middle between the ends of its surface, m."""
AROUND = 1.5
"""Radii of the cup within which roughness is measured: under a small cup alone noise hides it."""
SENSOR = 0.75
"""Share of the table's noise that a smooth surface shows there."""
LEVEL, LEVEL_SHARE = 0.024, 0.5
"""A cup stands on what leaves the picture where that does so at most so far below the cup, m, and at least at this share of its
height over the table: structures are followed on levels up to 12 mm apart, and few are level."""
RIM = 24
STIFFEST = 1e-4
"""A lip takes up at least so much, m."""
DOME = 2.0
"""What bulges into the cup may do so by so many times what the lip takes up."""
PARTS = 8
"""Parts of the cup's outer ring whose mean departure is taken."""


@dataclass(frozen=True)
class Disc:
    """Sample positions in the plane of a cup, m.

    along, across: (S,), the last RIM of them evenly on the rim. parts: (PARTS + 1, S), which samples make a part of the outer
    ring, or the middle. bend: (RIM + 1, 3), departure from the best plane of the rim, there and in the centre, of a surface
    with unit coefficients of a^2, a b and b^2.
    """

    along: Tensor
    across: Tensor
    parts: Tensor
    bend: Tensor


@lru_cache(maxsize=16)
def disc(radius: float, close: bool, device: torch.device) -> Disc:
    """Samples under a cup of a radius, m: as dense as STEP or CLOSE_STEP, but never denser than it takes."""
    step = max(CLOSE_STEP if close else STEP, radius / 8)
    rings = max(2, round(radius / step))
    polar = [(0.0, 0.0)]
    for ring in range(1, rings):
        count = max(6, round(2 * math.pi * ring))
        polar += [(radius * ring / rings, 2 * math.pi * (k + 0.5 * ring) / count) for k in range(count)]
    polar += [(radius, 2 * math.pi * k / RIM) for k in range(RIM)]
    distance, angle = torch.tensor(polar).unbind(1)
    along, across = distance * torch.cos(angle), distance * torch.sin(angle)
    outer = distance > 0.55 * radius
    sector = torch.floor(angle / (2 * math.pi) * PARTS + 1e-4).long() % PARTS
    parts = torch.stack([*(outer & (sector == k) for k in range(PARTS)), ~outer]).float()
    a, b = torch.cat([along[-RIM:], along[:1]]), torch.cat([across[-RIM:], across[:1]])
    flat, bent = torch.stack([a, b, torch.ones_like(a)], 1), torch.stack([a * a, a * b, b * b], 1)
    bend = bent - flat @ torch.linalg.lstsq(flat[:RIM], bent[:RIM]).solution
    return Disc(*(values.to(device) for values in (along, across, parts, bend)))


def lay_cups(scene: PlanningScene, x: Tensor, y: Tensor, close: bool) -> SuctionCandidates:
    """The request's cups laid on what is seen at map x, y (N,). The ends of the surface are only looked for when `close`."""
    gripper = scene.gripper
    radius, (give, _) = gripper.cup_radius, gripper.lip
    samples = disc(radius, close, scene.device)
    pose = _fit(scene, samples, x, y, CLOSE_ROUNDS if close else ROUNDS)
    departure, known = _departure(scene, pose, samples.along, samples.across)
    rise = pose.height - scene.table_at(pose.x, pose.y)
    near = departure.abs() < _drop(rise)[:, None]
    held = (known & near).float()
    # What lies beyond an edge is no part of the surface: it would bend the fit and is counted as lost instead.
    weighted = departure * held
    in_part = held @ samples.parts.T
    mean = (weighted @ samples.parts.T) / in_part.clamp(min=1)
    ends = surface_ends(scene, radius, pose) if close else torch.full((len(x), RIM), radius, device=scene.device)
    lean_x, lean_y = to_middle(scene.map, pose)
    return SuctionCandidates(
        pose=pose,
        curved=_curved(samples, weighted, held) / max(give, STIFFEST),
        uneven=torch.where(in_part > 0, mean.abs(), DROP).amax(1),
        rough=_rough(scene, disc(AROUND * radius, close, scene.device), x, y) / max(give, STIFFEST),
        ends=ends,
        margin=ends.topk(NEAREST, dim=1, largest=False).values.mean(1) - radius,
        lean_x=lean_x,
        lean_y=lean_y,
        heaviest=heaviest_held(gripper, torch.hypot(lean_x, lean_y)),
        rise=rise,
        unseen=1 - known[:, -RIM:].float().mean(1),
        lost=(known & ~near).float().mean(1),
        truncated=_truncated(scene, pose, rise),
        score=torch.zeros_like(x),
    )


def _truncated(scene: PlanningScene, pose: CupPose, rise: Tensor) -> Tensor:
    """Whether what cups (N,) that rise so far over the table, m, stand on reaches out of view."""
    [level] = scene.sample(pose.x, pose.y, scene.truncated_to)
    least = torch.maximum(rise - LEVEL, LEVEL_SHARE * rise)
    return (level > 0) & (level >= least)  # 0: nothing of what is there leaves the picture


def _fit(scene: PlanningScene, samples: Disc, x: Tensor, y: Tensor, rounds: int) -> CupPose:
    """The plane of least squares under each cup, with what lies far from it weighed down."""
    a, b = samples.along, samples.across
    squares = torch.stack([torch.ones_like(a), a, b, a * a, a * b, b * b], 1)
    [height] = scene.sample(x, y, scene.upper_bound)
    pose = CupPose(x, y, height, torch.zeros_like(x), torch.zeros_like(x))
    for turn in range(rounds):
        first, second = pose.tangents()
        departure, known = _departure(scene, pose, a, b, upright=False)
        # At first nothing is known of the slope: what is far from the centre's height is another thing, or a steep side.
        weight = known / (1 + (departure / (OUTLIER if turn else 4 * OUTLIER)) ** 2)
        n, sa, sb, saa, sab, sbb = (weight @ squares + squares.new_tensor(RIDGE)).unbind(1)
        normal = torch.stack([n, sa, sb, sa, saa, sab, sb, sab, sbb], 1).reshape(-1, 3, 3)
        level, along, across = torch.linalg.solve(normal, (weight * departure) @ squares[:, :3]).unbind(1)
        # From slopes along the tangents to slopes along map x and y.
        scale = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
        steeper_x = (along * second[:, 1] - across * first[:, 1]) / scale
        steeper_y = (across * first[:, 0] - along * second[:, 0]) / scale
        pose = CupPose(x, y, pose.height + level, pose.slope_x + steeper_x, pose.slope_y + steeper_y)
    return pose


def _departure(
    scene: PlanningScene, pose: CupPose, along: Tensor, across: Tensor, upright: bool = True
) -> tuple[Tensor, Tensor]:
    """How far (N, S) what is seen lies out of the plane of each cup, across it or upright, m, and where there is a reading."""
    x, y = pose.offsets(along, across)
    [seen] = scene.sample(x, y, scene.seen)
    known = seen > OUTSIDE
    departure = torch.where(known, seen - pose.plane(x, y), 0.0)
    return (departure * pose.normal()[:, 2:] if upright else departure), known


def _curved(samples: Disc, weighted: Tensor, held: Tensor) -> Tensor:
    """Greatest departure (N,) of a smooth surface through the held samples from a plane on the rim, or a part of how far its
    centre bulges beyond the rim, m.

    weighted: departures (N, S) of the samples that are held (N, S), else 0.
    """
    a, b = samples.along, samples.across
    scale = a.abs().max()
    design = torch.stack([torch.ones_like(a), a / scale, b / scale, (a / scale) ** 2, a * b / scale**2, (b / scale) ** 2], 1)
    squares = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    normal = (held @ squares).reshape(-1, 6, 6) + 1e-3 * torch.eye(6, device=a.device)
    # A quadratic through the held samples; its second-order part is what no plane and no tilt of the cup takes away.
    found: Tensor = torch.linalg.solve(normal, weighted @ design)
    bends: Tensor = found[:, 3:] / scale**2 @ samples.bend.T
    return torch.maximum(bends[:, :RIM].abs().amax(1), bends[:, RIM] / DOME)


def _rough(scene: PlanningScene, samples: Disc, x: Tensor, y: Tensor) -> Tensor:
    """Root mean square departure (N,) of what is seen under and around each cup from a plane of its own, less noise, m."""
    pose = _fit(scene, samples, x, y, ROUNDS)
    departure, known = _departure(scene, pose, samples.along, samples.across)
    drop = _drop(pose.height - scene.table_at(pose.x, pose.y))[:, None]
    held = (known & (departure.abs() < drop)).float()
    mean = (held * departure**2).sum(1) / held.sum(1).clamp(min=1)
    # Variances add: what the sensor alone would show is taken off, and the rest is the surface's.
    return (mean - (SENSOR * scene.map.table_noise) ** 2).clamp(min=0).sqrt()


def _drop(rise: Tensor) -> Tensor:
    """Departure (N,) from the plane at which a surface that rises so high over the table (N,) has ended, m."""
    return (SHARE_OF_RISE * rise).clamp(LEAST_DROP, DROP)


def surface_ends(scene: PlanningScene, radius: float, pose: CupPose) -> Tensor:
    """How far (N, RIM) the surface goes on from each contact in RIM directions, m: at least to INSIDE the rim, at most to
    BEYOND it."""
    angle = _rim_angles(scene.device)
    steps = torch.arange(radius - min(INSIDE, radius / 2), radius + BEYOND, PACE, device=scene.device)
    along, across = steps * torch.cos(angle)[:, None], steps * torch.sin(angle)[:, None]
    x, y = pose.offsets(along.reshape(-1), across.reshape(-1))
    departure = (_between(scene, x, y) - pose.plane(x, y)) * pose.normal()[:, 2:]
    drop = _drop(pose.height - scene.table_at(pose.x, pose.y))
    on = (departure.abs() < drop[:, None]) & scene.sample(x, y, scene.known)[0]
    count = torch.cumprod(on.reshape(len(pose.x), RIM, len(steps)).int(), 2).sum(2)
    return steps[0] + PACE * (count - 0.5)


def centred(radius: float, cups: SuctionCandidates) -> tuple[Tensor, Tensor]:
    """Map x, y (N,) of contacts moved away from the ends of the surface that lie nearer than the others."""
    angle = _rim_angles(cups.x.device)
    tight = (radius + BEYOND / 2 - cups.ends).clamp(min=0)
    share = 2 / (tight > 0).sum(1).clamp(min=RIM // 4)
    along, across = -share * (tight @ torch.cos(angle)), -share * (tight @ torch.sin(angle))
    first, second = cups.pose.tangents()
    move = along[:, None] * first[:, :2] + across[:, None] * second[:, :2]
    move = move * (MOVE / torch.linalg.norm(move, dim=1, keepdim=True).clamp(min=MOVE))
    return cups.x + move[:, 0], cups.y + move[:, 1]


def _rim_angles(device: torch.device) -> Tensor:
    return 2 * math.pi * torch.arange(RIM, device=device) / RIM


def _between(scene: PlanningScene, x: Tensor, y: Tensor) -> Tensor:
    """Heights at map x, y (any shape), interpolated between cells: ends of surfaces lie between them."""
    rows, columns = scene.upper_bound.shape
    column, row = (x - scene.map.corner[0]) / scene.map.resolution, (y - scene.map.corner[1]) / scene.map.resolution
    grid = torch.stack([(2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1], -1)[None]
    return F.grid_sample(scene.upper_bound[None, None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
