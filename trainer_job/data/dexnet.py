"""Dex-Net 2.0, 3.0 and 4.0 tensor folders: `<field>_<number>.npz` with the key `arr_0`, 1,000 rows a file.

The compressed files are unpacked once into plain memory-mapped arrays, which serve random batches in under a millisecond;
depth stays float32 (half precision would round 0.7 m to half a millimetre).
"""

import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer_job.data.grasp_crops import GraspCrops

DEPTH_COLUMN = 2
"""Distance of the gripper from the camera, m, in the pose arrays of all three."""
LEAN_COLUMN = 3
"""Angle of the approach from the optical axis, rad, in the pose arrays of suction."""


@dataclass(frozen=True)
class Format:
    """Names of the fields and the threshold above which a grasp counts as robust."""

    images: str
    poses: str
    metric: str
    threshold: float
    suction: bool = False


FORMATS = {
    "dexnet-2.0": Format("depth_ims_tf_table", "hand_poses", "robust_ferrari_canny", 0.002),
    "dexnet-3.0": Format("depth_ims_tf_table", "hand_poses", "robust_suction_wrench_resistance", 0.2, suction=True),
    "dexnet-4.0": Format("tf_depth_ims", "grasps", "grasp_metrics", 0.5),
}


def read(folder: Path, kind: str, cache: Path) -> GraspCrops:
    """The data set in `folder` or `folder/tensors`. cache: where it is unpacked. Raises ValueError for a wrong folder."""
    form = FORMATS[kind]
    tensors = folder / "tensors" if (folder / "tensors").is_dir() else folder
    numbers = _numbers(tensors, form.metric)
    if not numbers:
        raise ValueError(f"{tensors}: expected {kind} files such as {form.metric}_00000.npz, found none")
    store = cache / f"{folder.resolve().name}-{kind}-{len(numbers)}-3"
    if not store.is_dir():
        _unpack(tensors, form, numbers, store)
    metrics = np.load(store / "metrics.npy")
    return GraspCrops(
        images=np.load(store / "images.npy", mmap_mode="r"),
        poses=np.load(store / "poses.npy"),
        metrics=metrics,
        threshold=form.threshold,
        rows=np.arange(len(metrics)),
        named=_splits(folder),
    )


def _numbers(tensors: Path, field: str) -> list[str]:
    found = (re.fullmatch(rf"{field}_(\d+)\.npz", path.name) for path in tensors.glob(f"{field}_*.npz"))
    return sorted((match.group(1) for match in found if match), key=int)


def _load(tensors: Path, field: str, number: str) -> np.ndarray:
    path = tensors / f"{field}_{number}.npz"
    try:
        with np.load(path, allow_pickle=False) as archive:
            values: np.ndarray = archive["arr_0"]
            return values
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected an npz with the array arr_0: {error}") from error


def _unpack(tensors: Path, form: Format, numbers: list[str], store: Path) -> None:
    """Write images.npy, poses.npy and metrics.npy into a temporary folder, then rename it."""
    metrics = [_load(tensors, form.metric, number).reshape(-1) for number in numbers]
    size, at = _load(tensors, form.images, numbers[0]).shape[1:3], 0
    temporary = store.with_name(f".{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    rows = sum(len(metric) for metric in metrics)
    images = np.lib.format.open_memmap(temporary / "images.npy", "w+", np.float32, (rows, *size))
    poses = np.zeros((rows, 2), np.float32)
    for number, metric in zip(numbers, metrics, strict=True):
        picture, pose = _load(tensors, form.images, number), _load(tensors, form.poses, number)
        if not len(picture) == len(pose) == len(metric):
            raise ValueError(f"{tensors}, file {number}: {len(picture)} images, {len(pose)} poses, {len(metric)} labels")
        here = slice(at, at + len(metric))
        images[here] = picture.reshape(len(metric), *size)
        poses[here, 0] = pose[:, DEPTH_COLUMN]
        poses[here, 1] = pose[:, LEAN_COLUMN] if form.suction else 0
        at += len(metric)
    images.flush()
    np.save(temporary / "poses.npy", poses)
    np.save(temporary / "metrics.npy", np.concatenate(metrics).astype(np.float32))
    try:
        temporary.rename(store)
    except OSError:  # another process was first
        shutil.rmtree(temporary)


def _splits(folder: Path) -> dict[str, np.ndarray]:
    """Index sets that lie beside the tensors as splits/<name>/{train,val}_indices.npz."""
    found = {}
    for path in sorted((folder / "splits").glob("*/*_indices.npz")):
        with np.load(path, allow_pickle=False) as archive:
            found[f"{path.parent.name}/{path.name.removesuffix('_indices.npz')}"] = archive["arr_0"].astype(np.int64)
    return found
