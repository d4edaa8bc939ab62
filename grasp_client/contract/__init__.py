"""The wire: what clients, server, workers and trainer say to each other.

Units are metres, radians, seconds and kilograms; `_ms` fields are milliseconds. A pixel is `(u, v)` = (column, row) with
integer values at pixel centres. The camera frame is optical (x right, y down, z forward). A pose is a 4x4 homogeneous
matrix as row-major nested lists that maps grasp-frame points into the named frame.

Jaw grasp frame: origin midway between the outermost ends of the two fingertips at closing, x the closing axis, z the
approach direction (towards the object), y = z x x. Suction grasp frame: origin at the contact point, z into the surface.
"""

from __future__ import annotations

import math
import time
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = "1"
RIGID_TOLERANCE = 1e-3
MOST_FAILED = 64
"""Failed grasps that a request may name."""

REJECTION_REASONS = ("no_depth", "border", "too_wide", "collision", "below_table", "low_quality")
"""Filters that every planner counts; a planner may add reasons of its own (`region`, `segmask`, `too_near`, ...)."""


def _rigid(matrix: list[list[float]]) -> list[list[float]]:
    pose = np.asarray(matrix, dtype=float)
    if pose.shape != (4, 4):
        raise ValueError(f"expected a 4x4 homogeneous matrix as nested row-major lists, got shape {pose.shape}")
    if not np.isfinite(pose).all():
        raise ValueError("expected finite numbers in the 4x4 matrix, got NaN or infinity")
    rotation = pose[:3, :3]
    if not np.allclose(pose[3], (0, 0, 0, 1), atol=RIGID_TOLERANCE):
        raise ValueError(f"expected the last row to be [0, 0, 0, 1], got {pose[3].tolist()} (is the matrix transposed?)")
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=RIGID_TOLERANCE) or np.linalg.det(rotation) < 0:
        raise ValueError(
            "expected a rigid pose: the upper-left 3x3 must be a right-handed rotation (orthonormal rows, determinant +1), "
            f"got determinant {np.linalg.det(rotation):.4f}"
        )
    return matrix


Row = Annotated[list[float], Field(min_length=4, max_length=4)]
Pose = Annotated[list[Row], Field(min_length=4, max_length=4), AfterValidator(_rigid)]
Pixel = Annotated[list[float], Field(min_length=2, max_length=2)]
UnboundedPixel = Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=2, max_length=2)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
GraspKind = Literal["parallel_jaw", "suction"]
ContactRule = Literal["strict", "allowed"]
Failure = Literal["missed", "slipped", "collision", "unreachable"]


