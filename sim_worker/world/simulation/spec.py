"""What a scene is made of, before it is built: enough to replay it."""

import math
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from grasp_client.contract import CameraIntrinsics, Pose, Variation
from shared.maps.orthographic import HALF
from sim_worker.world.simulation.bins import Bin
from sim_worker.world.simulation.shelves import Shelf


class SceneError(RuntimeError):
    """A scene could not be built, or was asked for what it does not have."""


SceneKind = Literal["single", "packed", "pile", "bin", "leaning", "shelf", "enclosed", "scattered", "case"]
"""leaning: a bin in which things lean against the walls; enclosed: one thing with others slid up to it; scattered: dropped one
by one over the table; case: as a preset file says."""
ProfileName = Literal["clean", "standard", "hard"]
Looks = Literal["plain", "photographic", "held-out"]
"""How a scene looks in colour: flat colours as the profile draws them, or patterns, shadows and a colour camera's doing;
held-out: with patterns and lights that nothing is learned from."""

DEFAULT_COUNTS: dict[SceneKind, tuple[int, int]] = {
    "single": (1, 1), "packed": (5, 5), "pile": (5, 5), "bin": (8, 8), "leaning": (5, 5), "shelf": (5, 5), "enclosed": (3, 8),
    "scattered": (10, 10),
}  # fmt: skip
"""Fewest and most objects of a scene whose spec names no count."""
DRAWN_COUNTS: dict[SceneKind, tuple[int, int]] = {"bin": (3, 12), "leaning": (3, 7), "shelf": (3, 7)}
"""The same where the size of what they lie in is drawn."""
WORKSPACE = 0.15
"""m: half side of the square around the origin in which the centre of an object must come to rest; larger in crowded scenes."""
GOAL_KINDS: frozenset[str] = frozenset({"enclosed", "scattered", "case"})
"""Kinds of scenes in which one thing is wanted, and pushing is allowed."""
GOAL_WORKSPACE = HALF
"""m: half side of the workspace of such scenes, as in published work on pushing to grasp; what leaves it is lost."""
USUAL_SPAN = 0.072
"""m: largest `object_span` of scenes of the usual size; the workspace of another scene is as much larger or smaller."""
SMALL_SPAN = 0.025
"""Things of a lesser span, m, are made of primitives alone: Bullet keeps a skin round meshes."""
IN_SIGHT = 1.25
"""Times the workspace: so far an object that was moved is still there to be grasped, and the default camera sees it whole."""
CROWD = 12
"""A scene of more objects than this has a workspace whose area grows with their number."""
PIXELS_PER_METRE = 1600
"""Of half a workspace's side: the default camera's image is larger where the workspace is, at the same metres per pixel."""
BEYOND_SHELF = 0.06
"""m on every side of a shelf that the camera which looks into it sees."""


def square(most: int, scale: float = 1.0) -> tuple[float, float]:
    """Half sides (x, y), m, of the square around the origin in which the centres of up to `most` objects must lie."""
    half = scale * WORKSPACE * max(1.0, math.sqrt(most / CROWD))
    return half, half


def scale_of(object_span: tuple[float, float] | None) -> float:
    """By how much a scene of such objects is larger than the usual one."""
    return object_span[1] / USUAL_SPAN if object_span else 1.0


