import math

import numpy as np
import pytest

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import look_at, project, transform
from shared.table_grasp import TIP_HEIGHTS, table_grasp, table_up

CAMERA = CameraIntrinsics(fx=420.0, fy=400.0, cx=119.5, cy=110.0)


def depth_of_table(pose):
    """Where the optical axis meets the base plane."""
    return -pose[2, 3] / pose[2, 2]


@pytest.mark.parametrize("eye", [(0.0, 0.0, 0.7), (0.3, -0.2, 0.6)])
@pytest.mark.parametrize("height", TIP_HEIGHTS)
@pytest.mark.parametrize("angle", [-1.2, 0.0, 0.4, math.pi / 2])
def test_tips_are_seen_at_the_pixel_at_their_height_over_the_table(eye, height, angle):
    pose = look_at(np.array(eye), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    pixel = [60.0, 150.0]
    tip = table_grasp(pixel, angle, height, CAMERA, depth_of_table(pose), table_up(pose))
    base = pose @ tip
    assert base[2, 3] == pytest.approx(height, abs=1e-9)
    np.testing.assert_allclose(base[:3, 2], [0, 0, -1], atol=1e-9)
    np.testing.assert_allclose(project(tip[None, :3, 3], CAMERA)[0], pixel)
    ends = project(transform(tip, np.array([[-0.04, 0, 0], [0.04, 0, 0]])), CAMERA)
    along = ends[1] - ends[0]
    # The closing axis is seen along the angle, not only near it, however the camera leans.
    assert along @ [math.cos(angle), math.sin(angle)] == pytest.approx(np.linalg.norm(along))


def test_without_a_camera_pose_the_table_is_square_to_the_optical_axis():
    tip = table_grasp([10.0, 20.0], 0.3, 0.01, CAMERA, 0.7, table_up(None))
    assert tip[2, 3] == pytest.approx(0.69)
    np.testing.assert_allclose(tip[:3, 2], [0, 0, 1])


def test_a_pixel_above_the_horizon_is_refused():
    pose = look_at(np.array([0.5, 0.0, 0.1]), np.array([0.0, 0.0, 0.05]), np.array([0.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="look at the table"):
        table_grasp([119.5, 0.0], 0.0, 0.01, CAMERA, depth_of_table(pose), table_up(pose))
