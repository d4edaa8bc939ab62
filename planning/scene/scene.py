"""What a planner looks at: the height map as tensors, what is under points of it, and what a part of a gripper would hit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import CameraIntrinsics, Gripper, PlanRequest
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.limits import NOISE_DEVIATIONS
from planning.scene.bin import SeenBin, with_walls
from planning.scene.bin_detection import bin_of
from planning.scene.hand_units import LEAST_SCALE, gripper_in, map_in, unit_of_scale
from planning.scene.levels import APART, SHARE, with_levels
from planning.scene.support_plane import guessed_pose
from planning.scene.truncation import truncation_height
from shared.features.push import goal_cells
from shared.maps.heightmap import AROUND, HeightMap, hand_scale, project
from shared.maps.merging import merged
from shared.maps.resampling import Readings

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
TABLE_NOISE = 0.004
"""Readings of the table that rise less than this are its noise, however much there is of it, m: things are thicker."""
LENGTH = 0.30
"""Straight approach that must be free, m."""
GROWTH = 1.25
"""By what the distance of samples along the approach grows: what leans out far only meets things that are tall, and those are
wide."""
VIEWS_APART = 0.010
"""Views of one table that lie farther apart than this do not fit each other, m: noise is less, and hands miss by so much."""
NO_AGREEMENT = (
    "no_agreement: {how}: is one `camera_pose` inverted, old, or of another camera? Expected each camera's frame (x right, y "
    "down, z forward) mapped to one base frame"
)


@dataclass(frozen=True)
class Lattice:
    """Where layers (H, W) are looked up beside a place: columns `along` (A,) an axis and rows `across` (B, 1) it, m."""

    along: Tensor
    across: Tensor
    layers: tuple[Tensor, ...]


@dataclass(frozen=True)
class Face:
    """Samples of the leading face of one part of N grippers, in the map: x, y, height (N, ...), m.

    layer_at: heights (H, W) that may not be entered by what is drawn back so far from where the part comes to rest, m. start,
    step: the face is drawn back by `start` and more, in steps that begin with `step`, m. beside: as for `PlanningScene.sample`,
    for faces whose samples form rows and columns.
    """

    x: Tensor
    y: Tensor
    height: Tensor
    layer_at: Callable[[float], Tensor]
    start: float
    step: float
    beside: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class PlanningScene:
    """One observation seen from above. Without a camera in the request sizes are only plausible, and replies carry pixels only.

    Layers, each (H, W): upper_bound: greatest possible height, m, that of the table where a reading rises no higher than its
    noise. known: bool, where a reading fell. dilated: `upper_bound`
    dilated by DILATION cells. seen: height where it is known, else OUTSIDE, m: what a hand can count on to hold. obstacle:
    `upper_bound`, and infinity where a finger may not go because anything may be there, m. top: greatest seen height within
    TOP cells along both axes, m. near_unobserved: bool, cells within NEAR_UNOBSERVED cells of unobserved ones along both axes.
    truncated_to: greatest height over the table at which what rises there reaches out of view, m; see `truncation_height`.
    above_table: height over the table where known, else 0, m. goal: bool, cells of the one thing that is wanted; None where
    anything is. table: slopes a, b of the table's height a x + b y; levels: what other surfaces lie over it, None without any.
    restricted: the request asks for a part of the scene only. bin: the one to plan inside of; its walls, and what lies beyond
    them, are in the way but never `seen`, nor `above_table`. inside: bool (H, W), cells between its walls; None without one.
    warnings: about what was seen, `kind: text`. unit: the map and `gripper` are in units of so many metres. pad: of `gripper`.
    """

    map: HeightMap
    camera: CameraIntrinsics
    camera_pose: np.ndarray | None
    observation: Observation
    request: PlanRequest
    device: torch.device
    bin: SeenBin | None = None
    warnings: tuple[str, ...] = ()
    unit: float = 1.0
    inside: np.ndarray | None = field(init=False, repr=False)
    upper_bound: Tensor = field(init=False, repr=False)
    known: Tensor = field(init=False, repr=False)
    dilated: Tensor = field(init=False, repr=False)
    seen: Tensor = field(init=False, repr=False)
    obstacle: Tensor = field(init=False, repr=False)
    top: Tensor = field(init=False, repr=False)
    near_unobserved: Tensor = field(init=False, repr=False)
    truncated_to: Tensor = field(init=False, repr=False)
    above_table: Tensor = field(init=False, repr=False)
    goal: Tensor | None = field(init=False, repr=False)
    levels: Tensor | None = field(init=False, repr=False)
    table: tuple[float, float] = field(init=False)
    restricted: bool = field(init=False)
    gripper: Gripper = field(init=False)
    pad: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        known, upper_bound, unobserved = self.map.known, self.map.upper_bound, self.map.unobserved
        inside, followed, things = None, self.map, known
        if self.bin:
            upper_bound, inside = with_walls(self.map, self.bin)
            things = known & inside
            followed = replace(self.map, upper_bound=np.where(inside, upper_bound, self.map.table_map))
        seen, above = (
            np.where(things, upper_bound - low, np.float32(none)) for low, none in ((0, OUTSIDE), (self.map.table_map, 0))
        )
        # Cells keep their highest reading: noise alone would hold the tips so far above the table that thin things slip.
        noise = min(NOISE_DEVIATIONS * self.map.table_noise, TABLE_NOISE)
        upper_bound = np.where(things & (above < noise), self.map.table_map, upper_bound)
        depth, cup = self.observation.depth, self.request.gripper.kind == "suction"
        assert depth is not None
        layers = {
            "upper_bound": upper_bound,
            "known": known,
            "dilated": dilate_round(upper_bound, DILATION),
            "seen": seen,
            "obstacle": np.where(unobserved, np.float32(np.inf), upper_bound),
            "top": cv2.dilate(seen, _square(TOP)),
            "near_unobserved": cv2.dilate(unobserved.astype(np.uint8), _square(NEAR_UNOBSERVED)) > 0,
            "truncated_to": truncation_height(followed, self.camera, None if self.observation.views else depth, cup),
            "above_table": above,
        }
        self.__dict__.update({name: torch.from_numpy(layer).to(self.device) for name, layer in layers.items()})
        mask = self.observation.goal
        goal = None if mask is None else torch.from_numpy(goal_cells(self.map, self.camera, mask)).to(self.device)
        restricted = self.request.region is not None or self.observation.segmask is not None
        gripper = self.request.gripper if self.unit == 1 else gripper_in(self.request.gripper, self.unit)
        self.__dict__.update(table=tuple(self.map.table.tolist()), restricted=restricted, inside=inside, goal=goal)
        self.__dict__.update(gripper=gripper, pad=gripper.pad)
        levels = self.map.levels
        self.__dict__["levels"] = None if levels is None else torch.from_numpy(levels).to(self.device)

    def table_at(self, x: Tensor, y: Tensor, aside: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Height of the table at map x, y (N,), or so far aside of these, any shapes (..., N), m."""
        if aside is not None:
            x, y = x + aside[0], y + aside[1]
        height = self.table[0] * x + self.table[1] * y
        return height if self.levels is None else height + self.sample(x, y, self.levels)[0]

    def to_camera(self, points: Tensor) -> Tensor:
        """Map frame to camera frame, float64, where map points (N, 3) lie: (4, 4), or (N, 4, 4) where that is not the same."""
        return torch.as_tensor(self.map.pose, dtype=torch.float64, device=points.device)

    def sample(self, x: Tensor, y: Tensor, *layers: Tensor, beside: tuple[Tensor, Tensor] | None = None) -> list[Tensor]:
        """Nearest cell of layers (H, W) at map x, y (any shape); beyond the map its edge goes on, which is unobserved.

        beside: added to x and to y; a lattice is cheapest as its columns in x, y and its rows here, which broadcast.
        """
        rows, columns = self.map.height.shape
        scale, (left, top) = 1 / self.map.resolution, self.map.corner
        column, row = x * scale + (0.5 - left * scale), y * scale + (0.5 - top * scale)
        if beside is not None:
            column, row = column + beside[0] * scale, row + beside[1] * scale
        row = row.clamp_(0, rows - 0.5).to(torch.int32)
        cells = row.mul_(columns).add_(column.clamp_(0, columns - 0.5).to(torch.int32))
        flat = cells.reshape(-1)
        return [layer.reshape(-1).index_select(0, flat).reshape(cells.shape) for layer in layers]

    def under_hands(
        self, x: Tensor, y: Tensor, axis: tuple[Tensor, Tensor], feet: Tensor, *lattices: Lattice
    ) -> tuple[Tensor, list[list[Tensor]]]:
        """Height of the table (F, N), m, under points `feet` (F, 1), m, along an axis from map x, y (N,), and the layers of
        lattices along it, each (N, B, A). axis: cosine and sine (N,) of its angle from map x to map y."""
        table = self.table_at(x, y, (feet * axis[0], feet * axis[1]))
        cos, sin = axis[0][:, None, None], axis[1][:, None, None]
        x, y = x[:, None, None], y[:, None, None]
        found = [
            self.sample(x + at.along * cos, y + at.along * sin, *at.layers, beside=(-at.across * sin, at.across * cos))
            for at in lattices
        ]
        return table, found

    def overlap(self, approach: Tensor, *faces: Face) -> list[Tensor]:
        """How far (N,) the highest thing in the way of each of these parts of N grippers reaches into it, m; negative: the
        least free height. approach (N, 3): the way that they come.

        The map holds one height per cell with everything below it filled. A part that comes straight down can only be entered
        from below, so its leading face alone tells, and the steps collapse to the first. One that leans enters cells beside it
        on its way: its face is followed until all of it is above whatever stands on the map.
        """
        straight = not bool(approach[:, :2].any())
        top = torch.inf if straight else float(self.upper_bound.max())
        return [self._overlap(approach, face, straight, top) for face in faces]

    def _overlap(self, approach: Tensor, face: Face, straight: bool, top: float) -> Tensor:
        """top: no thing on the map is higher, m."""
        ax, ay, az = (axis.reshape(-1, *(1,) * (face.x.ndim - 1)) for axis in approach.unbind(1))
        around = tuple(range(1, face.x.ndim))
        deepest = torch.full_like(approach[:, 0], -torch.inf)
        back, step = face.start, face.step
        while True:
            level = face.height + back * az
            [found] = self.sample(face.x - back * ax, face.y - back * ay, face.layer_at(back), beside=face.beside)
            deepest = torch.maximum(deepest, (found - level).amax(around))
            back, step = back + step, step * GROWTH
            if straight or back > LENGTH or bool((level > top).all()):
                return deepest