def _rigid(pose: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    TypeAdapter(Pose).validate_python([list(row) for row in pose])
    return pose


class CameraSpec(BaseModel):
    """A pinhole camera. Without `pose` it looks straight down at `aim` from `distance`, and a profile may tilt it about `aim`.

    The default sees about 0.40 m x 0.40 m of the table, 1.7 mm per pixel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(240, ge=16, le=4096, description="pixels")
    height: int = Field(240, ge=16, le=4096, description="pixels")
    focal: float = Field(420.0, gt=0, description="focal length along u, pixels")
    focal_v: float | None = Field(None, gt=0, description="focal length along v, pixels; none: as along u")
    centre: tuple[float, float] | None = Field(None, description="principal point (u, v), pixels; none: the image's middle")
    distance: float = Field(0.70, gt=0.1, le=5, description="from the aim point, m")
    lean: tuple[float, float] | None = Field(
        None, description="angle from straight down about `aim` and its direction, rad; none: as the profile draws it"
    )
    aim: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="point of the base frame that the optical axis meets, m"
    )
    pose: Annotated[tuple[tuple[float, ...], ...], AfterValidator(_rigid)] | None = Field(
        None, description="4x4, camera frame to base frame: anywhere, in place of distance and aim"
    )

    @property
    def intrinsics(self) -> CameraIntrinsics:
        u, v = self.centre or ((self.width - 1) / 2, (self.height - 1) / 2)
        return CameraIntrinsics(fx=self.focal, fy=self.focal_v or self.focal, cx=u, cy=v)


def table_of(kind: SceneKind, most: int, scale: float) -> tuple[float, float]:
    """Half sides (x, y), m, of the workspace of a kind without a bin."""
    return (scale * GOAL_WORKSPACE, scale * GOAL_WORKSPACE) if kind in GOAL_KINDS else square(most, scale)


def _camera_over(data: dict[str, Any]) -> CameraSpec:
    """The default camera of a spec's other fields: it sees a third more than the workspace on every side, or part of a bin, or
    stands before a shelf."""
    if shelf := shelf_of(data["seed"], data["kind"]):
        focal = CameraSpec.model_fields["focal"].default
        width, height = (math.ceil((side + 2 * BEYOND_SHELF) * focal / shelf.distance) for side in shelf.spread)
        return CameraSpec(width=width, height=height, distance=shelf.distance, lean=(shelf.lean, shelf.azimuth), aim=shelf.aim)
    tote = bin_of(data["seed"], data["kind"], data["bin_size"])
    most = _most(data["kind"], data["count"], data["objects"])
    half = tote.extent if tote else table_of(data["kind"], most, scale_of(data["object_span"]))
    view = tote.view if tote else 1.0
    width, height = (math.ceil(view * PIXELS_PER_METRE * max(each, WORKSPACE)) for each in half)
    return CameraSpec(width=width, height=height)


def bin_of(seed: int, kind: SceneKind, size: tuple[float, float, float] | None) -> Bin | None:
    """The bin of a scene of that kind: of the size asked for, about the origin, or drawn."""
    if kind not in ("bin", "leaning"):
        return None
    return Bin(size) if size else Bin.draw(random_stream(seed, "bin"))


def shelf_of(seed: int, kind: SceneKind) -> Shelf | None:
    """The shelf of a scene of that kind."""
    return Shelf.draw(random_stream(seed, "shelf")) if kind == "shelf" else None


def random_stream(seed: int, *stream: str | int) -> np.random.Generator:
    """An independent random stream of a seed for each name."""
    return np.random.default_rng([seed, *(zlib.crc32(part.encode()) if isinstance(part, str) else part for part in stream)])


def _most(kind: SceneKind, count: int | None, objects: tuple[str, ...] | None) -> int:
    return len(objects) if objects else count or DEFAULT_COUNTS.get(kind, (1, 1))[1]


class SceneSpec(BaseModel):
    """A scene to build. Equal specs give equal scenes, images and outcomes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(ge=0, le=2**63 - 1)
    kind: SceneKind = "single"
    object_set: str = Field(
        "train",
        description="train, validation, test, random, random-test, household, curved, procedural, blocks, clutter or folder",
    )
    profile: ProfileName = "clean"
    count: int | None = Field(None, ge=1, le=30, description="objects; none: the usual number for the kind")
    objects_dir: Path | None = Field(None, description="URDF, OBJ or STL files for the object set `folder`")
    objects: tuple[str, ...] | None = Field(None, description="exactly these objects, by name, instead of a draw from the set")
    object_span: tuple[float, float] | None = Field(
        None, description="m: each object is scaled so that the middle one of its sides is drawn between these"
    )
    vary: tuple[Variation, ...] = Field((), description="what is drawn by the seed besides: hands, cameras, sides")
    looks: Looks = Field("plain", description="of colour pictures; shapes and outcomes are the same in all")
    upright: bool = Field(False, description="objects are dropped as they are modelled, turned about the vertical alone")
    bin_size: tuple[float, float, float] | None = Field(
        None,
        description="inner length (x), width (y) and wall height, m, of a bin about the origin, for `bin` and `leaning`; none: "
        "size, place, thickness of the walls and tilt of the camera are drawn",
    )
    case: Path | None = Field(None, description="preset file, for the kind `case`")
    camera: CameraSpec = Field(default_factory=_camera_over, description="none: from above, over the whole workspace")

    @model_validator(mode="after")
    def _case_names_its_file(self) -> "SceneSpec":
        if (self.kind == "case") != (self.case is not None):
            raise ValueError(f"expected a preset file with the kind `case` and with no other, got {self.kind} and {self.case}")
        return self

    @property
    def bin(self) -> Bin | None:
        """The one that the objects lie in, for the kinds `bin` and `leaning`."""
        return bin_of(self.seed, self.kind, self.bin_size)

    @property
    def shelf(self) -> Shelf | None:
        """The one that the objects stand in, for the kind `shelf`."""
        return shelf_of(self.seed, self.kind)

    @property
    def scale(self) -> float:
        """By how much the scene is larger than the usual one: distances between objects grow with them."""
        return scale_of(self.object_span)

    @property
    def workspace(self) -> tuple[float, float]:
        """Half sides (x, y), m, of the rectangle around the origin in which the centre of every object must come to rest."""
        place = self.bin or self.shelf
        return place.extent if place else table_of(self.kind, _most(self.kind, self.count, self.objects), self.scale)

    def holds(self, x: float, y: float, scale: float = 1.0) -> bool:
        """Whether a centre at (x, y), m, lies in the bin, the shelf or the workspace, its sides stretched by `scale`."""
        place, half = self.bin or self.shelf, self.workspace
        return place.holds(np.array([x, y]), scale) if place else abs(x) < scale * half[0] and abs(y) < scale * half[1]

    def random(self, *stream: str | int) -> np.random.Generator:
        """An independent random stream of this seed for each name: a draw more in one does not shift another."""
        return random_stream(self.seed, *stream)
