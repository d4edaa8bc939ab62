"""Ranked grasps, the reply to a planning request."""

import math
from typing import Literal

from pydantic import Field

from grasp_client.contract.base import (
    FARTHEST,
    LARGEST_PIXEL,
    LARGEST_VERSION,
    ApiModel,
    GraspKind,
    Name,
    Pixel,
    Point,
    Pose,
    Probability,
)
from grasp_client.contract.pushes import Push


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


HandPart = Literal["finger_left", "finger_right", "palm", "cup"]


class RefusedGrasp(Grasp):
    """A grasp that was refused, with what is in its way. `quality` is what geometry alone would promise of it, 0 where it would
    hold nothing; a jaw that nothing fits between is drawn open as wide as it goes."""

    reason: Name = Field(description="as in `rejections`")
    part: HandPart | None = Field(None, description="of the hand that meets something; finger_right lies along +x of the pose")
    obstacle_camera: Point | None = Field(None, description="where it does, m")
    obstacle_base: Point | None = None
    obstacle_px: Pixel | None = None


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
    refused: list[RefusedGrasp] | None = Field(
        None, description="with `explain`: refused grasps nearest to what was asked, those that lack least first"
    )
    heatmap_png: str | None = Field(None, description="base64 PNG overlay, when return_heatmap was set")


class ActionPlan(ApiModel):
    """Reply of `POST /predict_action`: what to do next to get the goal.

    `grasp`: execute `grasps[0]`, which holds the goal. `clear`: execute `clears[0]`, which lifts a neighbour away. `push`:
    execute `pushes[0]`. `none`: nothing was found; `reason` says why. What was not chosen is listed as far as it was looked
    for.
    """

    request_id: str = ""
    action: Literal["grasp", "push", "clear", "none"]
    reason: str | None = Field(None, description="of `none`, or of a grasp below the threshold")
    grasps: list[Grasp] = Field(default_factory=list, description="of the goal, best first")
    clears: list[Grasp] = Field(default_factory=list, description="of things next to it, best first")
    pushes: list[Push] = Field(default_factory=list, description="best first; looked for when `grasps` are not good enough")
    goal_quality: Probability = Field(description="of the goal's best grasp now, 0 without one")
    planner: Name = Field(description="who ordered the pushes: a model of the registry, or `rule`, which predicts nothing")
    grasp_planner: Name
    model: ModelRef | None = Field(None, description="whose predicted_quality the pushes have")
    grasp_model: ModelRef | None = None
    rejections: dict[str, int] = Field(default_factory=dict, description="of grasps of the goal")
    push_rejections: dict[str, int] = Field(default_factory=dict)
    timings_ms: dict[str, float] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
