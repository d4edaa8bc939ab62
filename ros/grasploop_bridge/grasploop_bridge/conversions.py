"""Between ROS messages and what the client takes and gives. Pure: no node, no network."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
from grasploop_msgs.msg import Grasp, GraspArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from grasp_client.contract import Grasp as PlannedGrasp
from grasp_client.contract import GraspPlan

DEPTH = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}
"""Encodings of depth: type of a pixel, metres of a unit."""
COLOUR = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
}
"""Encodings of colour: bytes of a pixel, and which of them are red, green and blue."""
FINGER = 0.04
"""Length of a drawn finger, m."""


def depth_of(image: Image) -> np.ndarray:
    """(H, W) float32, m, 0 for no reading. Raises ValueError for an encoding that is no depth, or too few bytes."""
    if image.encoding not in DEPTH:
        raise ValueError(f"depth image: expected the encoding {', '.join(DEPTH)}, got {image.encoding!r}")
    kind, metres = DEPTH[image.encoding]
    values = _pixels(image, np.dtype((">" if image.is_bigendian else "<") + kind), 1)[..., 0]
    if values.dtype.kind == "u":
        return values * np.float32(metres)
    return np.where(np.isfinite(values) & (values > 0), values, np.float32(0)).astype(np.float32)


def colour_of(image: Image) -> np.ndarray:
    """(H, W, 3) uint8. Raises ValueError for an encoding that is no colour, or too few bytes."""
    if image.encoding not in COLOUR:
        raise ValueError(f"colour image: expected the encoding {', '.join(COLOUR)}, got {image.encoding!r}")
    size, order = COLOUR[image.encoding]
    return np.ascontiguousarray(_pixels(image, np.dtype("u1"), size)[..., order])


def _pixels(image: Image, dtype: np.dtype, channels: int) -> np.ndarray:
    """(H, W, channels): rows may be longer than their pixels."""
    row = image.width * channels * dtype.itemsize
    if image.step < row or len(image.data) < image.step * image.height or not image.height or not image.width:
        raise ValueError(
            f"image of {image.width} x {image.height} {image.encoding}: expected rows of {row} bytes, "
            f"got {len(image.data)} bytes in rows of {image.step}"
        )
    rows = np.frombuffer(image.data, np.uint8, image.step * image.height).reshape(image.height, image.step)[:, :row]
    return np.ascontiguousarray(rows).view(dtype).reshape(image.height, image.width, channels)


def camera_of(info: CameraInfo) -> dict[str, Any]:
    """The contract's camera: K at its resolution, and lens distortion. Raises ValueError for a camera without a calibration."""
    if not info.k[0] > 0:
        raise ValueError("camera_info: expected the calibration in k, got zeros: is the camera calibrated?")
    camera: dict[str, Any] = {"fx": info.k[0], "fy": info.k[4], "cx": info.k[2], "cy": info.k[5]}
    if info.width and info.height:
        camera |= {"width": info.width, "height": info.height}
    if any(info.d):
        camera |= {"distortion_model": info.distortion_model or "plumb_bob", "D": list(info.d)}
    return camera


def grasps_of(plan: GraspPlan, header: Header, base_frame: str) -> GraspArray:
    """The reply as a message. Poses are in `base_frame` where it is named and the server knew the camera's pose, else in the
    header's frame; a grasp without a metric pose has zeros and says only its pixel."""
    found = GraspArray(request_id=plan.request_id, planner=plan.planner, warnings=list(plan.warnings))
    in_base = bool(base_frame) and all(grasp.pose_base is not None for grasp in plan.grasps)
    found.header = Header(stamp=header.stamp, frame_id=base_frame if in_base else header.frame_id)
    if plan.model:
        found.model, found.version = plan.model.name, plan.model.version
    found.rejection_reasons, found.rejection_counts = list(plan.rejections), list(plan.rejections.values())
    found.plan_ms, found.total_ms = plan.timings_ms.get("plan", 0.0), plan.timings_ms.get("total", 0.0)
    found.grasps = [_grasp(grasp, grasp.pose_base if in_base else grasp.pose_camera) for grasp in plan.grasps]
    return found


def _grasp(grasp: PlannedGrasp, pose: Sequence[Sequence[float]] | None) -> Grasp:
    message = Grasp(kind=grasp.kind, quality=grasp.quality, width=grasp.width or 0.0, angle=grasp.angle)
    message.center_px = [float(value) for value in grasp.center_px]
    if pose is not None:
        message.pose = pose_message(np.asarray(pose, dtype=float))
    return message


def pose_message(matrix: np.ndarray) -> Pose:
    """Of a rigid (4, 4) matrix."""
    x, y, z = (float(value) for value in matrix[:3, 3])
    return Pose(position=Point(x=x, y=y, z=z), orientation=_quaternion(matrix[:3, :3]))


def _quaternion(rotation: np.ndarray) -> Quaternion:
    """Of a rotation (3, 3); by its largest component, which keeps small differences from cancelling (Shepperd 1978)."""
    trace = float(np.trace(rotation))
    diagonal = [*(float(rotation[k, k]) for k in range(3)), trace]
    largest = int(np.argmax(diagonal))
    if largest == 3:
        w = math.sqrt(1 + trace) / 2
        off = [rotation[(k + 2) % 3, (k + 1) % 3] - rotation[(k + 1) % 3, (k + 2) % 3] for k in range(3)]
        x, y, z = (float(each) / (4 * w) for each in off)
        return Quaternion(x=x, y=y, z=z, w=w)
    i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
    values = [0.0] * 4
    values[i] = math.sqrt(max(0.0, 1 + rotation[i, i] - rotation[j, j] - rotation[k, k])) / 2
    values[j] = float(rotation[j, i] + rotation[i, j]) / (4 * values[i])
    values[k] = float(rotation[k, i] + rotation[i, k]) / (4 * values[i])
    values[3] = float(rotation[k, j] - rotation[j, k]) / (4 * values[i])
    return Quaternion(x=values[0], y=values[1], z=values[2], w=values[3])


def poses_of(found: GraspArray) -> PoseArray:
    return PoseArray(header=found.header, poses=[grasp.pose for grasp in found.grasps])


def markers_of(found: GraspArray, most: int = 20) -> MarkerArray:
    """A fork for each of the best jaws and an arrow for each of the best cups, from red (bad) to green; those before go."""
    markers = [Marker(header=found.header, action=Marker.DELETEALL)]
    for rank, grasp in enumerate(found.grasps[:most]):
        marker = Marker(header=found.header, ns="grasps", id=rank, action=Marker.ADD, pose=grasp.pose, lifetime=Duration())
        marker.color = ColorRGBA(r=float(1 - grasp.quality), g=float(grasp.quality), b=0.1, a=1.0)
        half = grasp.width / 2
        if grasp.kind == Grasp.SUCTION:
            corners = [(0.0, -2 * FINGER), (0.0, 0.0)]
        else:
            corners = [
                (-half, 0.0),
                (-half, -FINGER),
                (0.0, -FINGER),
                (0.0, -2 * FINGER),
                (0.0, -FINGER),
                (half, -FINGER),
                (half, 0.0),
            ]
        marker.type, marker.scale.x = Marker.LINE_STRIP, 0.003
        marker.points = [Point(x=x, z=z) for x, z in corners]
        markers.append(marker)
    return MarkerArray(markers=markers)
