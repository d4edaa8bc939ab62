import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import (
    approach_frame,
    crop_camera,
    deproject,
    invert,
    look_at,
    pose_from,
    project,
    resize_camera,
    transform,
    wrap_angle,
)

CAMERA = CameraIntrinsics(fx=525.0, fy=520.0, cx=319.5, cy=239.5)


@given(st.floats(-100, 700), st.floats(-100, 500), st.floats(0.1, 10))
def test_projection_undoes_deprojection(u, v, depth):
    point = deproject(np.array([[u, v]]), np.array([depth]), CAMERA)
    np.testing.assert_allclose(project(point, CAMERA), [[u, v]], atol=1e-6)
    assert point[0, 2] == depth


def test_the_principal_point_looks_along_the_axis():
    np.testing.assert_allclose(deproject(np.array([[319.5, 239.5]]), np.array([0.7]), CAMERA), [[0, 0, 0.7]])


@given(st.floats(-100, 100))
def test_wrapped_angles_name_the_same_axis(angle):
    wrapped = wrap_angle(angle)
    assert -math.pi / 2 < wrapped <= math.pi / 2
    assert math.isclose(abs(math.cos(wrapped - angle)), 1.0, abs_tol=1e-9)


def test_the_open_end_of_the_angle_range_is_folded():
    assert wrap_angle(-math.pi / 2) == pytest.approx(math.pi / 2)


def test_look_at_puts_the_target_on_the_axis_and_up_at_the_top():
    pose = look_at(np.array([0.3, 0.1, 0.8]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    in_camera = transform(invert(pose), np.array([[0.0, 0, 0], [0, 0.1, 0]]))
    np.testing.assert_allclose(in_camera[0, :2], 0, atol=1e-12)
    assert in_camera[1, 1] < in_camera[0, 1]
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_approach_frame_is_right_handed_and_refuses_parallel_axes():
    pose = approach_frame(np.zeros(3), np.array([1.0, 0, 0.5]), np.array([0, 0, -1.0]))
    np.testing.assert_allclose(pose[:3, 0], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(np.cross(pose[:3, 2], pose[:3, 0]), pose[:3, 1], atol=1e-12)
    with pytest.raises(ValueError, match="parallel"):
        approach_frame(np.zeros(3), np.array([0, 0, 1.0]), np.array([0, 0, -1.0]))


def test_inverse_pose():
    pose = pose_from(look_at(np.ones(3), np.zeros(3), np.array([0, 0, 1.0]))[:3, :3], np.array([1.0, 2, 3]))
    np.testing.assert_allclose(invert(pose) @ pose, np.eye(4), atol=1e-12)


def test_a_resized_camera_sees_the_same_ray():
    half = resize_camera(CAMERA, 0.5, 0.5)
    # The corner between the first four pixels of the large image is the centre of the first pixel of the small one.
    np.testing.assert_allclose(
        deproject(np.array([[0.5, 0.5]]), np.array([1.0]), CAMERA), deproject(np.array([[0.0, 0.0]]), np.array([1.0]), half)
    )


def test_a_cropped_camera_sees_the_same_ray():
    cropped = crop_camera(CAMERA, 100, 50)
    np.testing.assert_allclose(
        deproject(np.array([[110, 70]]), np.array([0.9]), CAMERA), deproject(np.array([[10, 20]]), np.array([0.9]), cropped)
    )
