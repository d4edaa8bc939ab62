"""Height maps of exactly rendered scenes: heights, holes, shadows, gaps, far walls, tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from table_scenes import Box, Camera, camera, render

from grasp_client.contract import Gripper
from grasp_client.geometry import deproject, look_at, transform
from shared.maps.heightmap import MAX_EXTENT, HeightMap, approach_rotation, hand_scale, project

BOX = Box(0.03, -0.02, 0.4, 0.08, 0.05, 0.06)


def cell(scene: HeightMap, view: Camera, point: tuple[float, float]) -> tuple[int, int]:
    """Row and column of a point of the table in the base frame."""
    in_camera = transform(np.linalg.inv(view.pose), np.array([[*point, 0.0]]))
    x, y, _ = transform(np.linalg.inv(scene.pose), in_camera)[0]
    return round((y - scene.corner[1]) / scene.resolution), round((x - scene.corner[0]) / scene.resolution)


@pytest.mark.parametrize("tilt", [0, 15, 30])
@pytest.mark.parametrize("focal", [262.5, 525.0, 1050.0])
def test_heights_are_metric_whatever_the_camera(tilt: int, focal: float) -> None:
    view = camera(round(focal * 0.92), round(focal * 1.22), focal, math.radians(tilt), turn=0.5)
    scene = project(render(view, [BOX]), view.intrinsics, view.pose)
    assert scene.height[cell(scene, view, (0.03, -0.02))] == pytest.approx(0.06, abs=0.001)
    assert scene.height[cell(scene, view, (-0.1, 0.1))] == pytest.approx(0.0, abs=0.001)
    top = (scene.height > 0.055).sum() * scene.resolution**2
    assert top == pytest.approx(0.08 * 0.05, rel=0.12)


@pytest.mark.parametrize(
    ("opening", "distance", "resolution"),
    [(0.08, 0.7, 0.002), (0.14, 0.7, 0.002), (0.02, 0.25, 0.0005), (0.02, 0.7, 0.7 / 525 / 2), (0.08, 3.0, 3.0 / 525 / 2)],
)
def test_cells_follow_the_hand_as_far_as_the_camera_tells_more(opening: float, distance: float, resolution: float) -> None:
    view = camera(240, 320, 525.0, distance=distance)
    scene = project(render(view, [BOX]), view.intrinsics, view.pose, scale=hand_scale(Gripper(max_width=opening)))
    assert scene.resolution == pytest.approx(resolution, rel=0.1)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_readings_smeared_over_an_edge_do_not_widen_things(share: float) -> None:
    view = camera(240, 320, 262.5)
    depth = render(view, [BOX])
    smeared, top = depth.copy(), depth < 0.66
    beside = np.zeros_like(top)
    beside[:, 1:] |= top[:, :-1] & ~top[:, 1:]
    smeared[beside] = (share * depth.min() + (1 - share) * depth.max()) if share < 0.5 else depth[beside]
    rim = np.zeros_like(top)
    rim[:, :-1] = top[:, :-1] & ~top[:, 1:]
    smeared[rim] = (share * depth.min() + (1 - share) * depth.max()) if share > 0.5 else depth[rim]
    clean, seen = (project(each, view.intrinsics, view.pose) for each in (depth, smeared))
    assert ((clean.height > 0.01) != (seen.height > 0.01)).sum() < 0.02 * (clean.height > 0.01).sum()


def test_without_a_pose_the_map_lies_across_the_optical_axis_and_the_table_may_tilt() -> None:
    view = camera(480, 640, 525.0, math.radians(20))
    scene = project(render(view, [BOX]), view.intrinsics)
    assert np.allclose(scene.pose[:3, :3], np.eye(3))
    assert math.hypot(*scene.table) == pytest.approx(math.tan(math.radians(20)), abs=0.01)
    above = scene.height - scene.table_map
    assert np.median(np.abs(above[scene.known])) < 0.001
    assert above[scene.known].max() == pytest.approx(0.06 / math.cos(math.radians(20)), abs=0.004)


def test_no_gaps_between_splats_at_any_zoom() -> None:
    for focal in (150.0, 300.0, 525.0, 2000.0):
        view = camera(240, 240, focal, math.radians(25))
        scene = project(render(view, []), view.intrinsics, view.pose)
        rows, columns = np.nonzero(scene.known)
        middle = scene.known[
            int(np.percentile(rows, 30)) : int(np.percentile(rows, 70)),
            int(np.percentile(columns, 30)) : int(np.percentile(columns, 70)),
        ]
        assert middle.mean() > 0.999, focal


def test_a_shadow_is_unknown_and_bounded_by_the_line_of_sight() -> None:
    view = camera(480, 640, 525.0, math.radians(30))
    scene = project(render(view, [BOX]), view.intrinsics, view.pose)
    behind = cell(scene, view, (0.03 - 0.04 - 0.012, -0.02))
    assert not scene.known[behind]
    assert 0.0 < scene.upper_bound[behind] <= 0.0605
    assert not scene.unobserved[behind]
    far = cell(scene, view, (-0.12, -0.02))
    assert scene.known[far]
    assert (scene.upper_bound >= scene.height - 1e-6)[scene.known].all()


def test_a_hole_stays_unknown_and_a_large_one_is_blind() -> None:
    view = camera(480, 640, 525.0)
    depth = render(view, [BOX])
    depth[100:180, 100:180] = 0
    scene = project(depth, view.intrinsics, view.pose)
    assert scene.unobserved.sum() * scene.resolution**2 > 0.004
    corner = deproject(np.array([[140.0, 140.0]]), np.array([0.7]), view.intrinsics)
    row, column = cell(scene, view, tuple(transform(view.pose, corner)[0, :2]))
    assert not scene.known[row, column]
    assert scene.unobserved[row, column]


def test_a_far_wall_does_not_make_a_large_map() -> None:
    view = camera(480, 640, 525.0)
    depth = render(view, [BOX])
    depth[:, 400:] = 9.0
    scene = project(depth, view.intrinsics)
    assert max(scene.height.shape) <= MAX_EXTENT / scene.resolution + 2
    assert scene.height.max() == pytest.approx(0.06, abs=0.01)


def test_flying_pixels_are_no_readings() -> None:
    view = camera(480, 640, 525.0)
    depth = render(view, [BOX])
    depth[50::97, 60::89] -= 0.2
    scene = project(depth, view.intrinsics, view.pose)
    assert scene.upper_bound.max() < 0.065


def test_noise_and_the_table_are_estimated() -> None:
    view = camera(480, 640, 525.0)
    noise = np.random.default_rng(0).normal(0, 0.002, (480, 640)).astype(np.float32)
    scene = project(render(view, [BOX]) + noise, view.intrinsics)
    assert scene.table_share > 0.7
    assert scene.table_noise == pytest.approx(0.002, rel=0.3)
    assert math.hypot(*scene.table) < 0.01


def test_a_given_table_depth_overrules_another_plane() -> None:
    view = camera(480, 640, 525.0)
    lid = Box(0, 0, 0, 1.2, 1.0, 0.05)
    free = project(render(view, [lid]), view.intrinsics)
    told = project(render(view, [lid]), view.intrinsics, table_depth=0.7)
    middle = tuple(side // 2 for side in free.height.shape)
    assert free.height[middle] == pytest.approx(0.0, abs=0.002)
    assert told.height[middle] == pytest.approx(0.05, abs=0.002)


def test_millimetres_and_metres_give_the_same_map() -> None:
    view = camera(480, 640, 525.0)
    depth = render(view, [BOX])
    scene = project(depth, view.intrinsics)
    again = project(np.round(depth * 1000).astype(np.uint16) * np.float32(0.001), view.intrinsics)
    for point in ((0.03, -0.02), (0.0, 0.05), (-0.1, 0.1)):
        first, second = scene.height[cell(scene, view, point)], again.height[cell(again, view, point)]
        assert first == pytest.approx(second, abs=0.002)


def test_what_cannot_be_seen_from_above_is_an_error() -> None:
    view = camera(48, 64, 52.5)
    with pytest.raises(ValueError, match="no reading"):
        project(np.zeros((48, 64), np.float32), view.intrinsics)
    upwards = look_at(np.array([0, 0, 0.5]), np.array([0.01, 0, 1.5]), np.array([0, 1.0, 0]))
    with pytest.raises(ValueError, match="inverted"):
        project(np.ones((48, 64), np.float32), view.intrinsics, upwards)


def test_map_axes_are_right_handed_for_any_camera_pose() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        eye = random.uniform([-0.3, -0.3, 0.5], [0.3, 0.3, 1.1])
        pose = look_at(eye, np.zeros(3), random.normal(size=3))
        axes = approach_rotation(pose)
        assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(axes) == pytest.approx(1)
        assert np.allclose(pose[:3, :3] @ axes[2], [0, 0, -1])
