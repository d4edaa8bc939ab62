"""Pushes of a closed hand."""

from pydantic import Field

from grasp_client.contract.base import ApiModel, Pixel, Pose, Probability


class Push(ApiModel):
    """One straight push: from its start to its end the closed hand keeps its height and its turn.

    The poses are those of the closed fingertips: z the approach, y across x and z.
    """

    start_camera: Pose | None = None
    end_camera: Pose | None = None
    start_base: Pose
    end_base: Pose
    length: float = Field(ge=0, le=1, description="m")
    start_px: Pixel | None = None
    end_px: Pixel | None = None
    predicted_quality: Probability | None = Field(None, description="of the goal's best grasp after the push")
