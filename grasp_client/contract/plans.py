"""Ranked grasps, the reply to a planning request."""

import math

from pydantic import Field

from grasp_client.contract.base import (
    FARTHEST,
    LARGEST_PIXEL,
    LARGEST_VERSION,
    ApiModel,
    GraspKind,
    Name,
    Pixel,
    Pose,
    Probability,
)


class Grasp(ApiModel):
    """One ranked grasp. Metric fields are null when the request had no camera."""

    kind: GraspKind
    quality: Probability
    center_px: Pixel
    angle: float = Field(gt=-math.pi / 2 - 1e-9, le=math.pi / 2 + 1e-9)
    depth: float | None = Field(None, ge=-FARTHEST, le=FARTHEST, description="z of the grasp origin along the optical axis, m")
    width: float | None = Field(None, ge=0, le=1, description="opening to take before approaching, m")
    width_px: float | None = Field(None, ge=0, le=4 * LARGEST_PIXEL)
    pose_camera: Pose | None = None
    pose_base: Pose | None = None
    pregrasp_camera: Pose | None = Field(None, description="the same pose, retreated along -z")
    pregrasp_base: Pose | None = None


class ModelRef(ApiModel):
    name: Name
    version: int = Field(ge=0, le=LARGEST_VERSION)


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
