"""Pushes of a closed hand."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from grasp_client.contract.base import FARTHEST, LARGEST_VERSION, ApiModel, Pixel, Pose, Probability

SHORTEST, LONGEST = 0.01, 0.3
"""Of a push, m."""
Reach = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]


class Push(ApiModel):
    """One straight push: from its start to its end the closed hand keeps its height and its turn.

    The poses are those of the closed fingertips: z the approach, x the closing axis, y across x and z.
    """

    start_camera: Pose | None = None
    end_camera: Pose | None = None
    start_base: Pose | None = None
    end_base: Pose | None = None
    length: float = Field(ge=0, le=1, description="m")
    start_px: Pixel | None = None
    end_px: Pixel | None = None
    predicted_quality: Probability | None = Field(None, description="of the goal's best grasp after the push")
    gain: float | None = Field(None, ge=-1, le=1, description="predicted_quality less the quality of its best grasp now")

    @model_validator(mode="after")
    def _somewhere(self) -> Push:
        if not (self.start_camera and self.end_camera) and not (self.start_base and self.end_base):
            raise ValueError("expected where the push begins and ends: start_base and end_base, or both in the camera frame")
        return self


class PushOptions(ApiModel):
    """Which pushes may be proposed, and when a push is preferred to a grasp.

    `threshold`: with that of `dense` .96 of attempts at enclosed goals hold, with .75 .94 (docs/reports/2026-11-30-push.md).
    """

    min_length: float = Field(0.05, ge=SHORTEST, le=LONGEST, description="m")
    max_length: float = Field(0.13, ge=SHORTEST, le=LONGEST, description="m")
    workspace: list[Reach] | None = Field(
        None,
        min_length=4,
        max_length=4,
        description="[x0, y0, x1, y1] in the base frame, m: the goal is not pushed out of it; default: the table in view",
    )
    threshold: Probability = Field(0.85, description="quality from which on the goal is grasped")
    model_version: int | None = Field(
        None, ge=1, le=LARGEST_VERSION, description="registry version of the network that values pushes; default: the champion"
    )
    allow_clear: bool = Field(True, description="grasping a neighbour of the goal away is allowed")
    rule_below: Probability = Field(
        0.0, description="where the network promises no push this quality, the rule orders them: neighbours swept away first"
    )

    @model_validator(mode="after")
    def _in_order(self) -> PushOptions:
        if self.min_length > self.max_length:
            raise ValueError(f"expected min_length <= max_length, got {self.min_length:g} > {self.max_length:g} (metres)")
        if self.workspace and not (self.workspace[0] < self.workspace[2] and self.workspace[1] < self.workspace[3]):
            raise ValueError(f"expected [x0, y0, x1, y1] with x0 < x1 and y0 < y1, got {self.workspace}")
        return self
