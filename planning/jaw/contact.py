"""What the fingers of N hands would touch: where, how flat, how steep, and how near to the middle of the object."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from planning.jaw.candidates import JawCandidates
from planning.limits import FINGER_GAP, PADDING
from planning.scene.scene import OUTSIDE, Lattice, PlanningScene
from shared.grasp_poses import HandPose

EXTRA = (0.006, 0.004, 0.002, 0.0)
"""Clearance added on both sides, the first for which there is room, m: a pose is never exact."""
ROUNDING = 1e-6
"""An opening may be this much too wide: positions are sums of steps, m."""
RISE = 0.008
"""Height over which the slant of the gripped sides is measured, m."""
MOST_TURN = 0.2
"""Most that a hand is turned to fit, rad: a bin of the survey."""
SAME_THICKNESS = 0.0003
"""Thicknesses that differ by less are the same, m."""
LOOK = (
    *(0.002 * step for step in range(1, 11)),
    *(0.005 * step for step in range(5, 13)),
    *(0.010 * step for step in range(7, 21)),
)
"""How far off the ends of the object are looked for across the closing axis, m: finely near to the hand, up to 0.2."""
SAME_SIDE = 0.0075
"""A line whose contacts lie this near to the first ones is on the same sides of the object, m."""
FLUSH = 0.0035
"""A line whose contact lies this near to the first contact touches the finger as well, m. Like SAME_SIDE it lies between the
steps of the samples, so that rounding does not decide."""


@dataclass(frozen=True)
class Fingers:
    """Seen heights under N hands: `heights` (N, lines, positions), m, far below where nothing was read.

    along, across: sample positions in the hand, m, those along `step` apart. inner: the lines that a finger covers. swept: the
    first so many, under a padded finger. tip: height of the tips (N,). What rises more than FINGER_GAP above them is held.
    """

    step: float
    along: Tensor
    across: Tensor
    inner: slice
    swept: int
    heights: Tensor
    tip: Tensor


@dataclass(frozen=True)
class Room:
    """Where N fingers fit, by the distance of their inner faces from the centre: right, left (N,), the nearest, m; free_right,
    free_left (N, distances), whether a finger fits at each multiple of the samples' distance. inner (N,): from where on outside
    their inner faces fingers must be free, m: less than 0 where they are padded."""

    right: Tensor
    left: Tensor
    free_right: Tensor
    free_left: Tensor
    inner: Tensor


def grip(
    scene: PlanningScene,
    fingers: Fingers,
    room: Room,
    pose: tuple[Tensor, Tensor, Tensor],
    axis: tuple[Tensor, Tensor],
    source: Tensor,
) -> JawCandidates:
    """Hands, moved to the middle of what they hold and opened around it.

    pose: x, y, angle (N,) of the centres. axis: cosine and sine of the angles. source: (N,) numbers that the hands keep. Those
    that hold nothing seen are left out.
    """
    (x, y, angle), (cos, sin) = pose, axis
    inner = fingers.inner
    # Where fingers are not padded, what they hold may reach as far as what must be free.
    reach = room.inner.clamp(min=0.0)
    between = (fingers.along < (room.right + reach)[:, None]) & (fingers.along > -(room.left + reach)[:, None])
    inside = torch.minimum(fingers.heights, torch.where(between, torch.inf, OUTSIDE)[:, None, :])
    solid = inside > (fingers.tip + FINGER_GAP)[:, None, None]
    ends = _ends(solid, fingers.along)
    held = torch.isfinite(ends[0])
    touched = held[:, inner]
    # A closing finger stops at the farthest point under its own width; the lines beside it only show the shape.
    right, left = (torch.where(touched, side[:, inner], -1.0).amax(1) for side in (ends[0], -ends[1]))
    fine, lines = room.inner > 0, slice(0, fingers.swept)
    if bool(fine.any()):
        # Where every millimetre of the opening is needed it counts to a fraction of a cell, and what lies just beside a finger
        # may be under it.
        right, left = (
            torch.where(fine, _mean_contact(side[:, lines], held[:, lines], scene.map.resolution), first)
            for side, first in ((ends[0], right), (-ends[1], left))
        )
    middle, half, clearance = _open(room, fingers.step, right, left, scene.gripper.max_width)
    gaps = (right[:, None] - ends[0][:, inner], left[:, None] + ends[1][:, inner])
    shares = [((gap < FLUSH) & touched).float().mean(1) for gap in gaps]
    x, y = x + middle * cos, y + middle * sin
    tops = inside[:, inner].amax(2)
    slant, steep = _slant(fingers, inside, ends, tops.amax(1).clamp(min=0.0))
    table, offset, known, truncated_to = _look_around(scene, (x, y), axis, fingers.tip + FINGER_GAP)
    rise = fingers.tip - table
    hands = JawCandidates(
        pose=HandPose.straight_down(x, y, fingers.tip, angle, 2 * half),
        grip=right + left + (fingers.along[1] - fingers.along[0]),
        overlap=_mean((tops - fingers.tip[:, None]).clamp(min=0.0), touched),
        lines=torch.minimum(*shares),
        flat=0.5 * torch.stack([_mean(gap.clamp(max=0.02), touched) for gap in gaps]).sum(0),
        hollow=_hollow(fingers.step, solid[:, inner], (ends[0][:, inner], ends[1][:, inner])),
        slant=slant,
        steep=steep,
        turn=_turn(right, left, ends, held, fingers.across),
        aside=(middle - 0.5 * (right - left)).abs(),
        offset=offset,
        clearance=clearance,
        inner=room.inner,
        score=torch.zeros_like(x),
        source=source,
        rise=rise,
        known=known,
        truncated=truncated_to >= rise,
        beyond=torch.zeros_like(rise),
    )
    some = touched.any(1)
    return hands if bool(some.all()) else hands.pick(some)


def _mean_contact(ends: Tensor, touched: Tensor, cell: float) -> Tensor:
    """How far (N,) what lies under a finger reaches: on the farthest lines (N, lines) that touch, the mean with those beside
    them that agree to a cell, m. A side lies between cells, and a line meets it a fraction of a cell too early or too late."""
    ends = torch.where(touched, ends, -torch.inf)
    beside = F.pad(ends, (1, 1), value=-torch.inf)
    total, count = torch.where(touched, ends, 0.0), torch.ones_like(ends)
    for neighbour in (beside[:, :-2], beside[:, 2:]):
        agrees = (neighbour - ends).abs() <= cell + ROUNDING
        total, count = total + torch.where(agrees, neighbour, 0.0), count + agrees
    return torch.where(touched, total / count, -1.0).amax(1)


def _open(room: Room, step: float, right: Tensor, left: Tensor, max_width: float) -> tuple[Tensor, Tensor, Tensor]:
    """Middle between the fingers along the closing axis (N,), half of the opening, and the free space beyond their padding.

    right, left: first contacts (N,). The fingers close on their middle with as much clearance as there is; where only the
    nearest padded faces fit, whatever the middle, they are taken. Fingers without room for padding open as far as they can, at
    least to the contacts: a hand that is wider than its gripper, or meets something, is refused later.
    """
    middle, padded, most = 0.5 * (right - left), room.inner < 0, max_width / 2
    contact = 0.5 * (right + left)
    # Both fingers are as far from the middle of what is held as the farther of the nearest faces, so that they touch together
    # and do not push it aside.
    nearest = torch.where(padded, torch.maximum(room.right - middle, room.left + middle), contact)
    half = nearest[:, None] + _clearances(right.device)
    half = torch.where(padded[:, None], half, torch.maximum(half.clamp(max=most), contact[:, None]))
    fits = 2 * half <= max_width + ROUNDING
    for side, face in ((room.free_right, half + middle[:, None]), (room.free_left, half - middle[:, None])):
        index = torch.ceil(face / step - 1e-3).to(torch.int64).clamp(0, side.shape[1] - 1)
        fits &= side.gather(1, index)
    some, widest = fits.any(1), fits.to(torch.uint8).argmax(1)  # the first that fits
    taken = half.gather(1, widest[:, None]).squeeze(1)
    fallback = torch.where(padded, (0.5 * (room.right + room.left)).clamp(max=most), contact)
    opening = torch.where(some, taken, fallback)
    free = torch.where(padded, torch.where(some, taken - nearest, 0.0), opening - contact - PADDING)
    return torch.where(some | ~padded, middle, 0.5 * (room.right - room.left)), opening, free


@lru_cache(maxsize=64)
def _clearances(device: torch.device) -> Tensor:
    return torch.tensor(EXTRA, device=device)


def _ends(solid: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """Right and left end (N, lines) of what is solid (N, lines, positions) between the fingers; infinite where nothing is."""
    # The greatest number of a solid position: of small integers, which takes a tenth of what it takes of the positions.
    number = torch.arange(1, len(along) + 1, dtype=torch.int16, device=along.device)
    nothing = along.new_full((1,), torch.inf)
    right, left = ((solid * order).amax(2).to(torch.int32) for order in (number, number.flip(0)))
    return torch.cat([nothing, along])[right], torch.cat([nothing, along.flip(0)])[left]


def _hollow(step: float, solid: Tensor, ends: tuple[Tensor, Tensor]) -> Tensor:
    """Share (N,) of the way between the ends (N, lines) of what is held that lies no higher than the tips: most of it where two
    things stand between the fingers. solid: what rises there (N, lines, positions), `step` m apart."""
    whole = torch.where(torch.isfinite(ends[0]), (ends[0] - ends[1]) / step + 1, 0.0)
    return (1 - solid.sum((1, 2)) / whole.sum(1).clamp(min=1)).clamp(0, 1)


def _slant(fingers: Fingers, inside: Tensor, ends: tuple[Tensor, Tensor], tallest: Tensor) -> tuple[Tensor, Tensor]:
    """Run over rise (N,) of the sides above the contacts: 0 for upright ones; and of the steeper side from the contacts to half
    of that height and to all of it the least: 0 beside ledges, rounds and whatever leans on one side alone.

    inside: heights between the fingers (N, lines, positions), of which the highest is `tallest` (N,); ends (N, lines) of what
    is held.
    """
    # Compared a little higher up, but below the top, where every thing ends.
    rise = (0.6 * (tallest - fingers.tip)).clamp(max=RISE)
    low = [end[:, fingers.inner] for end in ends]
    slant, steep = torch.ones_like(rise), torch.full_like(rise, torch.inf)
    for share in (0.5, 1.0):
        level = fingers.tip + FINGER_GAP + share * rise
        high = _ends(inside[:, fingers.inner] > level[:, None, None], fingers.along)
        both = torch.isfinite(low[0]) & torch.isfinite(high[0])
        runs = [_mean(run, both) / (share * rise).clamp(min=0.002) for run in (low[0] - high[0], high[1] - low[1])]
        slant = torch.where(both.any(1), 0.5 * (runs[0] + runs[1]), 1.0)
        steep = torch.minimum(steep, torch.minimum(*runs))
    return slant, steep


def _turn(right: Tensor, left: Tensor, ends: tuple[Tensor, Tensor], held: Tensor, across: Tensor) -> Tensor:
    """Angle (N,) by which the hand would turn for its fingers to lie flat: where the object is thinnest between them.

    right, left: first contacts (N,). ends, held: of what is held on each line (N, lines).

    A closing jaw turns an object to its thinnest, too. Angles of nearly the same thickness are averaged, so that rounds ask for
    no turn and coarse cells do not decide.
    """
    # Lines whose contacts jump lie on another side of the object, or on another object, and do not turn the hand.
    near = (right[:, None] - ends[0]).abs().maximum((left[:, None] + ends[1]).abs())
    followed = held & (near < SAME_SIDE)
    turns = _turns(across.device)
    one, other = (torch.where(followed, side, -1.0) for side in (ends[0], -ends[1]))
    sideways = turns[:, None] * across
    thickness = (one[:, None] + sideways).amax(2) + (other[:, None] - sideways).amax(2)
    # A soft minimum: among turns of equal thickness the mean, which for a round thing is none.
    weight = torch.softmax(-thickness / SAME_THICKNESS, 1)
    return (weight * turns).sum(1)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean over lines (N, lines) where a mask holds; 0 where it never does."""
    return torch.where(where, values, 0.0).sum(1) / where.sum(1).clamp(min=1)


