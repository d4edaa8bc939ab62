"""Successful grasps in the data format of the 64 x 64 RGB MobileUNet grasp network: `imgs` and `actions`."""

import math
from pathlib import Path

import cv2
import numpy as np

from grasp_client.contract import GraspMeta
from shared.shards import ShardReader, shard_folders

SIZE = 64
ANGLE_TOLERANCE = math.radians(15)
"""The format knows two closing directions; grasps further off either than this are left out."""


def mobileunet_action(meta: GraspMeta, height: int, width: int) -> tuple[int, int, int] | None:
    """(row, column, rotation id) in the 64 x 64 image of a success, None when the format cannot say it.

    Rotation 0 closes along the image's rows (v), rotation 1 along its columns (u).
    """
    if not meta.success:
        return None
    angle = abs(meta.grasp.angle)
    if angle > math.pi / 2 - ANGLE_TOLERANCE:
        rotation = 0
    elif angle < ANGLE_TOLERANCE:
        rotation = 1
    else:
        return None
    u, v = meta.grasp.center_px
    row, column = (math.floor((v + 0.5) * SIZE / height), math.floor((u + 0.5) * SIZE / width))
    if not (0 <= row < SIZE and 0 <= column < SIZE):
        return None
    return row, column, rotation


def export_mobileunet(shards: Path, target: Path) -> int:
    """Write `target` (.npz with `imgs` (N, 64, 64, 3) uint8 and `actions` (N, 3) int64); returns N.

    Raises ValueError when no outcome carries a colour image.
    """
    images, actions, coloured = [], [], False
    for _, outcome in (each for folder in shard_folders(shards) for each in ShardReader(folder).of_kind(GraspMeta)):
        rgb = outcome.images.get("rgb")
        if rgb is None:
            continue
        coloured = True
        action = mobileunet_action(outcome.meta, *rgb.shape[:2])
        if action is not None:
            images.append(cv2.resize(np.asarray(rgb), (SIZE, SIZE), interpolation=cv2.INTER_AREA))
            actions.append(action)
    if not coloured:
        raise ValueError(f"no outcome under {shards} carries a colour image: collect with --rgb")
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        target,
        imgs=np.array(images, np.uint8).reshape(-1, SIZE, SIZE, 3),
        actions=np.array(actions, np.int64).reshape(-1, 3),
    )
    return len(images)