class ApiModel(BaseModel):
    """Base of everything on the wire: unknown fields are refused, numbers must be finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class CameraIntrinsics(ApiModel):
    """Pinhole intrinsics of the sent image, in pixels: X = (u - cx) z / fx, Y = (v - cy) z / fy."""

    fx: float = Field(gt=0, le=1e6, description="focal length along u, pixels")
    fy: float = Field(gt=0, le=1e6, description="focal length along v, pixels")
    cx: float = Field(ge=-1e5, le=1e5, description="principal point u, pixels")
    cy: float = Field(ge=-1e5, le=1e5, description="principal point v, pixels")


class Gripper(ApiModel):
    """The hand that will execute the grasp. Defaults are those of the Franka Panda hand.

    In the grasp frame: a finger spans `finger_thickness` along x (outside the opening), `finger_width` along y and
    `finger_depth` along -z from the tip to the palm; the palm spans `palm_width` along x and `palm_thickness` along y.
    """

    kind: GraspKind = "parallel_jaw"
    max_width: float = Field(0.08, gt=0, le=0.5, description="largest opening, inner face to inner face, m")
    min_width: float = Field(0.0, ge=0, le=0.5, description="smallest object that can be held, m")
    finger_width: float = Field(0.02, gt=0, le=0.2, description="extent of a finger across the closing axis (y), m")
    finger_thickness: float = Field(0.01, gt=0, le=0.1, description="extent of a finger along the closing axis (x), m")
    finger_depth: float = Field(0.053, gt=0, le=0.5, description="length of a finger from palm to tip (z), m")
    palm_width: float = Field(0.204, gt=0, le=0.5, description="extent of the palm along the closing axis (x), m")
    palm_thickness: float = Field(0.063, gt=0, le=0.5, description="extent of the palm across the closing axis (y), m")
    cup_radius: float = Field(0.015, gt=0, le=0.1, description="radius of the suction cup, m")
    tcp_offset: float = Field(
        0.0, ge=-0.5, le=0.5, description="distance of the robot's tool frame behind the tips, along -z, m"
    )

    @model_validator(mode="after")
    def _widths_in_order(self) -> Gripper:
        if self.min_width >= self.max_width:
            raise ValueError(f"expected min_width < max_width, got {self.min_width} >= {self.max_width} (metres)")
        if self.kind == "parallel_jaw" and self.max_width + 2 * self.finger_thickness > 0.6:
            raise ValueError("expected max_width plus both fingers to be at most 0.6 m: are the sizes in metres?")
        return self


class FailedGrasp(ApiModel):
    """A grasp that was tried without success, as it lies in the image that is sent. Without `angle` it counts for every angle,
    without `depth` it is taken to be as far away as what it is compared with, without `quality` it counts as one of 0.9."""

    center_px: UnboundedPixel = Field(description="(u, v), inside the image or not")
    angle: float | None = Field(None, ge=-10, le=10, description="of the closing axis from +u towards +v, rad")
    depth: float | None = Field(None, gt=0, le=100, description="z of the grasp origin along the optical axis, m")
    quality: Probability | None = Field(None, description="what it promised: the more, the more its failure tells")


class PlanRequest(ApiModel):
    """Options of `POST /predict_grasp`; every one is optional."""

    camera: CameraIntrinsics | None = Field(None, description="needed for any metric answer")
    camera_pose: Pose | None = Field(None, description="camera frame to robot base frame (z up), 4x4")
    table_depth: float | None = Field(None, gt=0, le=100, description="distance camera to table along the optical axis, m")
    depth_scale: float = Field(0.001, gt=0, le=1, description="metres per unit of an integer depth image")
    planner: str = Field("auto", min_length=1, max_length=64, description="`auto` or a name from GET /planners")
    gripper: Gripper = Field(default_factory=lambda: Gripper())
    n_grasps: int = Field(10, ge=1, le=1000)
    min_quality: Probability = 0.0
    region: Annotated[list[float], Field(min_length=4, max_length=4)] | None = Field(
        None, description="[u0, v0, u1, v1], pixels, inclusive: grasp centres only inside it"
    )
    model_version: int | None = Field(None, ge=1, description="registry version to use instead of the champion")
    return_heatmap: bool = False
    failed: Annotated[list[FailedGrasp], Field(max_length=MOST_FAILED)] = Field(
        [], description="grasps tried in this scene without success: those near them lose quality, most at the same object"
    )
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="makes sampling planners repeatable")

    @model_validator(mode="after")
    def _region_in_order(self) -> PlanRequest:
        if self.region and not (self.region[0] < self.region[2] and self.region[1] < self.region[3]):
            raise ValueError(f"region: expected [u0, v0, u1, v1] with u0 < u1 and v0 < v1, got {self.region}")
        return self


class Grasp(ApiModel):
    """One ranked grasp. Metric fields are null when the request had no camera."""

    kind: GraspKind
    quality: Probability
    center_px: Pixel
    angle: float = Field(gt=-math.pi / 2 - 1e-9, le=math.pi / 2 + 1e-9)
    depth: float | None = Field(None, description="z of the grasp origin along the optical axis, m")
    width: float | None = Field(None, description="opening to take before approaching, m")
    width_px: float | None = None
    pose_camera: list[list[float]] | None = None
    pose_base: list[list[float]] | None = None
    pregrasp_camera: list[list[float]] | None = Field(None, description="the same pose, retreated along -z")
    pregrasp_base: list[list[float]] | None = None


class ModelRef(ApiModel):
    name: str
    version: int


class GraspPlan(ApiModel):
    """Reply of `POST /predict_grasp`: grasps best first; an empty list is an answer, and `rejections` says why."""

    request_id: str = ""
    planner: str
    model: ModelRef | None = None
    grasps: list[Grasp] = Field(default_factory=list)
    rejections: dict[str, int] = Field(default_factory=dict)
    timings_ms: dict[str, float] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list, description="what looked odd about the input, in words")
    heatmap_png: str | None = Field(None, description="base64 PNG overlay, when return_heatmap was set")


class PlannerEntry(ApiModel):
    """A planner that can be asked for. `inputs`: of depth, rgb; `grippers`: of parallel_jaw, suction."""

    name: str
    description: str
    inputs: list[str]
    grippers: list[str]
    model: str | None
    version: int | None
    ready: bool


class Planners(ApiModel):
    """Reply of `GET /planners`."""

    planners: list[PlannerEntry]


class ModelPointers(ApiModel):
    """A model's versions and which of them plays what part; `serving` is the one that answers, `failure` why it is not the
    champion."""

    name: str
    versions: list[int]
    champion: int | None
    candidate: int | None
    previous: int | None
    serving: int | None
    failure: str | None = None


class ModelEntry(ModelPointers):
    """Reply of `GET /models/{name}`: also the cards of its versions, newest first, and those whose cards cannot be read."""

    cards: list[dict] = Field(default_factory=list)
    broken: list[int] = Field(default_factory=list)


class Models(ApiModel):
    """Reply of `GET /models`."""

    models: list[ModelPointers]


class OutcomeAccepted(ApiModel):
    """Reply of `POST /outcomes`."""

    id: str


class ErrorDetail(ApiModel):
    code: str
    message: str
    detail: list[dict] | dict | str | None = None


class ErrorReply(ApiModel):
    error: ErrorDetail


class ImageSpec(ApiModel):
    """How to read one binary image field of an outcome: C-order, little-endian; metres = value * scale for depth."""

    shape: list[int] = Field(min_length=2, max_length=3)
    dtype: Literal["uint8", "uint16", "float32"]
    scale: float = Field(1.0, gt=0)


class SceneRef(ApiModel):
    """Enough to rebuild the scene of a simulated attempt."""

    seed: int
    kind: str = "single"
    object_set: str = "train"
    profile: str = "clean"
    objects: list[str] = Field(default_factory=list)
    ticket: str | None = None


class OutcomeMeta(ApiModel):
    """What happened to one executed grasp, with what is needed to learn from it and to replay it."""

    camera: CameraIntrinsics | None = None
    camera_pose: Pose | None = None
    gripper: Gripper = Field(default_factory=lambda: Gripper())
    grasp: Grasp
    rank: int = Field(0, ge=0)
    planner: str
    model: ModelRef | None = None
    quality: Probability = 0.0
    exploration: bool = False
    probability: Probability = Field(1.0, description="probability with which the executed grasp was chosen")
    success: bool
    contact_rule: ContactRule = "strict"
    failure: Failure | None = None
    scene: SceneRef | None = None
    source: str = Field("", description="simulator or robot id")
    request_id: str | None = None
    time: float = Field(default_factory=time.time, description="end of the attempt, seconds since the epoch")
    duration: float | None = Field(None, ge=0, description="of the attempt, seconds")
    details: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    images: dict[str, ImageSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _failure_names_itself(self) -> OutcomeMeta:
        if self.success and self.failure:
            raise ValueError(f"a successful outcome carries no failure, got {self.failure!r}")
        if not self.success and not self.failure:
            raise ValueError("an unsuccessful outcome names its failure: missed, slipped, collision or unreachable")
        return self


class Outcome(BaseModel):
    """An outcome as it travels: id, meta and the bytes of each image named in `meta.images`."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    id: str = Field(min_length=1, max_length=200, description="<worker>:<episode>:<attempt>, the same on every retry")
    meta: OutcomeMeta
    images: dict[str, np.ndarray] = Field(default_factory=dict)


class SceneRequest(ApiModel):
    """A request of the trainer to the workers: run this scene."""

    id: str
    seed: int = Field(ge=0)
    kind: str = "single"
    object_set: str = "train"
    profile: str = "standard"
    purpose: Literal["collect", "judge"] = "collect"
    planner: str = "auto"
    model_version: int | None = None
    exploration: Probability = 0.0
    attempts: int = Field(1, ge=1, le=1000)