def observe_scene(
    observation: Observation,
    request: PlanRequest,
    device: torch.device,
    for_jaw: bool = False,
    gravity: np.ndarray | None = None,
    readings: Readings | None = None,
) -> PlanningScene:
    """The scene of an observation with depth, in metres. for_jaw: what lies round the things alone, outside of bins with all
    surfaces that carry them, and for a small jaw in units of its size.

    gravity: (4, 4), camera to a frame whose z points up, of a request that does not tell. readings: of the image, if they are
    there already. Raises PlannerError 422 when there is nothing to see.
    """
    if observation.depth is None:
        raise PlannerError(422, "missing_image", "this planner needs depth; send a depth image")
    pose = None if request.camera_pose is None else np.asarray(request.camera_pose, dtype=float)
    camera = request.camera or assumed_camera(*observation.depth.shape)
    # Without a pose the image plane stands for level, unless the picture shows a table that it is far from.
    if gravity is None:
        gravity = guessed_pose(observation.depth, camera) if pose is None and request.camera else pose
    scale = scale_of(request.gripper)
    try:
        around = AROUND * max(scale, 1.0) if for_jaw and not observation.views else None
        focus = _focus(observation, request)
        height_map = project(observation.depth, camera, gravity, request.table_depth, None, focus, scale, readings, around)
    except ValueError as error:
        raise PlannerError(422, "unusable_view", str(error)) from error
    apart = 0.0
    if observation.views:
        height_map, apart = merged(height_map, observation.views, scale)
    bin, warnings = bin_of(height_map, pose, request)
    if apart > VIEWS_APART and request.checks == "on":
        told = f"where several views see the same place they tell heights {1e3 * apart:.0f} mm apart"
        how = told if math.isfinite(apart) else "a view shows hardly anything of what the first one shows"
        warnings = (*warnings, NO_AGREEMENT.format(how=how))
    if for_jaw and bin is None and not observation.views and _off_the_table(height_map) > SHARE:
        height_map, told_levels = with_levels(height_map, request.gripper)
        warnings = (*warnings, *(told_levels if request.checks == "on" else ()))
    unit = 1.0
    if for_jaw and bin is None and scale < LEAST_SCALE:
        unit = unit_of_scale(scale)
        height_map = map_in(height_map, unit)
    return PlanningScene(height_map, camera, pose, observation, request, device, bin, warnings, unit)


