"""Pictures with the height of what each pixel sees, from our own shards: the depth image beside the colours tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from shared.contract import OutcomeMeta
from shared.networks.mobileunet import MobileUNet
from shared.networks.picture import Picture
from shared.shards import ShardReader, shard_folders
from trainer_job.dataset import is_held_out, scene_key
from trainer_job.datasets.shard_pictures import picture_of

UNIT = 1e-4
"""Heights are kept in tenths of a millimetre."""
UNKNOWN = np.iinfo(np.int16).min
THING = 0.004
"""What rises this far above the table is a thing, m: three deviations of a reading."""


@dataclass(frozen=True)
class ReliefPictures:
    """images (M, H, W, 3) uint8; heights (M, H, W) int16 over the table in UNIT, UNKNOWN where nothing was read; lenses (M, 3):
    principal point (u, v) and focal length in pixels."""

    images: np.ndarray
    heights: np.ndarray
    lenses: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def pick(self, rows: np.ndarray) -> ReliefPictures:
        return ReliefPictures(self.images[rows], self.heights[rows], self.lenses[rows])


def read(folders: Sequence[Path], network: MobileUNet) -> tuple[ReliefPictures, ReliefPictures]:
    """Pictures at the scale of the network's relief to learn from, and held-out ones: the same scenes as for the maps.

    Raises ValueError for a network without one, and when there are no pictures or not all of one shape.
    """
    if network.relief is None:
        raise ValueError("part: relief asks for a network with `relief` among its parameters, pixels per metre of table")
    pixels_per_metre = network.relief.pixels_per_metre
    images, heights, lenses, held = [], [], [], []
    for shard in (shard for folder in folders for shard in shard_folders(folder)):
        reader, seen = ShardReader(shard), set[int]()
        for index, line in enumerate(reader.rows):
            if not {"rgb", "depth"} <= line["at"].keys() or line["at"]["rgb"] in seen:
                continue
            seen.add(line["at"]["rgb"])
            meta = OutcomeMeta.model_validate(line["meta"])
            if meta.camera_pose is None or meta.camera is None:
                continue
            outcome = reader[index]
            picture = picture_of(np.asarray(outcome.images["rgb"]), meta, network, pixels_per_metre)
            principal, focal = picture.lens(meta.camera, None)
            depth = np.asarray(outcome.images["depth"], np.float32) * meta.images["depth"].scale
            images.append(picture.image)
            heights.append(_in_picture(_heights(depth, meta), picture))
            lenses.append(np.append(principal[0], focal))
            held.append(is_held_out(scene_key(outcome.id, meta.scene)))
    if not images or len({image.shape for image in images}) > 1:
        shapes = sorted({image.shape for image in images})
        raise ValueError(f"{', '.join(map(str, folders))}: expected outcomes with colour and depth of one shape, got {shapes}")
    every = ReliefPictures(np.stack(images), np.stack(heights), np.stack(lenses))
    return every.pick(~np.array(held)), every.pick(np.array(held))


def _heights(depth: np.ndarray, meta: OutcomeMeta) -> np.ndarray:
    """(H, W) int16: height in the base frame of what each reading (H, W), m, saw."""
    camera, pose = meta.camera, np.asarray(meta.camera_pose)
    assert camera is not None
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rise = pose[2, 0] * (u - camera.cx) / camera.fx + pose[2, 1] * (v - camera.cy) / camera.fy + pose[2, 2]
    return np.where(depth > 0, np.clip((depth * rise + pose[2, 3]) / UNIT, -32_000, 32_000), UNKNOWN).astype(np.int16)


def _in_picture(heights: np.ndarray, picture: Picture) -> np.ndarray:
    """Heights of the sent image in the pixels of the picture; unknown on its rim."""
    rows, columns = picture.size
    resized = cv2.resize(heights, (columns, rows), interpolation=cv2.INTER_NEAREST)
    below, beside = picture.image.shape[0] - rows, picture.image.shape[1] - columns
    return cv2.copyMakeBorder(resized, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=UNKNOWN)
