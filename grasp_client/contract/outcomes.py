"""What came of an executed action, as robots and workers tell it.

Every kind of action has a meta model of its own, registered in `OUTCOME_KINDS`. What all kinds share is `OutcomeMeta`:
queue and shards need no more to carry an outcome.
"""

from __future__ import annotations

import math
import time
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from grasp_client.contract.base import ApiModel, Label, Name, Pose, Probability, Seed, Variation
from grasp_client.contract.camera import CameraIntrinsics
from grasp_client.contract.gripper import Gripper
from grasp_client.contract.plans import Grasp, ModelRef
from grasp_client.contract.pushes import Push

SCHEMA_VERSION = "1"
"""Of stream entries. What may be missing in one (as `kind`, which is then a grasp) is no new version."""
LONGEST_SIDE = 65_536
"""Pixels along one side of an image."""
LARGEST_DETAIL = 1e15
LONGEST_SCENE = 4000
"""Letters of a scene that is rendered again."""
EpochSeconds = Annotated[float, Field(ge=0, le=1e10)]
Detail = (
    Annotated[float, Field(ge=-LARGEST_DETAIL, le=LARGEST_DETAIL)]
    | Annotated[int, Field(ge=-LARGEST_DETAIL, le=LARGEST_DETAIL)]
    | Annotated[str, Field(max_length=1000)]
    | bool
    | None
)
ContactRule = Literal["strict", "allowed"]
Failure = Literal["missed", "slipped", "collision", "unreachable"]


class ImageSpec(ApiModel):
    """How to read one binary image field of an outcome: C-order, little-endian; metres = value * scale for depth."""

    shape: list[Annotated[int, Field(ge=1, le=LONGEST_SIDE)]] = Field(min_length=2, max_length=3)
    dtype: Literal["uint8", "uint16", "float32"]
    scale: float = Field(1.0, ge=1e-9, le=1e3)

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class SceneRef(ApiModel):
    """Enough to rebuild the scene of a simulated attempt. ticket, nonce: of the scene request that asked for it."""

    seed: Seed
    kind: Name = "single"
    object_set: Name = "train"
    profile: Name = "clean"
    vary: list[Variation] = Field(default_factory=list, max_length=3)
    objects: list[Annotated[str, Field(max_length=200)]] = Field(default_factory=list, max_length=1000)
    ticket: Label | None = None
    nonce: Name | None = None


class AttemptInfo(ApiModel):
    """Of an action of any kind: where it was tried, by whom, and how it was chosen."""

    camera: CameraIntrinsics | None = None
    camera_pose: Pose | None = None
    model: ModelRef | None = None
    exploration: bool = False
    probability: Probability = Field(1.0, description="probability with which the executed action was chosen")
    scene: SceneRef | None = None
    source: Label = Field("", description="who reported it: a worker's id, over HTTP the name of the API key, else `local`")
    robot: Label = Field("", description="what a robot calls itself")
    group: Label | None = Field(None, description="the same for all attempts at one scene, which are kept together")
    request_id: str | None = Field(None, max_length=160, description="of the plan that the action is from")
    duration: float | None = Field(None, ge=0, le=1e6, description="of the attempt, seconds")
    details: dict[Name, Detail] = Field(default_factory=dict, max_length=200)


class EpisodeEnd(ApiModel):
    """How an episode of getting one thing ended. model: whose values chose every push of it; none where any move was drawn to
    explore, so that it tells of no version."""

    done: bool = Field(description="the thing was lifted")
    motions: int = Field(ge=1, le=1000)
    model: ModelRef | None = None


class GraspResult(ApiModel):
    """What came of a grasp. rank: its place in the plan, 0 the best."""

    rank: int = Field(0, ge=0, le=1000, description="which grasp of the plan was executed, 0 the best")
    success: bool
    contact_rule: ContactRule = "strict"
    failure: Failure | None = None

    @model_validator(mode="after")
    def _failure_names_itself(self) -> GraspResult:
        if self.success and self.failure:
            raise ValueError(f"a successful outcome carries no failure, got {self.failure!r}")
        if not self.success and not self.failure:
            raise ValueError("an unsuccessful outcome names its failure: missed, slipped, collision or unreachable")
        return self


