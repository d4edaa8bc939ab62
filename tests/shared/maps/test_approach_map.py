"""Maps along any approach: the same cloud and table, whichever way it is looked at."""

from __future__ import annotations

import math

import numpy as np
import pytest
from table_scenes import Box, Camera, camera, render

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import deproject
from shared.maps.approach_map import MARGIN, cloud_of, depth_cloud, find_support, project_along, support_of
from shared.maps.heightmap import project

VIEW = camera(240, 320, 262.5, math.radians(40))
BOX = Box(0.05, 0.02, 0.3, 0.08, 0.04, 0.06)
DEPTH = render(VIEW, [BOX])
UP = VIEW.pose[2, :3]
CLOUD = depth_cloud(DEPTH, VIEW.intrinsics, up=UP)


def leaning(view: Camera, lean: float) -> np.ndarray:
    """Camera frame: an approach in the base's x-z plane, `lean` from straight down, rad."""
    return np.asarray(view.pose[:3, :3].T @ [-math.sin(lean), 0.0, -math.cos(lean)])


def test_the_table_is_found_level_and_where_it_is() -> None:
    assert CLOUD.support.normal == pytest.approx(UP, abs=2e-3)
    assert CLOUD.support.distance == pytest.approx(VIEW.pose[2, 3], abs=1e-3)
    of_map = support_of(project(DEPTH, VIEW.intrinsics, VIEW.pose))
    assert of_map.normal == pytest.approx(CLOUD.support.normal, abs=3e-3)
    assert of_map.distance == pytest.approx(CLOUD.support.distance, abs=1e-3)


@pytest.mark.parametrize("lean", [0.0, 0.5, 1.0])
def test_the_table_leans_in_the_map_as_it_leans_from_the_approach(lean: float) -> None:
    map = project_along(CLOUD, leaning(VIEW, lean))
    assert math.hypot(*map.table) == pytest.approx(math.tan(lean), abs=5e-3)
    off = np.abs(map.height - map.table_map)[map.known]
    assert np.median(off) < 1e-3, "most readings lie on it"


def test_along_gravity_it_is_the_map_from_above_round_the_things() -> None:
    above = project(DEPTH, VIEW.intrinsics, VIEW.pose)
    along = project_along(depth_cloud(DEPTH, VIEW.intrinsics, support_of(above)), -UP)
    shift = np.rint((np.array(along.corner) - above.corner) / along.resolution).astype(int)
    column, row = shift
    rows, columns = along.height.shape
    there = above.height[row : row + rows, column : column + columns]
    known = along.known & above.known[row : row + rows, column : column + columns]
    assert known.mean() > 0.8
    assert np.median(np.abs(along.height - there)[known]) < 1e-4
    assert rows < above.height.shape[0]
    assert 2 * MARGIN < columns * along.resolution < 2 * MARGIN + 0.12


def test_a_wall_behind_does_not_make_the_map_larger_where_a_mask_says_what_is_wanted() -> None:
    wall = Box(-0.30, 0.0, 0.0, 0.02, 0.6, 0.2)
    depth = render(VIEW, [BOX, wall])
    mask = depth < render(VIEW, [wall]) - 1e-4
    whole = depth_cloud(depth, VIEW.intrinsics, up=UP)
    asked = depth_cloud(depth, VIEW.intrinsics, up=UP, wanted=mask)
    one, other = (project_along(cloud, leaning(VIEW, 0.5)) for cloud in (whole, asked))
    assert other.height.size < 0.6 * one.height.size
    assert other.outside > 100, "the wall rises beyond it"


def test_points_and_a_viewpoint_make_the_same_map_in_another_frame() -> None:
    v, u = np.nonzero(DEPTH > 0)
    points = deproject(np.stack([u, v], 1), DEPTH[v, u], VIEW.intrinsics)
    base = (points @ VIEW.pose[:3, :3].T + VIEW.pose[:3, 3]).astype(np.float32)
    eye = VIEW.pose[:3, 3]
    support = find_support(base, eye, np.array([0.0, 0.0, 1.0]))
    map = project_along(cloud_of(base, eye, support, CLOUD.resolution), np.array([-math.sin(0.5), 0.0, -math.cos(0.5)]))
    other = project_along(CLOUD, leaning(VIEW, 0.5))
    assert map.height[map.known].max() - map.height[map.known].min() == pytest.approx(
        other.height[other.known].max() - other.height[other.known].min(), abs=0.01
    )
    highest = np.unravel_index(np.argmax(np.where(map.known, map.height - map.table_map, -1)), map.height.shape)
    x, y = map.corner[0] + map.resolution * highest[1], map.corner[1] + map.resolution * highest[0]
    place = map.pose @ [x, y, -map.height[highest], 1]
    assert place[2] == pytest.approx(BOX.height, abs=0.005)


@pytest.mark.parametrize("lean", [math.pi, -math.radians(80)])
def test_what_comes_from_behind_or_from_under_the_table_is_refused(lean: float) -> None:
    with pytest.raises(ValueError, match="camera's side"):
        project_along(CLOUD, leaning(VIEW, lean))


def test_an_image_without_readings_is_refused() -> None:
    with pytest.raises(ValueError, match="no reading"):
        depth_cloud(np.zeros((20, 20), np.float32), CameraIntrinsics(fx=20, fy=20, cx=9, cy=9), up=UP)


def test_lone_readings_of_a_noisy_table_do_not_make_the_map_larger() -> None:
    view = camera(480, 640, 525.0, math.radians(50))
    depth = render(view, [BOX])
    bare = project_along(depth_cloud(depth, view.intrinsics, up=view.pose[2, :3]), leaning(view, 0.5))
    random = np.random.default_rng(0)
    noise = random.random(depth.shape) < 0.001
    noisy = np.where(noise, depth * 0.93, depth).astype(np.float32)
    map = project_along(depth_cloud(noisy, view.intrinsics, up=view.pose[2, :3]), leaning(view, 0.5))
    assert map.height.size < 1.3 * bare.height.size
