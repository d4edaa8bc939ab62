"""The contract: models of what clients, server, workers and trainer send to each other.

Units are metres, radians, seconds and kilograms; `_ms` fields are milliseconds. A pixel is `(u, v)` = (column, row) with
integer values at pixel centres. The camera frame is optical (x right, y down, z forward). A pose is a 4x4 homogeneous
matrix as row-major nested lists that maps grasp-frame points into the named frame.

Jaw grasp frame: origin midway between the outermost ends of the two fingertips at closing, x the closing axis, z the
approach direction (towards the object), y = z x x. Suction grasp frame: origin at the contact point, z into the surface.
"""

from grasp_client.contract.actions import Action, ActRequest
from grasp_client.contract.approaches import Approach
from grasp_client.contract.base import (
    FARTHEST,
    LARGEST_PIXEL,
    ApiModel,
    GraspKind,
    Label,
    Name,
    Pixel,
    Pose,
    Probability,
    Variation,
)
from grasp_client.contract.bins import Bin
from grasp_client.contract.camera import CameraIntrinsics
from grasp_client.contract.errors import ErrorDetail, ErrorReply, first_problem, plain_message, problems_of
from grasp_client.contract.gripper import Gripper
from grasp_client.contract.gripper_presets import PRESETS
from grasp_client.contract.models import Grippers, ModelEntry, ModelPointers, Models, PlannerEntry, Planners
from grasp_client.contract.outcomes import (
    OUTCOME_KINDS,
    SCHEMA_VERSION,
    ContactRule,
    EpisodeEnd,
    Failure,
    GraspMeta,
    ImageSpec,
    Meta,
    Outcome,
    OutcomeAccepted,
    OutcomeMeta,
    OutcomeReport,
    PushMeta,
    SceneRef,
    UnknownMeta,
    ViewReplay,
    meta_model,
)
from grasp_client.contract.plans import ActionPlan, Grasp, GraspPlan, HandPart, ModelRef, RefusedGrasp
from grasp_client.contract.pushes import Push, PushOptions
from grasp_client.contract.requests import MOST_FAILED, ActionRequest, FailedGrasp, PlanRequest, Proposal, RegisteredView
from grasp_client.contract.scene_requests import SceneRequest

__all__ = [
    "FARTHEST", "LARGEST_PIXEL", "MOST_FAILED", "OUTCOME_KINDS", "PRESETS", "SCHEMA_VERSION", "ActRequest", "Action",
    "ActionPlan", "ActionRequest", "ApiModel", "Approach", "Bin", "CameraIntrinsics", "ContactRule", "EpisodeEnd",
    "ErrorDetail", "ErrorReply", "FailedGrasp", "Failure", "Grasp", "GraspKind", "GraspMeta", "GraspPlan", "Gripper",
    "Grippers", "HandPart", "ImageSpec", "Label", "Meta", "ModelEntry", "ModelPointers", "ModelRef", "Models", "Name",
    "Outcome", "OutcomeAccepted", "OutcomeMeta", "OutcomeReport", "Pixel", "PlanRequest", "PlannerEntry", "Planners", "Pose",
    "Probability", "Proposal", "Push", "PushMeta", "PushOptions", "RefusedGrasp", "RegisteredView", "SceneRef", "SceneRequest",
    "UnknownMeta", "Variation", "ViewReplay", "first_problem", "meta_model", "plain_message", "problems_of",
]  # fmt: skip