class ViewReplay(ApiModel):
    """What the images of a simulated attempt are rendered from again, in place of them.

    simulator: what rendered them. scene: for it, as JSON. checksums: of each image's bytes (BLAKE2b of 16 bytes, hexadecimal).
    """

    simulator: Name
    scene: str = Field(max_length=LONGEST_SCENE)
    checksums: dict[Name, Annotated[str, Field(pattern="^[0-9a-f]{32}$")]] = Field(min_length=1, max_length=8)


class OutcomeMeta(AttemptInfo):
    """What an outcome of any kind tells of itself, with what is needed to replay it. `kind` is the name of a subclass.

    served: the inference server itself made the plan of `request_id`, so that planner, model, quality, action and image are
    its own record and nobody's word.
    """

    kind: ClassVar[str] = ""

    planner: Name
    served: bool = False
    gripper: Gripper = Field(default_factory=lambda: Gripper())
    time: EpochSeconds = Field(default_factory=time.time, description="end of the attempt, seconds since the epoch")
    images: dict[str, ImageSpec] = Field(default_factory=dict)
    episode: EpisodeEnd | None = Field(None, description="of the last action of an episode of getting one thing")
    replay: ViewReplay | None = Field(None, description="of a simulated attempt that is kept without its images")


class GraspMeta(OutcomeMeta, GraspResult):
    """An executed grasp."""

    kind = "grasp"

    grasp: Grasp
    quality: Probability = 0.0


class PushMeta(OutcomeMeta):
    """An executed push, and how well the goal (the thing that is wanted) can be grasped after it.

    quality_before, quality_after: of the goal's best grasp. moved: how far the goal went, m. lost: it left the workspace.
    blocked: the hand could not come down, so nothing happened.
    """

    kind = "push"

    push: Push
    goal: str | None = Field(None, max_length=200, description="name of the goal in a simulated scene")
    quality_before: Probability
    quality_after: Probability
    moved: float = Field(ge=0, le=10, description="m")
    lost: bool = False
    blocked: bool = False


class UnknownMeta(OutcomeMeta):
    """Of a kind that this version does not know: what all kinds share, and the rest as it came."""

    model_config = ConfigDict(extra="allow")


OUTCOME_KINDS: dict[str, type[OutcomeMeta]] = {model.kind: model for model in (GraspMeta, PushMeta)}
Meta = TypeVar("Meta", bound=OutcomeMeta)


def meta_model(kind: str) -> type[OutcomeMeta]:
    """The meta model of a kind; `UnknownMeta` for one that is not registered."""
    return OUTCOME_KINDS.get(kind, UnknownMeta)


class Outcome(BaseModel, Generic[Meta]):
    """An outcome in memory: id, meta and each image named in `meta.images`."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    id: str = Field(min_length=1, max_length=300, description="<worker>:<episode>:<attempt>, the same on every retry")
    meta: Meta
    images: dict[str, np.ndarray] = Field(default_factory=dict)


class OutcomeReport(AttemptInfo, GraspResult):
    """What a robot says of a grasp that it has tried: an outcome's meta and its id.

    With the `request_id` of a recent plan, `success` (and `failure`) is enough: the server fills in what it remembers.
    """

    id: str | None = Field(
        None, min_length=1, max_length=200, description="the same on every retry; default: made of source, request_id, rank"
    )
    source: Label = Field("", description="older word for `robot`")
    grasp: Grasp | None = None
    gripper: Gripper | None = None
    planner: Name | None = None
    quality: Probability | None = None
    time: EpochSeconds | None = Field(None, description="end of the attempt, seconds since the epoch; default: now")


class OutcomeAccepted(ApiModel):
    """Reply of `POST /outcomes`. learnable: what is accepted can be learned from; else it is refused."""

    id: str
    learnable: bool = True
