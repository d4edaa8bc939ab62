"""Grasps drawn from a depth image: at random on objects, and where edges or flatness promise more.

They need no network: they give a learner the variety that a planner's own grasps lack, and a benchmark its floor.
A jaw approaches straight down; a cup along the surface's normal.
"""

import math

import numpy as np

from grasp_client.contract import Grasp, Gripper
from grasp_client.geometry import approach_frame, invert, project, transform
from shared.table_grasp import TIP_HEIGHTS, table_grasp, table_up
from sim_worker.grasp_poses import jaw_grasp, suction_grasp, top_down
from sim_worker.sampling.surface import Surface, scale_of

INSERTION = 0.03
"""How far the tips go below the highest point near the grasp's centre, m; as all lengths here by a hand of the usual size."""
LOWEST_TIP = 0.006
FINGER_CLEARANCE = 0.004
FRICTION_ANGLE = math.radians(16)
ANGLE_BINS = 16
CUP_DRAWS = 24
BESIDE = 0.03
"""Deviation per axis of grasps that are drawn beside an object, m."""
OVER_TABLE = (0.15, 0.25, 0.2, 0.2, 0.2)
"""Share of each of TIP_HEIGHTS: most objects are low, but the lowest tips often touch the table."""


def tip_height(surface: Surface, xy: np.ndarray, yaw: float, width: float, gripper: Gripper, above_fingers: bool) -> float:
    """Height of the tips, m: INSERTION below the highest point near the centre, never into the table.

    above_fingers: also above whatever the fingers would land on. Without a point near, at the table.
    """
    around = surface.near(xy, width / 2 + gripper.finger_thickness + gripper.finger_width)
    scale = scale_of(gripper)
    if not len(around):
        return LOWEST_TIP * scale
    offset = around[:, :2] - xy
    along = offset @ np.array([math.cos(yaw), math.sin(yaw)])
    across = offset @ np.array([-math.sin(yaw), math.cos(yaw)])
    centre = (np.abs(along) < 0.006 * scale) & (np.abs(across) < 0.006 * scale)
    top = float(around[centre, 2].max()) if centre.any() else 0.0
    height = max(top - min(INSERTION * scale, gripper.finger_depth * 0.6), LOWEST_TIP * scale)
    if above_fingers:
        thin, pad_depth = gripper.pad
        for thickness, start in ((thin, 0.0), (gripper.finger_thickness, pad_depth)):
            outside = np.abs(np.abs(along) - (width + thickness) / 2) < thickness / 2 + 0.002 * scale
            under = outside & (np.abs(across) < gripper.finger_width / 2 + 0.002 * scale)
            if under.any():
                height = max(height, float(around[under, 2].max()) + FINGER_CLEARANCE * scale - start)
    return height


