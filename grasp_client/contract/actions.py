"""Acting step by step: what a policy is asked in every step, and the movement that it answers."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from grasp_client.contract.base import LARGEST_VERSION, ApiModel, Label, Name, Pose
from grasp_client.contract.camera import CameraIntrinsics
from grasp_client.contract.plans import ModelRef

Vector = Annotated[list[float], Field(min_length=3, max_length=3)]


class ActRequest(ApiModel):
    """Options of `POST /act`: of one picture of the camera on the hand.

    The hand's frame is the grasp frame of its open jaw: origin at the tool point, x the closing axis, z the approach.
    """

    camera: CameraIntrinsics = Field(description="of the sent picture, which is brought to what the policy's camera sees")
    hand_camera_pose: Pose = Field(description="camera frame to hand frame, 4x4: the policy's own mount within 10 mm and 4°")
    episode: Label | None = Field(
        None, description="a name of this attempt: one version answers all its steps, whatever is promoted meanwhile"
    )
    policy: Name = Field("auto", description="model of the registry; auto: the one for depth, or for colours, as sent")
    model_version: int | None = Field(None, ge=1, le=LARGEST_VERSION, description="registry version in place of the champion")
    depth_scale: float = Field(0.001, ge=1e-6, le=1, description="metres per unit of an integer depth image")


class Action(ApiModel):
    """Reply of `POST /act`: move the hand by `delta` and `yaw`, then close and lift if it says so."""

    request_id: str = ""
    delta: Vector = Field(description="movement in the hand's frame, m")
    yaw: float = Field(description="turn about the hand's z, rad")
    close: bool = Field(description="close the hand after this movement, and lift: the episode ends")
    position: Vector = Field(description="where the policy sees its object, in the hand's frame before the movement, m")
    steps: int = Field(ge=1, description="of an episode: with this one the hand closes, whatever `close` says")
    model: ModelRef
    timings_ms: dict[str, float] = Field(default_factory=dict)

    @property
    def pose(self) -> list[list[float]]:
        """The movement as a pose, 4x4: the hand's present pose times this is where it shall go."""
        s, c = math.sin(self.yaw), math.cos(self.yaw)
        x, y, z = self.delta
        return [[c, -s, 0.0, x], [s, c, 0.0, y], [0.0, 0.0, 1.0, z], [0.0, 0.0, 0.0, 1.0]]
