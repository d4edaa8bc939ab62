"""Deprojected pixels lie on the surfaces that were drawn: no half-pixel bias, exact table, told and true poses."""

import math

import numpy as np
import pytest

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import deproject, look_at, transform
from sim_worker.world import CameraSpec, Conditions, Profile, Scene, SceneSpec, World
from sim_worker.world.camera.camera import camera_poses, plane_depth, render
from sim_worker.world.objects.objects import Part, PartsModel
from sim_worker.world.simulation.physics import Physics
from sim_worker.world.simulation.placement import PlacedObject

HALF = (0.03, 0.02, 0.025)


@pytest.fixture(scope="module")
def physics():
    physics = Physics()
    yield physics
    physics.close()


def top_face_bias(physics, eye, renderer_count=60):
    """Mean offset (x, y, z), m, of the deprojected top face of boxes at random places from where they really are."""
    physics.reset()
    body = PartsModel("box", (Part("box", tuple(2 * h for h in HALF)),)).spawn(physics, (0, 0, 0), (0, 0, 0, 1))
    camera = CameraIntrinsics(fx=420, fy=400, cx=123.3, cy=98.1)
    pose, random, offsets = look_at(np.array(eye), np.zeros(3), np.array([0.0, 1.0, 0.0])), np.random.default_rng(0), []
    for x, y in random.uniform(-0.07, 0.07, (renderer_count, 2)):
        physics.client.resetBasePositionAndOrientation(body, [x, y, HALF[2]], [0, 0, 0, 1])
        image = render(physics, camera, 240, 200, pose)
        v, u = np.nonzero(image.bodies == body)
        points = transform(pose, deproject(np.stack([u, v], axis=1), image.depth[v, u], camera))
        top = points[points[:, 2] > 2 * HALF[2] - 1e-3]
        middle = (top[:, :2].min(axis=0) + top[:, :2].max(axis=0)) / 2
        offsets.append([*(middle - (x, y)), top[:, 2].mean() - 2 * HALF[2]])
    return np.mean(offsets, axis=0)


def test_overhead_camera_has_no_half_pixel_bias(physics):
    assert np.abs(top_face_bias(physics, (0.0, 0.0, 0.7))).max() < 2e-4


def test_tilted_camera_puts_the_top_face_at_its_height(physics):
    assert abs(top_face_bias(physics, (0.25, -0.2, 0.6))[2]) < 2e-4


@pytest.mark.slow
def test_bias_over_many_boxes_is_a_twentieth_of_a_pixel(physics):
    bias = top_face_bias(physics, (0.0, 0.0, 0.7), renderer_count=2000)
    assert np.abs(bias).max() < 1e-4


def test_opengl_gives_the_same_image(physics):
    try:
        hardware = Physics(renderer="egl")
    except RuntimeError:
        pytest.skip("no EGL driver here")
    images = []
    for one in (physics, hardware):
        one.reset()
        PartsModel("ball", (Part("sphere", (0.05,)),)).spawn(one, (0.02, 0.01, 0.05), (0, 0, 0, 1))
        pose = look_at(np.array([0.1, 0.0, 0.6]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
        images.append(render(one, CameraSpec().intrinsics, 240, 240, pose))
    hardware.close()
    cpu, gpu = images
    both = (cpu.bodies >= 0) & (gpu.bodies >= 0)
    assert ((cpu.bodies >= 0) != (gpu.bodies >= 0)).mean() < 0.001
    assert np.abs(cpu.depth - gpu.depth)[both].max() < 5e-4


def test_plane_depth_of_a_tilted_camera_deprojects_to_the_table():
    camera = CameraIntrinsics(fx=300, fy=320, cx=80, cy=70)
    pose = look_at(np.array([0.3, -0.4, 0.5]), np.zeros(3), np.array([0.0, 0.0, 1.0]))
    depth = plane_depth(camera, 160, 140, pose)
    v, u = np.nonzero(depth)
    assert len(v) == 160 * 140
    assert np.abs(transform(pose, deproject(np.stack([u, v], axis=1), depth[v, u], camera))[:, 2]).max() < 1e-6


def test_calibration_error_lies_between_told_and_true_pose():
    spec = SceneSpec(seed=1)
    exact = Conditions.draw(Profile(friction=(0.5, 0.5)), spec.random("conditions"))
    told, true = camera_poses(spec.camera, exact)
    assert np.array_equal(told, true)
    off = Conditions.draw(
        Profile(friction=(0.5, 0.5), tilt=(0.2, 0.3), camera_shift=0.002, camera_turn=0.003), spec.random("conditions")
    )
    told, true = camera_poses(spec.camera, off)
    assert 0 < np.linalg.norm(told[:3, 3] - true[:3, 3]) <= 0.002 * math.sqrt(3)
    assert 0.2 <= math.acos(-told[2, 2]) <= 0.3


def test_segmentation_and_depth_of_a_known_scene():
    world = World()
    spec = SceneSpec(seed=0)
    conditions = Conditions.draw(Profile(friction=(0.5, 0.5)), spec.random("conditions"))
    model = PartsModel("block", (Part("box", (0.06, 0.04, 0.05)),))
    view = Scene(world.simulation, spec, conditions, [PlacedObject("block", model, None, None, (0.0, 0.0, 0.025))]).observe()
    world.close()
    depth = view.observation.depth
    assert depth.dtype == np.float32
    assert depth.shape == view.segmentation.shape == view.rgb.shape[:2]
    assert np.allclose(depth[view.segmentation == 0], 0.70, atol=1e-4)
    on_top = depth[(view.segmentation == 1) & (depth < 0.651)]
    assert np.allclose(on_top, 0.65, atol=1e-4)
    wanted = 0.06 * 0.04 * (420 / 0.65) ** 2
    assert abs(on_top.size - wanted) < 0.05 * wanted


def test_any_camera_sees_the_same_scene():
    world = World()
    scene = world.build(SceneSpec(seed=3, kind="pile"))
    side = look_at(np.array([0.5, 0.3, 0.35]), np.array([0.0, 0.0, 0.03]), np.array([0.0, 0.0, 1.0]))
    camera = CameraSpec(width=320, height=200, focal=380, focal_v=390, centre=(150.0, 110.0), pose=side.tolist())
    view = scene.observe_with(camera)
    lowest = []
    for number in range(1, len(scene.objects) + 1):
        v, u = np.nonzero(view.segmentation == number)
        points = transform(view.camera_pose, deproject(np.stack([u, v], axis=1), view.observation.depth[v, u], view.camera))
        lowest.append(points[:, 2].min())
        centre = np.array(scene.placed[number - 1].position)
        assert np.linalg.norm(points.mean(axis=0) - centre) < 0.08
    world.close()
    assert view.observation.size == (200, 320)
    assert min(lowest) > -0.001


def test_camera_pose_must_be_rigid():
    with pytest.raises(ValueError, match="rotation"):
        CameraSpec(pose=(np.eye(4) * 2 + np.diag([0, 0, 0, -1.0])).tolist())