def random_on_object(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """Up to `count` grasps on random object pixels, a jaw's at random angles; none when no object is seen."""
    points = surface.object_points
    if not len(points):
        return []
    if gripper.kind == "suction":
        return [cup_on(surface, point, gripper)[0] for point in points[rng.integers(len(points), size=count)]]
    grasps = []
    for point in points[rng.integers(len(points), size=count)]:
        yaw = rng.integers(ANGLE_BINS) * math.pi / ANGLE_BINS
        width = gripper.max_width if rng.random() < 0.5 else rng.uniform(0.4, 1.0) * gripper.max_width
        grasps.append(_grasp(surface, point[:2], yaw, width, gripper, rng))
    return grasps


def random_probability(surface: Surface) -> float:
    """Probability with which `random_on_object` proposes one given pixel and angle of a jaw."""
    return 1.0 / max(len(surface.object_points) * ANGLE_BINS, 1)


def over_table(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """Up to `count` jaw grasps that ask nothing of depth: wide open, straight down, at one of TIP_HEIGHTS over the base plane,
    at one of ANGLE_BINS angles in the image.

    Half lie between opposite depth edges; of the rest six in ten on an object, three beside one, one anywhere in the picture.
    None for a cup.
    """
    points, pose = surface.object_points, surface.camera_pose
    if not len(points) or gripper.kind == "suction":
        return []
    table_depth = float(-pose[2, 3] / pose[2, 2])
    last = np.array(surface.on_object.shape[::-1]) - 1
    spread = BESIDE * surface.camera.fx / table_depth
    bin_angle = math.pi / ANGLE_BINS
    wanted = [(grasp.center_px, round(grasp.angle / bin_angle)) for grasp in antipodal_edges(surface, gripper, count // 2, rng)]
    seen = project(transform(invert(pose), points), surface.camera)
    while len(wanted) < count:
        pixel, place = seen[rng.integers(len(seen))], rng.random()
        if place > 0.6:
            pixel = pixel + rng.normal(size=2) * spread
        if place > 0.9:
            pixel = rng.uniform(0, last)
        if ((pixel >= 0) & (pixel <= last)).all():
            wanted.append((pixel.tolist(), int(rng.integers(ANGLE_BINS))))
    heights = rng.choice(TIP_HEIGHTS, count, p=OVER_TABLE)
    return [
        jaw_grasp(
            pose @ table_grasp(pixel, angle * bin_angle, height, surface.camera, table_depth, table_up(pose)),
            gripper.max_width,
            0.0,
            surface.camera,
            pose,
            gripper.tcp_offset,
        )
        for (pixel, angle), height in zip(wanted, heights, strict=True)
    ]


def promising(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """Up to `count` better grasps than random ones: between opposite edges for a jaw, on flat patches for a cup."""
    if gripper.kind == "suction":
        return flat_patches(surface, gripper, count, rng)
    return antipodal_edges(surface, gripper, count, rng)


def flat_patches(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """Up to `count` suction grasps: each the flattest of CUP_DRAWS random object pixels."""
    points = surface.object_points
    if not len(points):
        return []
    drawn = points[rng.integers(len(points), size=(count, CUP_DRAWS))]
    return [min((cup_on(surface, point, gripper) for point in row), key=lambda each: each[1])[0] for row in drawn]


def cup_on(surface: Surface, point: np.ndarray, gripper: Gripper) -> tuple[Grasp, float]:
    """A suction grasp at `point` (3,) along the normal there, and how far from flat the patch under the cup is, m."""
    plane = surface.plane_at(point, gripper.cup_radius)
    normal, departure = plane if plane else (np.array([0.0, 0.0, 1.0]), math.inf)
    closing = np.array([1.0, 0.0, 0.0]) if abs(normal[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    contact = approach_frame(point, closing, -normal)
    return suction_grasp(contact, 0.0, surface.camera, surface.camera_pose, gripper.tcp_offset), departure


def antipodal_edges(surface: Surface, gripper: Gripper, count: int, rng: np.random.Generator) -> list[Grasp]:
    """Up to `count` grasps between two depth edges that face away from each other within the jaw's opening.

    The pair's line lies within FRICTION_ANGLE of both edges' outward directions.
    """
    points, outward = surface.edges
    grasps: list[Grasp] = []
    if len(points) < 2:
        return grasps
    facing, scale = math.cos(FRICTION_ANGLE), scale_of(gripper)
    for first in rng.integers(len(points), size=count * 6):
        if len(grasps) == count:
            break
        line = points[:, :2] - points[first, :2]
        length = np.linalg.norm(line, axis=1)
        direction = line / np.maximum(length, 1e-9)[:, None]
        opposite = (direction @ outward[first] < -facing) & ((direction * outward).sum(axis=1) > facing)
        partners = np.flatnonzero(opposite & (length > 0.004 * scale) & (length < gripper.max_width - 0.001 * scale))
        if not len(partners):
            continue
        second = rng.choice(partners)
        yaw = math.atan2(direction[second, 1], direction[second, 0])
        width = min(length[second] + scale * rng.uniform(0.004, 0.02), gripper.max_width)
        grasps.append(_grasp(surface, (points[first, :2] + points[second, :2]) / 2, yaw, width, gripper, rng))
    return grasps


def _grasp(surface: Surface, xy: np.ndarray, yaw: float, width: float, gripper: Gripper, rng: np.random.Generator) -> Grasp:
    width = max(width, gripper.min_width)
    height = tip_height(surface, xy, yaw, width, gripper, above_fingers=bool(rng.random() < 0.5))
    return jaw_grasp(top_down(xy, height, yaw), width, 0.0, surface.camera, surface.camera_pose, gripper.tcp_offset)
