"""Files that hold more than one image: clouds (npy, PLY, PCD), and npz as Contact-GraspNet's, with depth, K and segments."""

import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grasp_client.imaging import ImageError, points_of, read_npy, read_pcd, read_ply

CLOUD_ENDINGS = (".ply", ".pcd")
MOST_SEGMENTS = 256
"""Of one file: more are no segments, but an image."""
_DEPTH, _CLOUD = ("depth",), ("xyz", "points", "pc", "point_cloud")
_SEGMENTS, _COLOUR, _CAMERA = ("segmap", "seg", "segmentation"), ("rgb", "color"), ("K", "camera_matrix", "intrinsics")


class Source(NamedTuple):
    """A file, or one segment of what is in it."""

    path: Path
    segment: int | None = None

    @property
    def name(self) -> str:
        return self.path.name if self.segment is None else f"{self.path.name}#{self.segment}"

    @property
    def stem(self) -> str:
        return self.path.stem if self.segment is None else f"{self.path.stem}_{self.segment}"


def read_cloud(path: Path) -> np.ndarray | None:
    """(N, 3) float32 of a file that holds a cloud; None for one that may hold an image. Raises ValueError, as all here."""
    try:
        if path.suffix.lower() in CLOUD_ENDINGS:
            data = path.read_bytes()
            return read_ply(data) if path.suffix.lower() == ".ply" else read_pcd(data)
        if path.suffix.lower() != ".npy":
            return None
        array = read_npy(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        if path.suffix.lower() == ".npy":
            return None  # whoever reads images says what is wrong with it
        raise ValueError(f"{path}: {error}") from error
    return points_of(array) if array.dtype.kind == "f" and array.ndim == 2 and array.shape[1] == 3 else None


def segments_in(path: Path) -> list[Source]:
    """What is to be planned for in a file: each of its segments, or all of it."""
    arrays = _arrays(path)
    name = next((name for name in _SEGMENTS if name in arrays), None)
    if name is None or not ({*_DEPTH, *_CLOUD} & arrays.keys()):
        return [Source(path)]
    found = [int(number) for number in np.unique(arrays[name]) if number != 0]
    if len(found) > MOST_SEGMENTS:
        raise ValueError(f"{path}: {name!r} has {len(found)} segments: expected small whole numbers, 0 where there is none")
    return [Source(path, number) for number in found] or [Source(path)]


def read_scene(source: Source) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Arrays of an observation and options that a file tells, of one segment in it; None where it holds one image alone."""
    path, segment = source
    arrays = _arrays(path)
    camera = next((arrays[name] for name in _CAMERA if name in arrays), None)
    cloud = next((arrays[name] for name in _CLOUD if name in arrays), None)
    depth = next((arrays[name] for name in _DEPTH if name in arrays), None)
    if cloud is None and (depth is None or camera is None):
        return None
    mask = None if segment is None else next(arrays[name] for name in _SEGMENTS if name in arrays) == segment
    told: dict[str, Any] = (
        {} if camera is None or depth is None else {"camera": {"K": np.asarray(camera, float).ravel().tolist()}}
    )
    if depth is not None and camera is not None:
        rgb = next((arrays[name] for name in _COLOUR if name in arrays), None)
        usable = rgb is not None and rgb.dtype == np.uint8 and rgb.shape[:2] == depth.shape[:2]
        return {"depth": depth, "rgb": rgb if usable else None, "segmask": mask}, told
    assert cloud is not None
    if mask is None:
        return {"points": cloud}, {"viewpoint": [0.0, 0.0, 0.0]}
    if mask.size * 3 != cloud.size:
        raise ValueError(f"{path}: {mask.size} segment numbers for {cloud.size // 3} points: expected one for each")
    points = cloud.reshape(-1, 3)
    return {"points": points[mask.ravel()], "scene_points": points}, {"viewpoint": [0.0, 0.0, 0.0]}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Plain arrays of an npz; nothing of any other file."""
    if path.suffix.lower() != ".npz":
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            found = {}
            for info in archive.infolist():
                try:
                    found[info.filename.removesuffix(".npy")] = read_npy(archive.read(info))
                except ImageError:
                    continue  # names and the like, which nobody asks for
            return found
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no npz: {error}") from error
