"""Pushes of the map as pushes of the wire: pixels, camera frame and base frame that agree with each other."""

import numpy as np
import torch

from grasp_client.contract import Push
from planning.scene.projection import camera_pixels
from planning.scene.scene import PlanningScene
from shared.features.push import PushPaths


def wire_pushes(
    scene: PlanningScene, paths: PushPaths, qualities: np.ndarray | None = None, quality: float | None = None
) -> list[Push]:
    """Pushes as poses of the tool point of the closed hand. qualities (N,): predicted of the goal's best grasp after each;
    quality: of its best grasp now, which tells the gain. Without a pose of the camera they carry none in the base frame."""
    count = len(paths)
    closing = paths.direction + np.where(paths.turned, 0.0, np.pi / 2)
    local = np.tile(np.eye(4), (count, 1, 1))
    cos, sin = np.cos(closing), np.sin(closing)
    local[:, 0, 0], local[:, 1, 0], local[:, 0, 1], local[:, 1, 1] = cos, sin, -sin, cos
    local[:, :3, 3] = np.stack([paths.x, paths.y, -paths.tip - scene.gripper.tcp_offset], 1)
    ends = local.copy()
    ends[:, 0, 3] += paths.length * np.cos(paths.direction)
    ends[:, 1, 3] += paths.length * np.sin(paths.direction)
    start, end = scene.map.pose @ local, scene.map.pose @ ends
    pixels = camera_pixels(scene, torch.from_numpy(np.concatenate([start, end])[:, :3, 3])).reshape(2, count, 2).tolist()
    pushes = []
    for i in range(count):
        value = None if qualities is None else float(np.clip(qualities[i], 0, 1))
        in_base = {}
        if scene.camera_pose is not None:
            in_base = {"start_base": (scene.camera_pose @ start[i]).tolist(), "end_base": (scene.camera_pose @ end[i]).tolist()}
        pushes.append(
            Push(
                start_camera=start[i].tolist(),
                end_camera=end[i].tolist(),
                **in_base,
                length=float(paths.length[i]),
                start_px=pixels[0][i],
                end_px=pixels[1][i],
                predicted_quality=value,
                gain=None if value is None or quality is None else value - quality,
            )
        )
    return pushes