def _off_the_table(map: HeightMap) -> float:
    """Share of a map whose height is known and not the table's: without some no further surface needs to be looked for."""
    return float((map.known & (np.abs(map.height - map.table_map) > APART)).mean())


def scale_of(gripper: Gripper) -> float:
    """Of a hand, for the cells of its map."""
    return hand_scale(gripper) if gripper.kind == "parallel_jaw" else 1.0


def _focus(observation: Observation, request: PlanRequest) -> Sequence[float] | None:
    """Pixels [u0, v0, u1, v1] in which grasps are wanted; None where that is everywhere."""
    mask = observation.graspable
    if request.region is not None or (mask is None and request.point is None):
        return request.region
    if mask is None:
        assert request.point is not None
        return [*request.point, *request.point]
    left, top, columns, rows = cv2.boundingRect(mask.astype(np.uint8))
    return (left, top, left + columns, top + rows) if columns else None


def assumed_camera(rows: int, columns: int) -> CameraIntrinsics:
    """A common depth camera with an image of this size."""
    focal = TYPICAL_FOCAL * columns
    return CameraIntrinsics(fx=focal, fy=focal, cx=(columns - 1) / 2, cy=(rows - 1) / 2)


def dilate_round(layer: np.ndarray, radius: int) -> np.ndarray:
    """Greatest value within an octagon of the radius in cells, (H, W) float32; nothing is beyond the edge."""
    inner = round(radius * 0.4)
    layer = cv2.dilate(layer, _square(inner))
    return cv2.dilate(layer, CROSS, iterations=radius - inner) if radius > inner else layer


def _square(radius: int) -> np.ndarray:
    return np.ones((2 * radius + 1,) * 2, np.uint8)
