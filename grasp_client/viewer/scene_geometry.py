"""A depth image as coloured points, and hands as boxes, in the camera frame (x right, y down, z forward), m."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import CameraIntrinsics, Grasp, Gripper, HandPart, RefusedGrasp
from grasp_client.drawing import REFUSED, depth_picture, quality_colour
from grasp_client.observation import Observation

PALM_HEIGHT = 0.03
"""Of a drawn palm along the approach, m."""
CUP_HEIGHT = 0.02
_CORNERS = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_FACES = np.array(
    [
        *([0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4]),
        *([2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5]),
    ]
)
"""Triangles of a box, counterclockwise seen from outside."""


@dataclass(frozen=True)
class Scene3D:
    """points (N, 3) float32 and colours (N, 3) uint8 of the cloud; vertices (M, 3) float32, tints (M, 3) uint8 and faces (K, 3)
    of the hands; grasps, gripper and refused grasps as they were."""

    points: np.ndarray
    colours: np.ndarray
    vertices: np.ndarray
    tints: np.ndarray
    faces: np.ndarray
    grasps: Sequence[Grasp]
    gripper: Gripper
    refused: Sequence[RefusedGrasp] = ()


def scene_of(
    observation: Observation,
    camera: CameraIntrinsics | None,
    grasps: Sequence[Grasp],
    gripper: Gripper,
    refused: Sequence[RefusedGrasp] = (),
) -> Scene3D:
    """The scene of an image with depth, or of a cloud. Of refused grasps the part that meets something, or the hand where none
    does, in red. Grasps without `pose_camera` are left out. Raises ValueError without either."""
    points, shades = _cloud(observation, camera)
    posed = [grasp for grasp in grasps if grasp.pose_camera is not None]
    spurned = [grasp for grasp in refused if grasp.pose_camera is not None]
    colours = [quality_colour(grasp.quality) for grasp in posed] + [np.array(REFUSED) for _ in spurned]
    boxes = [
        (_CORNERS * size + centre, grasp, colour)
        for grasp, colour in zip([*posed, *spurned], colours, strict=True)
        for part, size, centre in hand_boxes(gripper, grasp)
        if not isinstance(grasp, RefusedGrasp) or grasp.part in (None, part)
    ]
    corners = [_placed(corner, grasp) for corner, grasp, _ in boxes]
    tints = [np.tile(colour, (8, 1)) for *_, colour in boxes]
    faces = [_FACES + 8 * number for number in range(len(boxes))]
    return Scene3D(
        points.astype(np.float32),
        shades.astype(np.uint8),
        np.concatenate([np.zeros((0, 3)), *corners]).astype(np.float32),
        np.concatenate([np.zeros((0, 3)), *tints]).astype(np.uint8),
        np.concatenate([np.zeros((0, 3), int), *faces]),
        posed,
        gripper,
        spurned,
    )


def _cloud(observation: Observation, camera: CameraIntrinsics | None) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) and their colours (N, 3): of what may be grasped lighter than of what surrounds it."""
    clouds = [(observation.points, 225), (observation.scene_points, 130)]
    told = [(cloud, np.full((len(cloud), 3), shade)) for cloud, shade in clouds if cloud is not None]
    if told:
        return np.concatenate([cloud for cloud, _ in told]), np.concatenate([shade for _, shade in told])
    depth = observation.depth
    if depth is None or camera is None:
        raise ValueError("three dimensions need a depth image and a camera, or a cloud; colour alone has none")
    picture = observation.rgb if observation.rgb is not None else depth_picture(depth)
    rows, columns = np.nonzero(depth > 0)
    z = depth[rows, columns]
    points = np.stack([(columns - camera.cx) * z / camera.fx, (rows - camera.cy) * z / camera.fy, z], axis=1)
    return points, picture[rows, columns]


def hand_boxes(gripper: Gripper, grasp: Grasp) -> list[tuple[HandPart, np.ndarray, np.ndarray]]:
    """Parts, sizes and centres (3,) of the boxes of the open hand in the grasp frame, m: of a jaw the palm, and of each finger
    the pad and the rest; of a cup one box around it."""
    if grasp.kind == "suction":
        side = 2 * gripper.cup_radius
        return [("cup", np.array([side, side, CUP_HEIGHT]), np.array([0.0, 0.0, -CUP_HEIGHT / 2]))]
    width = grasp.width or gripper.max_width
    thin, low = gripper.pad
    boxes: list[tuple[HandPart, np.ndarray, np.ndarray]] = [
        (
            "palm",
            np.array([gripper.palm_width, gripper.palm_thickness, PALM_HEIGHT]),
            np.array([0.0, 0.0, -gripper.finger_depth - PALM_HEIGHT / 2]),
        )
    ]
    fingers: tuple[tuple[HandPart, int], ...] = (("finger_left", -1), ("finger_right", 1))
    for part, side in fingers:
        for thickness, bottom, top in ((thin, 0.0, low), (gripper.finger_thickness, low, gripper.finger_depth)):
            if top > bottom:
                centre = np.array([side * (width + thickness) / 2, 0.0, -(bottom + top) / 2])
                boxes.append((part, np.array([thickness, gripper.finger_width, top - bottom]), centre))
    return boxes


def _placed(points: np.ndarray, grasp: Grasp) -> np.ndarray:
    pose = np.asarray(grasp.pose_camera, dtype=float)
    placed: np.ndarray = points @ pose[:3, :3].T + pose[:3, 3]
    return placed
