"""Pictures of executed grasps, from our own shards: the colour image, the place and map that were tried, and the outcome."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from grasp_client.contract import GraspMeta, Outcome
from shared.features.rgb_input import RgbInput, factor_to, fit
from shared.maps.open_hand import fits
from shared.networks.mobileunet import MobileUNet
from shared.outcome_codec import depth_metres
from shared.shards import ShardReader, shard_folders
from trainer_job.data.outcome_index import read_records
from trainer_job.data.pictures import Pictures
from trainer_job.data.replayed_views import VIEWS, ReplayError

log = logging.getLogger(__name__)

SAME_HEIGHT = 0.004
"""Tips this near to one of the network's heights, m, are at it."""
WIDE_OPEN = 0.001
"""A jaw within this of its largest opening, m, is wide open."""
STRAIGHT = math.cos(math.radians(3))
"""Least cosine between the approach and straight down."""


def read(
    folders: Sequence[Path],
    refusal: Callable[[Mapping[str, Any]], str | None],
    network: MobileUNet,
    pixels_per_metre: float | None = None,
    with_fits: bool = False,
) -> tuple[Pictures, Pictures]:
    """Grasps to learn from and held-out ones (whole scenes), on pictures in the network's size.

    A grasp belongs to the map of the nearest angle. refusal: why an outcome's meta is left out, if it is. with_fits: also what
    geometry says of every cell. Raises ValueError when nothing can be used.
    """
    pictures: list[RgbInput] = []
    dense: list[np.ndarray] = []
    lenses: list[np.ndarray] = []
    rows: list[tuple[int, float, float, int, bool, bool]] = []
    for shard in (shard for folder in folders for shard in shard_folders(folder)):
        reader, seen = ShardReader(shard), dict[int | str, int]()
        records = {record.row: record for record in read_records(shard)[0]}
        for index, outcome in reader.of_kind(GraspMeta):
            if records[index].ab_test or refusal(reader.rows[index].meta):
                continue
            meta, key = outcome.meta, reader.image_key(index, "rgb")
            if key not in seen:
                try:
                    outcome = VIEWS.complete(outcome)
                except ReplayError as error:
                    log.warning("an outcome without images", extra={"outcome": outcome.id, "error": str(error)})
                    continue
                seen[key] = len(pictures)
                pictures.append(picture_of(np.asarray(outcome.images["rgb"]), meta, network, pixels_per_metre))
                principal, focal = pictures[-1].lens(meta.camera, None)
                lenses.append(np.append(principal[0], focal))
                if with_fits:
                    dense.append(_fits(outcome, pictures[-1], network))
            [(u, v)] = pictures[seen[key]].to_picture(np.array([meta.grasp.center_px]))
            rows.append((seen[key], v, u, cast(int, map_of(meta, network)), meta.success, records[index].held_out))
    if not rows or len({picture.image.shape for picture in pictures}) > 1:
        shapes = sorted({picture.image.shape for picture in pictures})
        raise ValueError(f"{', '.join(map(str, folders))}: expected outcomes with colour images of one shape, got {shapes}")
    table = np.array(sorted(rows, key=lambda row: row[0]), np.float64)
    which, maps = table[:, 0].astype(np.int64), table[:, 3].astype(np.int64)
    images = np.stack([picture.image for picture in pictures])
    answers = np.stack(dense) if dense else None
    labels = Pictures(images, which, table[:, 1:3].astype(np.float32), maps, table[:, 4] > 0, answers, np.stack(lenses))
    held_out = table[:, 5] > 0
    return labels.pick(~held_out), labels.pick(held_out)


def nearest_rotation(angle: float, angles: Sequence[float]) -> int:
    """Which of `angles` of a closing axis is nearest to `angle`, rad; an axis turned by pi is the same one."""
    off = (angle - np.asarray(angles) + math.pi / 2) % math.pi - math.pi / 2
    return int(np.abs(off).argmin())


def map_of(meta: GraspMeta, network: MobileUNet) -> int | None:
    """The network's map that an executed grasp belongs to; None when the network cannot propose it."""
    rotation = nearest_rotation(meta.grasp.angle, network.angles)
    if not network.tip_heights:
        return rotation
    pose = meta.grasp.pose_base
    if pose is None or meta.grasp.width is None or meta.grasp.width < meta.gripper.max_width - WIDE_OPEN:
        return None
    approach = np.asarray(pose)[:3, 2]
    height = pose[2][3] + meta.gripper.tcp_offset * approach[2]
    level = int(np.abs(height - np.asarray(network.tip_heights)).argmin())
    if -approach[2] < STRAIGHT or abs(height - network.tip_heights[level]) > SAME_HEIGHT:
        return None
    return level * network.rotations + rotation


def _fits(outcome: Outcome[GraspMeta], picture: RgbInput, network: MobileUNet) -> np.ndarray:
    """(maps, h, w) uint8 on the network's grid over the picture."""
    meta = outcome.meta
    assert meta.camera is not None  # `map_of` found a pose in the base frame
    height, width = (side // network.stride for side in picture.image.shape[:2])
    cells = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    pixels = picture.to_sent((cells + 0.5) * network.stride - 0.5)
    return fits(
        depth_metres(outcome),
        meta.camera,
        np.asarray(meta.camera_pose),
        meta.gripper,
        network.angles,
        network.tip_heights,
        pixels,
    )


def picture_of(rgb: np.ndarray, meta: GraspMeta, network: MobileUNet, pixels_per_metre: float | None) -> RgbInput:
    """A colour image (H, W, 3) in the size that the network learns from."""
    pose = meta.camera_pose
    table_depth = -pose[2][3] / pose[2][2] if pose is not None and pose[2][2] else None
    return fit(rgb, factor_to(rgb.shape[:2], network.image_size, pixels_per_metre, meta.camera, table_depth))
