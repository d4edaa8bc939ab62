"""Options of a planning request."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, model_validator

from grasp_client.contract.approaches import Approach
from grasp_client.contract.base import FARTHEST, LARGEST_VERSION, ApiModel, Coordinate, Pixel, Point, Pose, Probability, Seed
from grasp_client.contract.bins import Bin
from grasp_client.contract.camera import CameraIntrinsics
from grasp_client.contract.gripper import Gripper
from grasp_client.contract.pushes import PushOptions

MOST_FAILED = 64
MOST_PROPOSALS = 64
MOST_VIEWS = 4


def _in_order(region: list[float]) -> list[float]:
    u0, v0, u1, v1 = region
    if not (u0 < u1 and v0 < v1):
        raise ValueError(f"expected [u0, v0, u1, v1] with u0 < u1 and v0 < v1, got {region}")
    return region


Region = Annotated[list[Coordinate], Field(min_length=4, max_length=4), AfterValidator(_in_order)]

ToldBin = Annotated[
    Annotated[bool, Tag("seen")] | Annotated[Bin, Tag("placed")],
    Discriminator(lambda told: "placed" if isinstance(told, (dict, Bin)) else "seen"),
]


class FailedGrasp(ApiModel):
    """A grasp that was tried without success: its pose, or where it lies in the image that is sent. Without `angle` it counts
    for every angle, without `depth` it is taken to be as far away as what it is compared with, without `quality` it counts as
    one of 0.9. A pose says more than pixel, angle and depth, and is taken instead of them."""

    center_px: Pixel | None = Field(None, description="(u, v), inside the image or not")
    angle: float | None = Field(None, ge=-10, le=10, description="of the closing axis from +u towards +v, rad")
    depth: float | None = Field(None, ge=1e-3, le=FARTHEST, description="z of the grasp origin along the optical axis, m")
    pose_camera: Pose | None = Field(None, description="of the grasp in the sent image's camera frame, 4x4")
    pose_base: Pose | None = Field(None, description="of the grasp in the robot base frame, 4x4; used without pose_camera")
    quality: Probability | None = Field(None, description="predicted: the higher, the more its failure says")

    @model_validator(mode="after")
    def _somewhere(self) -> FailedGrasp:
        if self.center_px is None and self.pose_camera is None and self.pose_base is None:
            raise ValueError("expected where the failed grasp was: center_px, pose_camera or pose_base")
        return self


def _lacks(name: str, info: ValidationInfo) -> bool:
    """Whether neither the field, `camera` or `camera_pose`, nor the first view tells it; not where what was told is wrong."""
    return info.data.get(name, ...) is None and not info.data.get("views")


def _corners_have_a_frame(told: bool | Bin | None, info: ValidationInfo) -> bool | Bin | None:
    if isinstance(told, Bin) and _lacks("camera_pose", info):
        raise ValueError("corners in the base frame need `camera_pose`; without one send true, to have it looked for")
    return told


def _axis_has_a_frame(approach: Approach | None, info: ValidationInfo) -> Approach | None:
    if approach and approach.axis != "camera" and _lacks("camera_pose", info):
        raise ValueError('an axis in the base frame needs `camera_pose`; without one send "camera", the optical axis')
    return approach


def _arm_has_a_frame(reach: bool | None, info: ValidationInfo) -> bool | None:
    if reach and _lacks("camera_pose", info):
        raise ValueError("where the arm stands is told by `camera_pose`: send it, or leave `reach` out")
    return reach


class Proposal(ApiModel):
    """A grasp of another planner, which is to be corrected."""

    pose_camera: Pose | None = Field(None, description="in the sent image's camera frame, 4x4")
    pose_base: Pose | None = Field(None, description="in the robot base frame, 4x4; used without pose_camera")
    width: float | None = Field(None, ge=0, le=1, description="opening before approaching, m; none: as wide as the hand opens")

    @model_validator(mode="after")
    def _somewhere(self) -> Proposal:
        if self.pose_camera is None and self.pose_base is None:
            raise ValueError("expected where the proposed grasp is: pose_camera or pose_base")
        return self


def _poses_have_a_frame(failed: list[FailedGrasp], info: ValidationInfo) -> list[FailedGrasp]:
    for each in failed:
        if (each.pose_camera or each.pose_base) and _lacks("camera", info):
            raise ValueError("a pose is metric: send `camera`, or name the failed grasp by center_px")
    return _bases_are_told(failed, info)


Posed = TypeVar("Posed", FailedGrasp, Proposal)


def _bases_are_told(grasps: list[Posed], info: ValidationInfo) -> list[Posed]:
    for each in grasps:
        if each.pose_base and not each.pose_camera and _lacks("camera_pose", info):
            raise ValueError("pose_base needs `camera_pose`, or send pose_camera")
    return grasps


class RegisteredView(ApiModel):
    """Where one of several depth images was taken."""

    camera: CameraIntrinsics
    camera_pose: Pose = Field(description="camera frame to robot base frame (z up), 4x4")


class PlanRequest(ApiModel):
    """Options of `POST /predict_grasp`; every one is optional."""

    views: list[RegisteredView] | None = Field(
        None, min_length=2, max_length=MOST_VIEWS,
        description="of the parts depth_0, depth_1, ...: where each was taken. Pixels are those of the first",
    )  # fmt: skip
    camera: CameraIntrinsics | None = Field(None, description="needed for any metric answer")
    camera_pose: Pose | None = Field(None, description="camera frame to robot base frame (z up), 4x4")
    viewpoint: Point | None = Field(
        None, description="[x, y, z] from where `points` were seen, in their frame, m; none: what is unseen counts as free"
    )
    table_depth: float | None = Field(None, ge=1e-2, le=FARTHEST, description="distance to the table along the optical axis, m")
    depth_scale: float = Field(0.001, ge=1e-6, le=1, description="metres per unit of an integer depth image")
    planner: str = Field("auto", min_length=1, max_length=64, description="`auto` or a name from GET /planners")
    gripper: Gripper = Field(default_factory=Gripper.model_construct)
    n_grasps: int = Field(10, ge=1, le=1000)
    min_quality: Probability = 0.0
    region: Region | None = Field(None, description="[u0, v0, u1, v1], pixels, inclusive: grasp centres only inside it")
    point: Pixel | None = Field(
        None, description="[u, v] of a pixel of the one thing that is wanted, in place of the image `goal`: only it is grasped"
    )
    bin: Annotated[ToldBin | None, AfterValidator(_corners_have_a_frame)] = Field(
        None,
        description="plan inside this bin: its walls are obstacles and never objects. true: the one that is seen; {corners, "
        "wall_height}: where it stands in the base frame; false: there is none; not told: one is looked for",
    )
    approach: Annotated[Approach | None, AfterValidator(_axis_has_a_frame)] = Field(
        None,
        description="approach directions allowed; none: within 20 degrees of straight down, and any where that cannot be (a "
        "level camera, a ceiling), of which a warning tells",
    )
    reach: Annotated[bool | None, AfterValidator(_arm_has_a_frame)] = Field(
        None,
        description="refuse grasps that the arm cannot get to as `unreachable`; none: where the server knows an arm; true: 422 "
        "where it knows none; false: do not",
    )
    model_version: int | None = Field(None, ge=1, le=LARGEST_VERSION, description="registry version in place of the champion")
    return_heatmap: bool = False
    explain: bool = Field(False, description="the reply tells `refused` grasps: why not there, and which part meets what")
    failed: Annotated[list[FailedGrasp], Field(max_length=MOST_FAILED), AfterValidator(_poses_have_a_frame)] = Field(
        [], description="grasps tried in this scene without success: those near them lose quality, most at the same object"
    )
    proposals: Annotated[list[Proposal], Field(max_length=MOST_PROPOSALS), AfterValidator(_bases_are_told)] = Field(
        [], description="grasps of a planner of your own, best first, for planner `refined` to correct"
    )
    seed: Seed | None = Field(None, description="makes sampling planners repeatable")
    checks: Literal["on", "off"] = Field("on", description="off: do not look for odd input, and warn of none")

    @model_validator(mode="after")
    def _as_the_first_view(self) -> PlanRequest:
        if self.views:
            first = self.views[0]
            for name, shown in (("camera", first.camera), ("camera_pose", first.camera_pose)):
                if getattr(self, name) not in (None, shown):
                    raise ValueError(f"`views` tell the {name}: leave it out, or send the first view's, {str(shown)[:80]}")
                setattr(self, name, shown)
        return self


class ActionRequest(PlanRequest):
    """Options of `POST /predict_action`: those of a plan, and what pushes may be. `camera`, depth, and the part `goal` or
    `point` are needed."""

    push: PushOptions = Field(default_factory=PushOptions)

    @model_validator(mode="after")
    def _grasps_alone(self) -> ActionRequest:
        if self.return_heatmap or self.explain:
            raise ValueError("return_heatmap and explain belong to /predict_grasp: send the same observation and goal there")
        return self
