"""What a planner is asked: what a robot would know of its scene, and no more."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from grasp_client.contract import MOST_FAILED, Approach, FailedGrasp, Gripper, PlanRequest
from grasp_client.contract import Bin as ToldBin
from grasp_client.geometry import invert, project, transform, wrap_angle
from grasp_client.observation import Observation
from shared.outcome_codec import DEPTH_UNIT, depth_in_units
from sim_worker.grasp_poses import points_in_base
from sim_worker.sampling.approaches import KEEPERS, told_approach
from sim_worker.world import CameraView, SceneSpec
from sim_worker.world.simulation.bins import Bin
from sim_worker.world.simulation.shelves import Shelf

FROM_BOARDS = 0.008
"""What is seen nearer to a board of a shelf may be the board, m."""
CLOSING = 0.02
"""Half the stretch of a closing axis whose direction in the image is told, m."""
ExtraInput = Literal["rgb", "segmask", "table_depth", "bin", "region"]
"""What a planner may be sent besides; in a scene with a bin where it stands, or the rectangle of its floor in the image."""
ObservationKey = Literal["rgb", "segmask", "table_depth", "bin", "region", "failures"]
"""The same where grasps follow each other: also which of them failed."""
DroppedInput = Literal["depth"]
"""What a planner may be left without."""


@dataclass(frozen=True)
class PlanningRequest:
    """A task waits for a plan of this observation."""

    observation: Observation
    request: PlanRequest


def bin_region(view: CameraView, tote: Bin) -> list[float]:
    """[u0, v0, u1, v1] of the bin's floor in the image."""
    pixels = project(transform(invert(np.asarray(view.camera_pose)), tote.corners()), view.camera)
    return [*pixels.min(axis=0).tolist(), *pixels.max(axis=0).tolist()]


def shelf_mask(view: CameraView, depth: np.ndarray, shelf: Shelf) -> np.ndarray:
    """Pixels (H, W) bool whose reading lies in the shelf, FROM_BOARDS clear of its sides, back and ceiling."""
    inside = transform(invert(shelf.pose), points_in_base(depth, view.camera, np.asarray(view.camera_pose)))
    x, y, z = np.nan_to_num(inside, nan=np.inf).transpose(2, 0, 1)
    (half_x, half_y), height = shelf.half, shelf.inner[2] - FROM_BOARDS
    result: np.ndarray = (np.abs(x) < half_x - FROM_BOARDS) & (np.abs(y) < half_y - FROM_BOARDS) & (z < height)
    return result


@dataclass(frozen=True)
class Failure:
    """A grasp that failed: its pose (4, 4) in the base frame, and the quality that it promised."""

    pose: np.ndarray
    quality: float


def failed_grasp(failure: Failure, view: CameraView) -> FailedGrasp:
    """A failure as it lies in this view."""
    seen = invert(np.asarray(view.camera_pose)) @ failure.pose
    ends = project(seen[:3, 3] + np.outer([-CLOSING, 0.0, CLOSING], seen[:3, 0]), view.camera)
    span = ends[2] - ends[0]
    return FailedGrasp(
        center_px=ends[1].tolist(),
        angle=wrap_angle(math.atan2(span[1], span[0])),
        depth=float(seen[2, 3]),
        quality=failure.quality,
    )


def planning_request(
    view: CameraView,
    spec: SceneSpec,
    gripper: Gripper,
    count: int,
    planner: str = "auto",
    model_version: int | None = None,
    extras: Collection[ObservationKey] = (),
    withheld: Collection[DroppedInput] = (),
    failed: Sequence[Failure] = (),
    approach: Approach | None = None,
) -> PlanningRequest:
    """Ask for `count` grasps: camera, its pose, depth unless withheld, and the granted extras.

    failed: sent with the extra `failures`. approach: told to planners that keep to it; none: what the kind of scene asks for.
    Of a shelf it is known where it stands: only what is seen in it may be grasped.
    """
    camera_pose, tote = np.asarray(view.camera_pose), spec.bin
    request = PlanRequest(
        camera=view.camera,
        camera_pose=camera_pose.tolist(),
        # The reported optical axis meets the base plane z = 0 at this distance.
        table_depth=float(-camera_pose[2, 3] / camera_pose[2, 2]) if "table_depth" in extras else None,
        region=bin_region(view, tote) if tote and "region" in extras else None,
        bin=ToldBin(corners=tote.corners().tolist(), wall_height=tote.inner[2]) if tote and "bin" in extras else None,
        planner=planner,
        model_version=model_version,
        gripper=gripper,
        n_grasps=count,
        approach=(approach or told_approach(spec)) if planner in KEEPERS else None,
        depth_scale=DEPTH_UNIT,
        failed=[failed_grasp(each, view) for each in failed[-MOST_FAILED:]] if "failures" in extras else [],
        seed=spec.seed,
    )
    depth = None
    if "depth" not in withheld and view.observation.depth is not None:
        depth = (depth_in_units(view.observation.depth) * DEPTH_UNIT).astype(np.float32)
    segmask = view.segmentation > 0 if "segmask" in extras else None
    if segmask is None and depth is not None and spec.shelf:
        segmask = shelf_mask(view, depth, spec.shelf)
    observation = Observation(
        depth=depth,
        rgb=view.rgb if "rgb" in extras else None,
        segmask=segmask,
    )
    return PlanningRequest(observation, request)
