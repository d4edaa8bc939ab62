"""Hands of the map as grasps of the wire: pixels, camera frame and base frame that agree with each other."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import LARGEST_PIXEL, Grasp, GraspKind, Gripper
from grasp_client.geometry import invert
from planning.limits import RETREAT
from planning.scene.scene import PlanningScene
from shared.grasp_poses import CupPose, HandPose

IN_FRONT = 0.02
"""A reported origin nearer to the camera than this has no sensible pixel: that of the fingertips is given, m."""


@dataclass(frozen=True)
class ProjectedGrasps:
    """N grasps in the camera frame: poses (N, 4, 4) at the reported origin, its pixels (N, 2), the angles of the poses' x axis
    in the image (N,) and a jaw's openings in pixels (N,)."""

    pose: Tensor
    pixel: Tensor
    angle: Tensor
    width_px: Tensor


def project_jaw(scene: PlanningScene, gripper: Gripper, hands: HandPose) -> ProjectedGrasps:
    """Where hands are seen from the camera."""
    pose, tips = _jaw_poses(scene, gripper, hands)
    angle, width_px = _span(scene, pose, tips, 0.5 * hands.width[:, None])
    return ProjectedGrasps(pose, camera_pixels(scene, _visible(pose, tips)), angle, width_px)


def view_of_jaw(scene: PlanningScene, hands: HandPose) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (N, 2) of the origins of hands as they are reported; whether (N,) there is a reading; and whether both fingertips,
    open, lie inside the picture: what is beyond it cannot be judged."""
    pixels = camera_pixels(scene, _visible(*_jaw_poses(scene, scene.gripper, hands)))
    reach = (hands.width / 2 + scene.pad[0])[:, None] * hands.rotation[:, :, 0]
    tips = torch.cat([hands.position - reach, hands.position + reach])
    return pixels, has_reading(scene, pixels), in_picture(scene, tips).reshape(2, -1).all(0)


def _jaw_poses(scene: PlanningScene, gripper: Gripper, hands: HandPose) -> tuple[Tensor, Tensor]:
    """Poses (N, 4, 4) of hands at the reported origin, and their tips (N, 3), in the camera frame, m."""
    local = torch.zeros((hands.width.shape[0], 4, 4), dtype=torch.float64, device=hands.width.device)
    local[:, :3, :3] = hands.rotation
    local[:, :3, 3] = hands.position - gripper.tcp_offset * hands.approach
    local[:, 3, 3] = 1
    pose = scene.to_camera(hands.position) @ local
    return pose, pose[:, :3, 3] + gripper.tcp_offset * pose[:, :3, 2]


def project_suction(scene: PlanningScene, gripper: Gripper, cups: CupPose) -> ProjectedGrasps:
    """Where cups are seen from the camera. A cup is round: the x axis of its pose is chosen to lie along the image's u."""
    map_pose = scene.to_camera(cups.x)
    approach = cups.approach.to(torch.float64) @ map_pose[:3, :3].T
    contact = cups.position.to(torch.float64) @ map_pose[:3, :3].T + map_pose[:3, 3]
    along_u = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64, device=cups.x.device) - approach[:, :1] * approach
    along_u = along_u / torch.linalg.norm(along_u, dim=1, keepdim=True)
    pose = torch.eye(4, dtype=torch.float64, device=cups.x.device).repeat(len(cups), 1, 1)
    origin = contact - gripper.tcp_offset * approach
    pose[:, :3] = torch.stack([along_u, torch.linalg.cross(approach, along_u), approach, origin], 2)
    angle, _ = _span(scene, pose, contact, gripper.cup_radius)
    return ProjectedGrasps(pose, camera_pixels(scene, _visible(pose, contact)), angle, torch.zeros_like(cups.x))


def _visible(pose: Tensor, tips: Tensor) -> Tensor:
    """Reported origins (N, 3) of poses (N, 4, 4) in the camera frame, or the tips (N, 3) where those lie too near to it."""
    origin = pose[:, :3, 3]
    return torch.where((origin[:, 2:] > IN_FRONT).expand_as(origin), origin, tips)


def _span(scene: PlanningScene, pose: Tensor, tips: Tensor, half: Tensor | float) -> tuple[Tensor, Tensor]:
    """Image angles (N,) and lengths in pixels (N,) of what reaches `half` (m) to both sides along the poses' x axes."""
    middle, reach = _visible(pose, tips), half * pose[:, :3, 0]
    ends = camera_pixels(scene, middle + reach) - camera_pixels(scene, middle - reach)
    return torch.atan2(ends[:, 1], ends[:, 0]), torch.linalg.norm(ends, dim=1)


