"""Crops of executed grasps, from our own shards, as the published formats would have stored them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from grasp_client.contract import GraspMeta
from grasp_client.geometry import project
from shared.networks.crops import CropView, crop, cup_crop_view, fill_holes
from shared.shards import ShardReader, shard_folders
from trainer_job.data.grasp_crops import GraspCrops
from trainer_job.data.outcome_index import scene_key
from trainer_job.tasks.base import depth_metres


def read(folders: Sequence[Path], kind: str, view: CropView, size: int) -> GraspCrops:
    """Crops (size, size) of outcomes of grippers of this kind, grouped by scene. Raises ValueError when there are none."""
    rows = [
        row for folder in folders for shard in shard_folders(folder) for row in _crops(ShardReader(shard), kind, view, size)
    ]
    if not rows:
        raise ValueError(f"{', '.join(map(str, folders))}: no {kind} outcomes with depth, camera and pose in shards here")
    images, poses, labels, groups = zip(*rows, strict=True)
    success = np.array(labels, bool)
    depths, leans = np.array(poses, np.float32).T
    metric = success.astype(np.float32)
    return GraspCrops(np.stack(images), depths, success, metric, {}, np.array(groups), leans if kind == "suction" else None)


def _crops(reader: ShardReader, kind: str, view: CropView, size: int):
    """(crop, gripper depth and lean, success, scene) of each usable outcome of a shard."""
    for _, outcome in reader.of_kind(GraspMeta):
        meta = outcome.meta
        if meta.grasp.kind != kind or "depth" not in outcome.images or not meta.camera or not meta.grasp.pose_camera:
            continue
        if meta.contact_rule != "strict" or meta.failure == "unreachable":
            continue
        try:
            image, pose = crop_of(torch.from_numpy(fill_holes(depth_metres(outcome))), meta, view, size)
        except ValueError:  # no reading at all
            continue
        yield image, pose, meta.success, zlib.crc32(scene_key(outcome.id, meta.scene).encode())


def crop_of(depth: torch.Tensor, meta: GraspMeta, view: CropView, size: int) -> tuple[np.ndarray, tuple[float, float]]:
    """The crop (size, size), m, and the depth of the tips or the cup, m, with the approach's angle from the optical axis, rad.

    depth: (H, W) float32 metres without holes. Raises ValueError for a grasp behind the camera.
    """
    assert meta.camera is not None
    pose = np.asarray(meta.grasp.pose_camera, dtype=float)
    tips = pose[:3, 3] + meta.gripper.tcp_offset * pose[:3, 2]
    if tips[2] <= 0:
        raise ValueError("the grasp is behind the camera")
    ends = project(tips + 0.01 * np.array([[0.0], [1.0], [-1.0]]) * pose[:3, 0], meta.camera)
    angle = np.arctan2(*(ends[1] - ends[2])[::-1])
    lean = float(np.arccos(np.clip(pose[2, 2], -1, 1)))
    if meta.grasp.kind == "suction":
        angle = float(cup_crop_view(torch.tensor(pose[None, :3, 2]))[0])
    scale, shift = view.scale_and_shift(tips[2:3], meta.camera.fx)
    center, turn, zoom = (torch.tensor(np.asarray(values), dtype=torch.float32) for values in (ends[:1], [angle], scale))
    image = crop(depth, center, turn, zoom, (size, size))[0, 0].numpy() + np.float32(shift[0])
    return image, (float(tips[2] + shift[0]), lean)
