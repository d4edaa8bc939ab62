"""Labels as workers send them, without the physics: read from shards, or made with noise as of the simulated camera."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from grasp_client.contract import CameraIntrinsics, Grasp, GraspMeta, SceneRef
from shared.outcome_codec import EncodedOutcome, build_outcome, encode_outcome
from shared.shards import ShardReader, shard_folders

POSE = np.diag([1.0, -1.0, -1.0, 1.0]).tolist()
NOISE = 0.001
"""Standard deviation of a reading, m."""


def recorded(folder: Path, scenes: int, attempts: int) -> list[list[EncodedOutcome]]:
    """Scenes of shards of a collection: attempts that share an image."""
    found: list[list[EncodedOutcome]] = []
    for shard in shard_folders(folder):
        reader, by_image = ShardReader(shard), dict[int | str, list[int]]()
        for row in range(len(reader)):
            by_image.setdefault(reader.image_key(row, "depth"), []).append(row)
        for rows in by_image.values():
            if len(rows) >= attempts:
                found.append([encode_outcome(reader[row]) for row in rows[:attempts]])
    if not found:
        raise SystemExit(f"{folder}: no image with {attempts} attempts; expected the shards of a collection")
    return list(islice(found, scenes))


def made(scenes: int, attempts: int, side: int, seed: int = 0) -> list[list[EncodedOutcome]]:
    """Scenes of boxes on a table under a camera of side x side pixels."""
    rng = np.random.default_rng(seed)
    return [_scene(number, attempts, side, rng) for number in range(scenes)]


def _scene(number: int, attempts: int, side: int, rng: np.random.Generator) -> list[EncodedOutcome]:
    depth = np.full((side, side), 0.7)
    for left, top in rng.integers(0, side // 2, (6, 2)):
        depth[top : top + side // 6, left : left + side // 4] = rng.uniform(0.6, 0.69)
    depth = (depth + rng.normal(0, NOISE, depth.shape)).astype(np.float32)
    camera = CameraIntrinsics(fx=side, fy=side, cx=side / 2, cy=side / 2)
    scene = SceneRef(seed=number, kind="pile", objects=[f"random/{each:03}" for each in range(8)])
    outcomes = []
    for attempt in range(attempts):
        u, v, angle, quality = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(-1.5, 1.5), rng.random()
        grasp = Grasp(
            kind="parallel_jaw", quality=quality, center_px=[u, v], angle=angle, depth=0.65, width=0.04, pose_camera=POSE,
            pose_base=POSE,
        )  # fmt: skip
        fields = {
            "grasp": grasp, "planner": "feasible", "quality": quality, "success": bool(attempt % 3), "scene": scene,
            "failure": None if attempt % 3 else "missed", "camera": camera, "camera_pose": POSE, "duration": 1.0 + quality,
            "details": {f"number_{each}": float(rng.random()) for each in range(12)},
        }  # fmt: skip
        outcomes.append(encode_outcome(build_outcome(GraspMeta, f"{number}:{attempt}", depth, None, fields)))
    return outcomes


def named(scene: list[EncodedOutcome], worker: str, episode: int) -> list[EncodedOutcome]:
    """The same as a worker's own."""
    return [replace(outcome, id=f"{worker}:{episode}:{attempt}") for attempt, outcome in enumerate(scene)]
