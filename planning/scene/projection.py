"""Hands of the map as grasps of the wire: pixels, camera frame and base frame that agree with each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import LARGEST_PIXEL, Grasp, Gripper
from grasp_client.geometry import wrap_angle
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

    def pick(self, which: Tensor) -> ProjectedGrasps:
        return ProjectedGrasps(self.pose[which], self.pixel[which], self.angle[which], self.width_px[which])


def project_jaw(scene: PlanningScene, gripper: Gripper, hands: HandPose) -> ProjectedGrasps:
    """Where hands are seen from the camera."""
    local = torch.zeros((len(hands), 4, 4), dtype=torch.float64, device=hands.width.device)
    local[:, :3, :3] = hands.rotation
    local[:, :3, 3] = hands.position - gripper.tcp_offset * hands.approach
    local[:, 3, 3] = 1
    pose = _map_pose(scene, local) @ local
    tips = pose[:, :3, 3] + gripper.tcp_offset * pose[:, :3, 2]
    angle, width_px = _span(scene, pose, tips, 0.5 * hands.width[:, None])
    return ProjectedGrasps(pose, _pixels(scene, _visible(pose, tips)), angle, width_px)


def project_suction(scene: PlanningScene, gripper: Gripper, cups: CupPose) -> ProjectedGrasps:
    """Where cups are seen from the camera. A cup is round: the x axis of its pose is chosen to lie along the image's u."""
    map_pose = _map_pose(scene, cups.x)
    approach = cups.approach.to(torch.float64) @ map_pose[:3, :3].T
    contact = cups.position.to(torch.float64) @ map_pose[:3, :3].T + map_pose[:3, 3]
    along_u = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64, device=cups.x.device) - approach[:, :1] * approach
    along_u = along_u / torch.linalg.norm(along_u, dim=1, keepdim=True)
    pose = torch.eye(4, dtype=torch.float64, device=cups.x.device).repeat(len(cups), 1, 1)
    origin = contact - gripper.tcp_offset * approach
    pose[:, :3] = torch.stack([along_u, torch.linalg.cross(approach, along_u), approach, origin], 2)
    angle, _ = _span(scene, pose, contact, gripper.cup_radius)
    return ProjectedGrasps(pose, _pixels(scene, _visible(pose, contact)), angle, torch.zeros_like(cups.x))


def _visible(pose: Tensor, tips: Tensor) -> Tensor:
    """Reported origins (N, 3) of poses (N, 4, 4) in the camera frame, or the tips (N, 3) where those lie too near to it."""
    origin = pose[:, :3, 3]
    return torch.where((origin[:, 2:] > IN_FRONT).expand_as(origin), origin, tips)


def _span(scene: PlanningScene, pose: Tensor, tips: Tensor, half: Tensor | float) -> tuple[Tensor, Tensor]:
    """Image angles (N,) and lengths in pixels (N,) of what reaches `half` (m) to both sides along the poses' x axes."""
    middle, reach = _visible(pose, tips), half * pose[:, :3, 0]
    ends = _pixels(scene, middle + reach) - _pixels(scene, middle - reach)
    return torch.atan2(ends[:, 1], ends[:, 0]), torch.linalg.norm(ends, dim=1)


def _map_pose(scene: PlanningScene, like: Tensor) -> Tensor:
    """(4, 4) float64: map frame to camera frame."""
    return torch.as_tensor(scene.map.pose, dtype=torch.float64, device=like.device)


def map_pixels(scene: PlanningScene, points: Tensor) -> Tensor:
    """Pixels (N, 2) of map points (N, 3), m; far outside the image where a point is not in front of the camera."""
    pose = torch.as_tensor(scene.map.pose, dtype=torch.float32, device=points.device)
    return _pixels(scene, points @ pose[:3, :3].T + pose[:3, 3])


def map_points(x: Tensor, y: Tensor, height: Tensor) -> Tensor:
    """Points (N, 3) in the map's frame, whose z points down."""
    return torch.stack([x, y, -height], 1)


def image_angle(scene: PlanningScene, angles: Tensor) -> Tensor:
    """Angles (N,) in the image, from +u towards +v, of closing axes at map angles (N,) in the middle of the map's view."""
    pose = _map_pose(scene, angles)
    rows, columns = scene.map.height.shape
    x = scene.map.corner[0] + scene.map.resolution * columns / 2
    y = scene.map.corner[1] + scene.map.resolution * rows / 2
    middle = pose[:3, :3] @ torch.tensor([x, y, 0.0], dtype=torch.float64, device=angles.device) + pose[:3, 3]
    axes = torch.stack([torch.cos(angles), torch.sin(angles), torch.zeros_like(angles)], 1).to(torch.float64)
    step = 0.01 * axes @ pose[:3, :3].T
    ends = _pixels(scene, middle + step) - _pixels(scene, middle - step)
    return torch.atan2(ends[:, 1], ends[:, 0]).to(angles.dtype)


def _pixels(scene: PlanningScene, points: Tensor) -> Tensor:
    camera, depth = scene.camera, points[:, 2].clamp(min=1e-4)
    pixels = torch.stack([camera.fx * points[:, 0] / depth + camera.cx, camera.fy * points[:, 1] / depth + camera.cy], 1)
    return pixels.clamp(-LARGEST_PIXEL, LARGEST_PIXEL)  # no farther than a reply can say


def wire_grasps(scene: PlanningScene, placed: ProjectedGrasps, widths: Tensor | None, qualities: Tensor) -> list[Grasp]:
    """The reply's grasps: of a jaw with openings (N,), m, or of a cup, which has none. Without a camera in the request they
    carry pixels only."""
    poses, pixels = placed.pose.cpu().numpy(), placed.pixel.tolist()
    found = []
    for i, (angle, quality) in enumerate(zip(placed.angle.tolist(), qualities.tolist(), strict=True)):
        grasp = Grasp(
            kind="suction" if widths is None else "parallel_jaw",
            quality=min(max(quality, 0.0), 1.0),
            center_px=pixels[i],
            angle=wrap_angle(angle),
            width_px=None if widths is None else float(placed.width_px[i]),
        )
        found.append(_with_poses(scene, grasp, poses[i], None if widths is None else float(widths[i])))
    return found


def _with_poses(scene: PlanningScene, grasp: Grasp, pose: np.ndarray, width: float | None) -> Grasp:
    if not scene.metric:
        return grasp
    before = pose.copy()
    before[:3, 3] -= RETREAT * pose[:3, 2]
    base = scene.camera_pose
    return grasp.model_copy(
        update={
            "depth": float(pose[2, 3]),
            "width": width,
            "pose_camera": pose.tolist(),
            "pregrasp_camera": before.tolist(),
            "pose_base": None if base is None else (base @ pose).tolist(),
            "pregrasp_base": None if base is None else (base @ before).tolist(),
        }
    )
