"""Labels as workers send them, without the physics: read from shards, or made with noise as of the simulated camera."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from grasp_client.contract import CameraIntrinsics, Grasp, GraspMeta, Outcome, OutcomeMeta, SceneRef
from shared.outcome_codec import EncodedOutcome, build_outcome, encode_outcomes, stored_depth
from shared.shards import ShardReader, shard_folders

POSE = np.diag([1.0, -1.0, -1.0, 1.0]).tolist()
Scene = list[Outcome[OutcomeMeta]]
"""What came of the attempts on one view, whose images they share."""
NOISE = 0.001
"""Standard deviation of a reading, m."""


def recorded(folder: Path, scenes: int, attempts: int) -> list[Scene]:
    """Scenes of shards of a collection: attempts that share an image."""
    found: list[Scene] = []
    for shard in shard_folders(folder):
        reader, by_image = ShardReader(shard), dict[int | str, list[int]]()
        for row in range(len(reader)):
            by_image.setdefault(reader.image_key(row, "depth"), []).append(row)
        for rows in by_image.values():
            if len(rows) >= attempts:
                images = reader[rows[0]].images
                found.append([reader[row].model_copy(update={"images": images}) for row in rows[:attempts]])
    if not found:
        raise SystemExit(f"{folder}: no image with {attempts} attempts; expected the shards of a collection")
    return list(islice(found, scenes))


def made(scenes: int, attempts: int, side: int, seed: int = 0) -> list[Scene]:
    """Scenes of boxes on a table under a camera of side x side pixels."""
    rng = np.random.default_rng(seed)
    return [_scene(number, attempts, side, rng) for number in range(scenes)]


def _scene(number: int, attempts: int, side: int, rng: np.random.Generator) -> Scene:
    depth = np.full((side, side), 0.7)
    for left, top in rng.integers(0, side // 2, (6, 2)):
        depth[top : top + side // 6, left : left + side // 4] = rng.uniform(0.6, 0.69)
    seen = stored_depth((depth + rng.normal(0, NOISE, depth.shape)).astype(np.float32))
    camera = CameraIntrinsics(fx=side, fy=side, cx=side / 2, cy=side / 2)
    scene = SceneRef(seed=number, kind="pile", objects=[f"random/{each:03}" for each in range(8)])
    outcomes: Scene = []
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
        outcomes.append(build_outcome(GraspMeta, f"{number}:{attempt}", seen, None, fields))
    return outcomes


def named(scene: Scene, worker: str, episode: int) -> list[EncodedOutcome]:
    """The same as a worker's own, encoded as workers do."""
    names = [f"{worker}:{episode}:{attempt}" for attempt in range(len(scene))]
    return encode_outcomes([each.model_copy(update={"id": name}) for each, name in zip(scene, names, strict=True)])