def _look_around(
    scene: PlanningScene, centre: tuple[Tensor, Tensor], axis: tuple[Tensor, Tensor], level: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Height of the table under the centre (N,), m; where the middle of what is gripped lies across the closing axis (N,), seen
    from the hand, m; and at the centre whether there is a reading (N,), and to which height over the table what rises there
    reaches out of view (N,), m."""
    both, beside, place = _paces(level.device)
    count = len(place) // 2
    look = Lattice(both, beside, (scene.seen, scene.known, scene.truncated_to))
    across = -axis[1], axis[0]  # the axis a quarter turn on
    [table], [[seen, known, truncated_to]] = scene.under_hands(*centre, across, level.new_zeros(1, 1), look)
    solid = seen[..., :-1] > level[:, None, None]
    reach = torch.maximum(solid * LOOK[-1], place)  # how far it reaches before the first step that is not solid
    ahead, behind = reach[..., :count].amin(2).mean(1), reach[..., count:].amin(2).mean(1)
    return table, 0.5 * (ahead - behind), known[:, 1, -1], truncated_to[:, 1, -1]


@lru_cache
def _turns(device: torch.device) -> Tensor:
    """Turns that are tried, rad."""
    return torch.linspace(-MOST_TURN, MOST_TURN, 21, device=device)


@lru_cache
def _paces(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Steps across the closing axis ahead, behind and none (2 S + 1,), lines beside it, the second in the middle (3, 1), m, and
    how far what ends at each step reaches (2 S,), m."""
    step = torch.tensor(LOOK, device=device)
    beside = torch.tensor([0.004, 0.0, -0.004], device=device)[:, None]
    reach = step - 0.5 * step.diff(prepend=step.new_zeros(1))  # midway from the step before
    return torch.cat([step, -step, step.new_zeros(1)]), beside, reach.repeat(2)
