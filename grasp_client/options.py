"""Keyword options of the clients' calls, so that editors complete them and mypy refuses a misspelt one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np

from grasp_client.contract import Approach, CameraIntrinsics, FailedGrasp, Gripper, Proposal, PushOptions, RegisteredView
from grasp_client.contract.bins import Bin

Matrix = Sequence[Sequence[float]] | np.ndarray
Camera = CameraIntrinsics | dict[str, Any]
"""Intrinsics, or a dictionary in one of the forms of docs/reference/http.md: fx, fy, cx, cy; K; camera_info; ..."""


class PlanOptions(TypedDict, total=False):
    """The fields of `PlanRequest`, where each is described."""

    views: Sequence[RegisteredView | dict[str, Any]] | None
    camera: Camera | None
    camera_pose: Matrix | None
    viewpoint: Sequence[float] | None
    table_depth: float | None
    depth_scale: float
    planner: str
    gripper: Gripper | dict[str, Any] | str
    n_grasps: int
    min_quality: float
    region: Sequence[float] | None
    point: Sequence[float] | None
    bin: bool | Bin | dict[str, Any] | None
    approach: Approach | dict[str, Any] | None
    reach: bool | None
    model_version: int | None
    return_heatmap: bool
    explain: bool
    failed: Sequence[FailedGrasp | dict[str, Any]]
    proposals: Sequence[Proposal | dict[str, Any]]
    seed: int | None
    checks: Literal["on", "off"]


class ActionOptions(PlanOptions, total=False):
    """The fields of `ActionRequest`, where each is described."""

    push: PushOptions | dict[str, Any]


class _Mounted(TypedDict):
    camera: Camera
    hand_camera_pose: Matrix


class ActOptions(_Mounted, total=False):
    """The fields of `ActRequest`, where each is described."""

    episode: str | None
    policy: str
    model_version: int | None
    depth_scale: float
