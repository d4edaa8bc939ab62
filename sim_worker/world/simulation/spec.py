"""What a scene is made of, before it is built: enough to replay it."""

import math
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from grasp_client.contract import CameraIntrinsics, Pose


class SceneError(RuntimeError):
    """A scene could not be built, or was asked for what it does not have."""


SceneKind = Literal["single", "packed", "pile", "bin"]
ProfileName = Literal["clean", "standard", "hard"]

BIN_INNER = (0.36, 0.26, 0.05)
"""m: inner length (x), width (y) and wall height of a bin whose spec names no size. The walls are lower than a Panda finger is
long: over higher ones its palm, 204 mm wide, reaches only a strip in the middle."""
DEFAULT_COUNTS: dict[str, tuple[int, int]] = {"single": (1, 1), "packed": (5, 5), "pile": (5, 5), "bin": (8, 8)}
"""Fewest and most objects of a scene whose spec names no count."""
WORKSPACE = 0.15
"""m: half side of the square around the origin in which the centre of an object must come to rest; larger in crowded scenes."""
IN_SIGHT = 1.25
"""Of the workspace: so far the default camera sees an object whole, wherever a hand has pushed it."""
CROWD = 12
"""A scene of more objects than this has a workspace whose area grows with their number."""
PIXELS_PER_METRE = 1600
"""Of half a workspace's side: the default camera's image is larger where the workspace is, at the same metres per pixel."""


def workspace(kind: SceneKind, most: int, bin_size: tuple[float, float, float]) -> tuple[float, float]:
    """Half sides (x, y), m, of the rectangle around the origin in which the centres of up to `most` objects must lie."""
    if kind == "bin":
        return bin_size[0] / 2, bin_size[1] / 2
    half = WORKSPACE * max(1.0, math.sqrt(most / CROWD))
    return half, half


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


def _camera_over(data: dict[str, Any]) -> CameraSpec:
    """The default camera of a spec's other fields: it sees a third more than the workspace on every side."""
    half = workspace(data["kind"], _most(data["kind"], data["count"], data["objects"]), data["bin_size"])
    width, height = (math.ceil(PIXELS_PER_METRE * max(each, WORKSPACE)) for each in half)
    return CameraSpec(width=width, height=height)


def _most(kind: SceneKind, count: int | None, objects: tuple[str, ...] | None) -> int:
    return len(objects) if objects else count or DEFAULT_COUNTS[kind][1]


class SceneSpec(BaseModel):
    """A scene to build. Equal specs give equal scenes, images and outcomes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(ge=0, le=2**63 - 1)
    kind: SceneKind = "single"
    object_set: str = Field(
        "train",
        description="train, validation, test, random, random-test, household, curved, procedural or folder",
    )
    profile: ProfileName = "clean"
    count: int | None = Field(None, ge=1, le=30, description="objects; none: the usual number for the kind")
    objects_dir: Path | None = Field(None, description="URDF, OBJ or STL files for the object set `folder`")
    objects: tuple[str, ...] | None = Field(None, description="exactly these objects, by name, instead of a draw from the set")
    upright: bool = Field(False, description="objects are dropped as they are modelled, turned about the vertical alone")
    bin_size: tuple[float, float, float] = Field(
        BIN_INNER, description="inner length (x), width (y) and wall height of the bin of the kind `bin`, m"
    )
    camera: CameraSpec = Field(default_factory=_camera_over, description="none: from above, over the whole workspace")

    @property
    def workspace(self) -> tuple[float, float]:
        """Half sides (x, y), m, of the rectangle around the origin in which the centre of every object must come to rest."""
        return workspace(self.kind, _most(self.kind, self.count, self.objects), self.bin_size)

    @property
    def in_sight(self) -> tuple[float, float]:
        """Half sides (x, y), m, of the rectangle in which an object that was moved is still there to be grasped."""
        x, y = self.workspace
        return IN_SIGHT * x, IN_SIGHT * y

    def random(self, *stream: str | int) -> np.random.Generator:
        """An independent random stream of this seed for each name: a draw more in one does not shift another."""
        return np.random.default_rng(
            [self.seed, *(zlib.crc32(part.encode()) if isinstance(part, str) else part for part in stream)]
        )
