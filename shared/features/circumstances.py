"""What tells how much a picture is worth to a grasp: the camera's tilt and distance, the pixels' pitch, a bin, the hand, how
the grasp approaches, and how much of the picture is missing.

A network's promise is honest on average over what it learned from; in a bin, or from a tilted or a near camera, it may not be.
Calibration takes these numbers in, here for the server and the trainer alike.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from grasp_client.contract import CameraIntrinsics, Gripper

NAMES = ("tilt", "distance", "pitch", "bin", "hand", "approach", "missing")
USUAL_DISTANCE, USUAL_PITCH = 0.7, 0.0017
"""m: of the table from the camera, of a pixel there: 0 of their numbers."""
USUAL_OPENING, USUAL_RADIUS = 0.08, 0.015
"""m: the same of a jaw and of a cup."""
LEAST_SLOPE = 0.1
"""However odd the circumstances, a better logit stays a better promise."""
STRIDE, MOST_READ = 4, 2**15
"""Every so manyth pixel of a row and a column tells the distance as well as all of them, and of large images about so many."""


def circumstances(
    depth: np.ndarray,
    camera: CameraIntrinsics,
    camera_pose: np.ndarray | None,
    gripper: Gripper,
    in_bin: bool,
    leans: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """(N, len(NAMES)) float32 of N grasps: the camera's tilt from straight down, rad; logarithms of distance, pitch and hand
    size over the usual; 1 in a bin; the angle of the approach from straight down, rad, which is `leans` (N,); the share of
    pixels without a reading, of the part of the picture that has any.

    depth (H, W), m, 0 without reading. Without a pose the camera is taken to look straight down."""
    stride = max(STRIDE, math.ceil(math.sqrt(depth.size / MOST_READ)))
    some = depth[::stride, ::stride]
    read = some[(some > 0) & np.isfinite(some)]
    distance = float(np.median(read)) if len(read) else USUAL_DISTANCE
    down = 1.0 if camera_pose is None else float(-np.asarray(camera_pose)[2, 2])
    cup = gripper.kind == "suction"
    size = gripper.cup_radius / USUAL_RADIUS if cup else gripper.max_width / USUAL_OPENING
    values = (
        math.acos(max(-1.0, min(1.0, down))),
        math.log(distance / USUAL_DISTANCE),
        math.log(distance / camera.fx / USUAL_PITCH),
        float(in_bin),
        math.log(size),
    )
    before, after = (np.tile(np.array(each, np.float32), (len(leans), 1)) for each in (values, (_missing(some > 0),)))
    return np.column_stack([before, np.asarray(leans, np.float32), after])


def _missing(read: np.ndarray) -> float:
    """Share that is not read of the rows and columns of pixels (H, W) bool of which most are: none where nothing is."""
    rows, columns = (share > 0.5 * share.max(initial=0.0) for share in (read.mean(1), read.mean(0)))
    part = read[rows][:, columns]
    return 1.0 - float(part.mean()) if part.size else 0.0


def slope_and_offset(calibration: dict[str, Any], circumstances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each logit is multiplied by and what is added to it, (N,) each, of circumstances (N, len(NAMES)), or (N, 0) for the
    usual ones. They count as far as held-out outcomes had them."""
    slope, offset = (np.full(len(circumstances), float(calibration[name])) for name in ("slope", "offset"))
    for name, values in zip(NAMES, circumstances.T, strict=False):
        if of := calibration["by"].get(name):
            within = np.clip(values.astype(float), of["low"], of["high"])
            slope, offset = slope + of["slope"] * within, offset + of["offset"] * within
    return np.maximum(slope, LEAST_SLOPE), offset
