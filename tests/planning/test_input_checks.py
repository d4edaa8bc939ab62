"""Odd input is told, each kind by its name, and nothing is told of what is in order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from table_scenes import Box, Camera, render

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.geometry import look_at
from grasp_client.observation import Observation
from planning.input_checks import CHECKS, inspect_input
from planning.local import local_planner
from sim_worker.world import World
from sim_worker.world.simulation.spec import CameraSpec, SceneSpec

CAMERA = CameraIntrinsics(fx=600, fy=600, cx=319.5, cy=239.5)


def pose_at(x: float, y: float, z: float, aim: float = 0.0) -> np.ndarray:
    """A camera there that looks at (aim, 0, 0)."""
    return look_at(np.array([x, y, z]), np.array([aim, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))


ABOVE = pose_at(0, 0, 0.6)
TILTED = pose_at(0.3, 0.25, 0.55)
STEEP = pose_at(0.55, 0.0, 0.28)
BOX = Box(0.02, 0.03, 0.4, 0.10, 0.05, 0.04)
OFF_CENTRE = Box(0.15, 0.1, 0.4, 0.06, 0.03, 0.05)


def seen_from(pose: np.ndarray) -> np.ndarray:
    return render(Camera(480, 640, CAMERA, pose), [BOX, OFF_CENTRE])


DEPTH = seen_from(ABOVE)


def kinds(
    depth: np.ndarray | None = DEPTH, rgb: np.ndarray | None = None, mask: np.ndarray | None = None, **options: Any
) -> list[str]:
    request = PlanRequest(**{"camera": CAMERA, "camera_pose": ABOVE.tolist(), **options})
    told = inspect_input(Observation(depth, rgb, mask), request)
    assert all(": " in text and len(text) < 400 for text in told)
    return [text.partition(":")[0] for text in told]


def test_nothing_is_told_of_what_is_in_order():
    assert kinds() == []
    assert kinds(camera_pose=None) == []
    assert kinds(seen_from(TILTED), camera_pose=TILTED.tolist()) == []
    assert kinds(table_depth=0.6, region=[10, 10, 600, 400], mask=DEPTH < 0.59) == []


@pytest.mark.parametrize(
    "camera",
    [
        CAMERA.model_copy(update={"cx": 639.5, "cy": 359.5}),  # of 1280 x 720
        CAMERA.model_copy(update={"cx": 159.5, "cy": 119.5}),
        CAMERA.model_copy(update={"cx": 0.5, "cy": 0.5}),
    ],
)
def test_a_principal_point_far_from_the_middle(camera):
    assert "principal_point" in kinds(camera=camera, camera_pose=None)


@pytest.mark.parametrize("focal", [(60, 60), (9000, 9000), (600, 300)])
def test_a_focal_length_that_no_lens_has(focal):
    assert "field_of_view" in kinds(camera=CAMERA.model_copy(update={"fx": focal[0], "fy": focal[1]}), camera_pose=None)


def test_a_camera_pose_in_other_units():
    pose = ABOVE.copy()
    pose[:3, 3] *= 100
    assert "camera_pose_unit" in kinds(camera_pose=pose.tolist())


@pytest.mark.parametrize("kind", ["inverted", "of another camera", "with y up"])
def test_a_camera_pose_under_which_the_table_leans(kind):
    wrong = {
        "inverted": np.linalg.inv(TILTED),
        "of another camera": ABOVE,
        "with y up": np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]) @ TILTED,
    }[kind]
    assert "gravity" in kinds(seen_from(TILTED), camera_pose=wrong.tolist())


@pytest.mark.parametrize("factor", [10.0, 0.1, 4.0, 0.25, 5.0])
def test_depth_of_another_unit_under_a_camera_pose(factor):
    assert "depth_unit" in kinds((DEPTH * factor).astype(np.float32))


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_depth_of_another_unit_by_its_distance_alone(factor):
    assert "depth_unit" in kinds((DEPTH * factor).astype(np.float32), camera_pose=None)


@pytest.mark.parametrize(("near", "far"), [(0.01, 10.0), (0.02, 5.0), (0.01, 1000.0)])
def test_the_depth_buffer_of_a_renderer(near, far):
    buffer = far * (DEPTH - near) / (DEPTH * (far - near))
    assert "no_distances" in kinds(buffer.astype(np.float32), camera_pose=None)


def test_an_image_scaled_to_its_range():
    scaled = (DEPTH - DEPTH.min()) / (DEPTH.max() - DEPTH.min())
    assert "no_distances" in kinds(scaled.astype(np.float32), camera_pose=None)


def test_depth_of_which_the_background_was_removed():
    assert "background_removed" in kinds(np.where(DEPTH < 0.59, DEPTH, 0).astype(np.float32))


def test_a_steep_table_without_a_pose():
    assert kinds(seen_from(STEEP), camera_pose=None) == ["steep_table"]
    assert kinds(seen_from(STEEP), camera_pose=STEEP.tolist()) == []


def test_a_table_depth_unlike_what_is_seen():
    assert kinds(table_depth=0.75) == ["table_depth"]


def test_masks_that_allow_nothing_or_all_or_what_is_not_seen():
    none = np.zeros(DEPTH.shape, bool)
    hole = DEPTH.copy()
    hole[100:140, 100:140] = 0
    corner = none.copy()
    corner[100:140, 100:140] = True
    assert kinds(mask=none) == ["segmask"]
    assert kinds(mask=~none) == ["segmask"]
    assert kinds(hole, mask=corner) == ["segmask"]
    assert kinds(hole, region=[105, 105, 130, 130]) == ["region"]


def test_colour_that_shows_nothing():
    assert kinds(rgb=np.zeros((480, 640, 3), np.uint8)) == ["colour"]
    assert kinds(rgb=np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)) == []
    noise = np.random.default_rng(0).normal(12, 2, (480, 640, 3)).clip(0, 255).astype(np.uint8)
    assert kinds(rgb=noise) == ["colour"]


def test_a_small_thing_on_a_plain_table_is_colour_enough():
    rgb = np.full((240, 320, 3), 105, np.uint8)
    rgb[100:116, 100:116] = (60, 150, 70)  # a three-hundredth
    assert kinds(rgb=rgb) == []


def test_checks_are_off_when_asked():
    assert kinds((10 * DEPTH).astype(np.float32), checks="off") == []


def test_warnings_come_with_the_plan():
    request = PlanRequest(camera=CAMERA, camera_pose=np.linalg.inv(TILTED).tolist())
    plan = local_planner("antipodal").plan(Observation(seen_from(TILTED)), request)
    assert any(text.startswith("gravity: ") for text in plan.warnings)


@pytest.mark.parametrize("profile", ["clean", "standard", "hard"])
def test_no_false_alarm_in_simulated_scenes(profile):
    """Every kind of scene through a near, the usual and a far camera, with and without its pose."""
    world = World()
    cameras = [
        None,
        CameraSpec(width=640, height=480, focal=615, distance=0.5),
        CameraSpec(width=320, height=240, distance=1.3),
    ]
    told = []
    for number, kind in enumerate(["single", "pile", "packed", "bin"]):
        scene = world.build(SceneSpec(seed=8800 + number, kind=kind, profile=profile))
        for camera in cameras:
            view = scene.observe_with(camera or scene.spec.camera)
            for pose in (None, view.camera_pose.tolist()):
                request = PlanRequest(camera=view.camera, camera_pose=pose)
                told += inspect_input(Observation(view.observation.depth, view.rgb), request)
    assert told == []


def test_every_kind_has_a_name_for_programs():
    assert all(kind.isidentifier() for kind in CHECKS)


def test_a_thing_outside_the_map_is_found_when_its_region_is_named():
    far = pose_at(0, 0, 2.0)
    depth = render(Camera(480, 640, CAMERA, far), [Box(0.9, 0.0, 0.3, 0.05, 0.05, 0.05)])
    v, u = np.nonzero(depth < 1.96)
    region = [float(u.min()) - 5, float(v.min()) - 5, float(u.max()) + 5, float(v.max()) + 5]
    planner = local_planner("antipodal")
    whole = planner.plan(Observation(depth), PlanRequest(camera=CAMERA, camera_pose=far.tolist()))
    inside = planner.plan(Observation(depth), PlanRequest(camera=CAMERA, camera_pose=far.tolist(), region=region))
    assert whole.rejections["outside_map"] > 0
    assert inside.grasps
    assert math.dist(np.array(inside.grasps[0].pose_base)[:2, 3], (0.9, 0.0)) < 0.03


def test_a_thing_on_a_steep_table_is_grasped_without_a_pose():
    plan = local_planner("antipodal").plan(Observation(seen_from(STEEP)), PlanRequest(camera=CAMERA))
    tip = (STEEP @ np.array(plan.grasps[0].pose_camera))[:3, 3]
    assert any(box.inside(tip[None] + [[0, 0, 0.001]])[0] for box in (BOX, OFF_CENTRE))


@pytest.mark.parametrize("shape", [(2, 25), (1, 300), (300, 1)])
def test_readings_on_a_line_or_in_a_point_say_nothing_of_a_plane(shape):
    narrow = CameraIntrinsics(fx=19102, fy=78526, cx=0, cy=0)
    told = kinds(np.full(shape, 0.25, np.float32), camera=narrow, camera_pose=None)
    assert "field_of_view" in told
    assert "steep_table" not in told
