"""Outcomes to learn from, made without a simulator: grasps at a block on a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grasp_client.contract import CameraIntrinsics, Grasp, GraspMeta, ImageSpec, ModelRef, Outcome, SceneRef
from grasp_client.geometry import approach_frame
from trainer_job.data.feature_cache import FeatureSpec

CAMERA = CameraIntrinsics(fx=120.0, fy=120.0, cx=47.5, cy=47.5)
TABLE_DEPTH = 0.6


def block_outcome(episode: int, attempt: int = 0, success: bool | None = None, worker: str = "w", **meta: object) -> Outcome:
    """A 4 cm block on a table, seen from above; the grasp succeeds when it is near the block's middle, unless told."""
    rng = np.random.default_rng([episode, attempt])
    depth = np.full((96, 96), TABLE_DEPTH, np.float32)
    u, v = rng.integers(30, 66, 2)
    depth[v - 4 : v + 5, u - 4 : u + 5] = TABLE_DEPTH - 0.04
    near = rng.random() < 0.5
    du, dv = rng.integers(-1, 2, 2) if near else rng.integers(8, 12, 2) * rng.choice([-1, 1], 2)
    return outcome_at(
        f"{worker}:{episode}:{attempt}", depth, (u + du, v + dv), near if success is None else success, episode, meta
    )


def outcome_at(
    name: str, depth: np.ndarray, pixel: tuple[float, float], success: bool, seed: int, meta: dict[str, object]
) -> Outcome:
    z = TABLE_DEPTH - 0.015
    origin = np.array([(pixel[0] - CAMERA.cx) * z / CAMERA.fx, (pixel[1] - CAMERA.cy) * z / CAMERA.fy, z])
    pose = approach_frame(origin, np.array([1.0, 0, 0]), np.array([0, 0, 1.0]))
    grasp = Grasp(
        kind="parallel_jaw", quality=0.5, center_px=list(pixel), angle=0.0, depth=z, width=0.06, pose_camera=pose.tolist()
    )
    fields: dict = {
        "camera": CAMERA,
        "grasp": grasp,
        "planner": "dense",
        "model": ModelRef(name="dense", version=1),
        "success": success,
        "failure": None if success else "missed",
        "scene": SceneRef(seed=seed),
        "images": {"depth": ImageSpec(shape=list(depth.shape), dtype="float32")},
        "time": 1_000.0 + seed,
    }
    return Outcome(id=name, meta=GraspMeta(**{**fields, **meta}), images={"depth": depth})


class Means:
    """Features that cost nothing: the mean of the image."""

    outcome_kind, image = "grasp", "depth"
    spec = FeatureSpec("means", (1,), "float32", aux=1)

    def refusal(self, meta: Mapping[str, Any]) -> str | None:
        return None

    def features(self, outcomes: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        means = np.array([[outcome.images["depth"].mean()] for outcome in outcomes], np.float32)
        return means, means + 1
