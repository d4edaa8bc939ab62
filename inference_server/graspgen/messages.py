"""Messages of GraspGen's clients: msgpack, arrays as msgpack-numpy writes them, and what they mean here.

A request is a map with `action`: `health`, `metadata` or `infer` with `point_cloud` (N, 3), m. The answer to `infer` has
`grasps` (M, 4, 4), `confidences` (M,), `num_grasps` and `timing`: poses in the cloud's frame at the gripper's base, z the
approach, x the closing axis. What cannot be answered has `error`.
"""

from typing import Any

import msgpack
import numpy as np

from grasp_client.contract import GraspPlan, Gripper, PlanRequest
from grasp_client.inputs import observe
from inference_server.errors import ServerError
from planning.base import PlanItem

MOST_GRASPS = 1000
MOST_KEYS = 64
MOST_ITEMS = 2**17
"""Of a list; larger clouds come as arrays."""
_FLOATS = ("<f2", "<f4", "<f8", "f2", "f4", "f8", ">f2", ">f4", ">f8")


def read(message: bytes) -> dict[str, Any]:
    """The map of a message, its arrays views of its bytes. Raises ServerError 400 for anything else."""
    try:
        told = msgpack.unpackb(
            message,
            object_hook=_array,
            raw=False,
            strict_map_key=True,
            max_map_len=MOST_KEYS,
            max_array_len=MOST_ITEMS,
            max_ext_len=0,
        )
    except Exception as error:  # the parser of a foreign format on foreign bytes: it may raise anything
        raise ServerError(400, "malformed_message", f"the message is no msgpack ({str(error)[:100]})") from error
    if not isinstance(told, dict) or not all(isinstance(key, str) for key in told):
        raise ServerError(400, "malformed_message", "expected a map with the key `action`: health, metadata or infer")
    return told


def item_of(told: dict[str, Any], gripper: Gripper, pose: list[list[float]] | None) -> PlanItem:
    """The cloud of an `infer` and its options. pose: of the clouds' frame in one whose z points up, if that is told.

    Raises ServerError 422, or ImageError.
    """
    points, around = _points(told, "point_cloud"), _points(told, "scene_point_cloud")
    if points is None:
        raise ServerError(422, "no_points", "expected `point_cloud`, floats (N, 3), m")
    top, wanted = _number(told, "topk_num_grasps", -1), _number(told, "num_grasps", 100)
    count = int(min(max(top if top > 0 else wanted, 1), MOST_GRASPS))
    least = min(max(_number(told, "grasp_threshold", 0.0), 0.0), 1.0)
    request = PlanRequest(gripper=gripper, n_grasps=count, min_quality=least, camera_pose=pose, reach=False)
    return observe(points=points, scene_points=around), request


def reply_of(plan: GraspPlan, base_offset: float) -> bytes:
    """The answer to an `infer`. base_offset: from the gripper's base to the ends of its fingers, m."""
    poses = np.array([grasp.pose_camera for grasp in plan.grasps], np.float32).reshape(-1, 4, 4)
    poses[:, :3, 3] -= np.float32(base_offset) * poses[:, :3, 2]
    told = {
        "grasps": poses,
        "confidences": np.array([grasp.quality for grasp in plan.grasps], np.float32),
        "num_grasps": len(plan.grasps),
        "timing": {**plan.timings_ms, "infer_ms": plan.timings_ms.get("total", 0.0)},
        "widths": np.array([grasp.width or 0.0 for grasp in plan.grasps], np.float32),
        "rejections": plan.rejections,
        "warnings": plan.warnings,
    }
    return write(told)


def write(told: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(told, default=_packed, use_bin_type=True)
    return packed


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        return {b"nd": True, b"type": data.dtype.str, b"kind": b"", b"shape": list(data.shape), b"data": data.tobytes()}
    raise TypeError(f"{type(value).__name__} does not go into a message")


def _array(found: dict[Any, Any]) -> Any:
    """The array that a map of msgpack-numpy stands for; any other map as it is. Raises ValueError."""
    fields = {key.decode("ascii", "replace") if isinstance(key, bytes) else key: value for key, value in found.items()}
    if fields.get("nd") is not True:
        return fields
    kind, shape, data = fields.get("type"), fields.get("shape"), fields.get("data")
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else kind
    if kind not in _FLOATS or not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > 3:
        raise ValueError(f"arrays hold floats, with at most three axes; got type {str(kind)[:20]}")
    return np.frombuffer(data, np.dtype(kind)).reshape([int(side) for side in shape])


def _points(told: dict[str, Any], name: str) -> np.ndarray | None:
    given = told.get(name)
    if given is None or isinstance(given, np.ndarray):
        return given
    try:
        return np.asarray(given, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise ServerError(422, "invalid_field", f"{name}: expected floats (N, 3), m") from error


def _number(told: dict[str, Any], name: str, default: float) -> float:
    given = told.get(name, default)
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given:
        raise ServerError(422, "invalid_field", f"{name}: expected a number, got {str(given)[:40]!r}")
    return float(given)
