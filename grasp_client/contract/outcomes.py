"""What happened to an executed grasp, as robots and workers report it."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from grasp_client.contract.base import ApiModel, Pose, Probability
from grasp_client.contract.camera import CameraIntrinsics
from grasp_client.contract.gripper import Gripper
from grasp_client.contract.plans import Grasp, ModelRef

SCHEMA_VERSION = "1"
"""Of stream entries and shards."""
ContactRule = Literal["strict", "allowed"]
Failure = Literal["missed", "slipped", "collision", "unreachable"]


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


class OutcomeAccepted(ApiModel):
    """Reply of `POST /outcomes`."""

    id: str