def map_pixels(scene: PlanningScene, points: Tensor) -> Tensor:
    """Pixels (N, 2) of map points (N, 3), m; far outside the image where a point is not in front of the camera."""
    pose = scene.to_camera(points).to(torch.float32)
    if pose.ndim == 2:
        return camera_pixels(scene, points @ pose[:3, :3].T + pose[:3, 3])
    return camera_pixels(scene, (pose[:, :3, :3] @ points[:, :, None])[:, :, 0] + pose[:, :3, 3])


def map_points(x: Tensor, y: Tensor, height: Tensor) -> Tensor:
    """Points (N, 3) in the map's frame, whose z points down."""
    return torch.stack([x, y, -height], 1)


def has_reading(scene: PlanningScene, pixels: Tensor) -> Tensor:
    """Which pixels (N, 2) of the depth image, or those of it that are nearest to them, have a reading, (N,) bool."""
    if scene.observation.views:  # any of them may have it: the map tells
        return torch.ones(len(pixels), dtype=torch.bool, device=pixels.device)
    depth = torch.from_numpy(np.ascontiguousarray(scene.observation.depth)).to(pixels.device)
    rows, columns = depth.shape
    column, row = pixels.round().to(torch.int64).unbind(1)
    return depth[row.clamp(0, rows - 1), column.clamp(0, columns - 1)] > 0


def in_picture(scene: PlanningScene, points: Tensor) -> Tensor:
    """Which map points (N, 3), m, lie inside of the picture, or of that of any view, (N,) bool."""
    rows, columns = scene.observation.size
    u, v = map_pixels(scene, points).unbind(1)
    inside: Tensor = (u >= -0.5) & (u <= columns - 0.5) & (v >= -0.5) & (v <= rows - 0.5)
    if not scene.observation.views:
        return inside
    pose = torch.as_tensor(scene.map.pose, dtype=torch.float64, device=points.device)
    in_first = scene.unit * (points.double() @ pose[:3, :3].T + pose[:3, 3])
    for view in scene.observation.views:
        to_view = torch.as_tensor(invert(view.pose), device=points.device)
        x, y, z = (in_first @ to_view[:3, :3].T + to_view[:3, 3]).unbind(1)
        z, (height, width) = z.clamp(min=1e-4), view.depth.shape
        u, v = view.camera.fx * x / z + view.camera.cx, view.camera.fy * y / z + view.camera.cy
        inside = inside | ((u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5))
    return inside


def camera_pixels(scene: PlanningScene, points: Tensor) -> Tensor:
    """Pixels (N, 2) of points (N, 3) in the camera frame, m."""
    camera, depth = scene.camera, points[:, 2].clamp(min=1e-4)
    pixels = torch.stack([camera.fx * points[:, 0] / depth + camera.cx, camera.fy * points[:, 1] / depth + camera.cy], 1)
    return pixels.clamp(-LARGEST_PIXEL, LARGEST_PIXEL)  # no farther than a reply can say


def wire_grasps(scene: PlanningScene, pose: HandPose | CupPose, qualities: Tensor) -> list[Grasp]:
    """The reply's grasps, with qualities (N,). Without a camera in the request they carry pixels only."""
    gripper, base = scene.gripper, scene.camera_pose
    kind: GraspKind = "parallel_jaw" if isinstance(pose, HandPose) else "suction"
    placed = project_jaw(scene, gripper, pose) if isinstance(pose, HandPose) else project_suction(scene, gripper, pose)
    seen = {
        "quality": qualities.clamp(0, 1).tolist(),
        "center_px": placed.pixel.tolist(),
        # Half a turn gives the same jaw.
        "angle": (math.pi / 2 - (math.pi / 2 - placed.angle) % math.pi).tolist(),
        "width_px": placed.width_px.tolist() if isinstance(pose, HandPose) else [None] * len(qualities),
    }
    grasps = [Grasp(kind=kind, **dict(zip(seen, row, strict=True))) for row in zip(*seen.values(), strict=True)]
    if scene.request.camera is None:
        return grasps
    poses = placed.pose.cpu().numpy()
    poses[:, :3, 3] *= scene.unit
    before = poses.copy()
    before[:, :3, 3] -= RETREAT * poses[:, :3, 2]
    known = {"depth": poses[:, 2, 3].tolist(), "pose_camera": poses.tolist(), "pregrasp_camera": before.tolist()}
    if isinstance(pose, HandPose):
        known["width"] = (scene.unit * pose.width).tolist()
    if base is not None:
        known |= {"pose_base": (base @ poses).tolist(), "pregrasp_base": (base @ before).tolist()}
    return [grasp.model_copy(update={name: values[i] for name, values in known.items()}) for i, grasp in enumerate(grasps)]
