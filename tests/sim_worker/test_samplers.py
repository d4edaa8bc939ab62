"""Samplers and exploration on a drawn depth image: a box on a table below a camera that looks straight down."""

import math

import numpy as np
import pytest

from grasp_client.contract import CameraIntrinsics, Grasp, Gripper
from grasp_client.geometry import look_at
from grasp_client.observation import Observation
from shared.table_grasp import TIP_HEIGHTS
from sim_worker.grasp_poses import jaw_grasp, points_in_base, pose_in_base, top_down
from sim_worker.sampling.samplers import (
    LOWEST_TIP,
    antipodal_edges,
    flat_patches,
    over_table,
    random_on_object,
    random_probability,
)
from sim_worker.sampling.surface import Surface
from sim_worker.worker.exploration import choose

CAMERA = CameraIntrinsics(fx=300.0, fy=300.0, cx=119.5, cy=119.5)
POSE = look_at(np.array([0.0, 0.0, 0.7]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
GRIPPER = Gripper()
BOX = (0.04, 0.12, 0.06)
"""Full extents of the box at the origin, m."""


@pytest.fixture
def surface() -> Surface:
    depth = np.full((240, 240), 0.7, dtype=np.float32)
    top = 0.7 - BOX[2]
    rows, columns = np.mgrid[:240, :240]
    on_box = (np.abs(columns - 119.5) * top / 300 < BOX[0] / 2) & (np.abs(rows - 119.5) * top / 300 < BOX[1] / 2)
    depth[on_box] = top
    return Surface.of(Observation(depth=depth), CAMERA, POSE)


def test_points_lie_in_the_base_frame(surface):
    assert np.nanmax(surface.points[..., 2]) == pytest.approx(BOX[2], abs=1e-6)
    assert np.nanmin(surface.points[..., 2]) == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(np.abs(surface.object_points[:, :2]).max(axis=0), [BOX[0] / 2, BOX[1] / 2], atol=0.003)
    assert np.isnan(points_in_base(np.zeros((2, 2)), CAMERA, POSE)).all()


def test_a_grasp_of_a_pose_is_that_pose():
    pose = top_down(np.array([0.03, -0.02]), 0.02, 0.7)
    grasp = jaw_grasp(pose, 0.05, 0.5, CAMERA, POSE)
    np.testing.assert_allclose(pose_in_base(grasp, POSE), pose, atol=1e-9)
    np.testing.assert_allclose(pose_in_base(grasp.model_copy(update={"pose_base": None}), POSE), pose, atol=1e-9)
    assert grasp.depth == pytest.approx(0.68)
    assert grasp.width_px == pytest.approx(0.05 * 300 / 0.68)
    # Image rows run against the base's y, so the angle turns the other way.
    assert grasp.angle == pytest.approx(-0.7)
    with pytest.raises(ValueError, match="camera"):
        pose_in_base(Grasp(kind="parallel_jaw", quality=1, center_px=[0, 0], angle=0), POSE)


def test_grasps_over_the_table_are_those_of_a_network_without_depth(surface):
    grasps = over_table(surface, GRIPPER, 200, np.random.default_rng(0))
    poses = np.array([pose_in_base(grasp, POSE) for grasp in grasps])
    assert len(grasps) == 200
    assert set(poses[:, 2, 3].round(6)) == set(TIP_HEIGHTS)
    np.testing.assert_allclose(poses[:, :3, 2], np.tile([0.0, 0.0, -1.0], (200, 1)), atol=1e-9)
    turns = np.array([grasp.angle for grasp in grasps]) / (math.pi / 16)
    np.testing.assert_allclose(turns, turns.round(), atol=1e-6)
    assert len(set(turns.round() % 16)) == 16
    assert {grasp.width for grasp in grasps} == {GRIPPER.max_width}
    on_box = (np.abs(poses[:, :2, 3]) < np.array(BOX[:2]) / 2 + 0.005).all(axis=1)
    assert 0.5 < on_box.mean() < 0.95  # the rest shows what lies beside
    assert over_table(surface, Gripper(kind="suction"), 5, np.random.default_rng(0)) == []


def test_random_grasps_lie_on_the_object(surface):
    grasps = random_on_object(surface, GRIPPER, 50, np.random.default_rng(0))
    assert len(grasps) == 50
    for grasp in grasps:
        x, y, z = pose_in_base(grasp, POSE)[:3, 3]
        assert abs(x) < BOX[0] / 2 + 0.003
        assert abs(y) < BOX[1] / 2 + 0.003
        assert LOWEST_TIP <= z <= BOX[2] + 0.01
        assert GRIPPER.min_width <= grasp.width <= GRIPPER.max_width


def test_antipodal_pairs_close_across_the_short_side(surface):
    grasps = antipodal_edges(surface, GRIPPER, 20, np.random.default_rng(0))
    assert len(grasps) == 20
    for grasp in grasps:
        closing = pose_in_base(grasp, POSE)[:3, 0]
        assert abs(closing[0]) > math.cos(math.radians(30)), "the long side is wider than the jaw"
        assert BOX[0] < grasp.width <= GRIPPER.max_width


def test_samplers_find_nothing_on_an_empty_table():
    surface = Surface.of(Observation(depth=np.full((60, 60), 0.7, np.float32)), CAMERA, POSE)
    rng = np.random.default_rng(0)
    assert random_on_object(surface, GRIPPER, 5, rng) == []
    assert antipodal_edges(surface, GRIPPER, 5, rng) == []


def test_the_segmask_limits_where_objects_are(surface):
    depth = np.full((240, 240), 0.6, np.float32)
    mask = np.zeros((240, 240), bool)
    mask[100:110, 50:60] = True
    limited = Surface.of(Observation(depth=depth, segmask=mask), CAMERA, POSE)
    assert len(limited.object_points) == 100
    assert random_probability(limited) == pytest.approx(1 / 1600)


def test_a_cup_approaches_along_the_normal_of_a_flat_patch(surface):
    cup = Gripper(kind="suction", cup_radius=0.01)
    for grasp in flat_patches(surface, cup, 10, np.random.default_rng(0)):
        pose = pose_in_base(grasp, POSE)
        np.testing.assert_allclose(pose[:3, 2], [0, 0, -1], atol=0.02)
        assert pose[2, 3] == pytest.approx(BOX[2], abs=1e-4)
        assert grasp.kind == "suction"
    assert len(random_on_object(surface, cup, 10, np.random.default_rng(0))) == 10


def test_the_tool_frame_lies_behind_the_tips():
    tip = top_down(np.array([0.03, -0.02]), 0.02, 0.7)
    grasp = jaw_grasp(tip, 0.05, 0.5, CAMERA, POSE, tcp_offset=0.009)
    assert pose_in_base(grasp, POSE)[2, 3] == pytest.approx(0.029)
    assert grasp.depth == pytest.approx(0.68), "of the tips"


def plan(*qualities: float) -> list[Grasp]:
    return [jaw_grasp(top_down(np.zeros(2), 0.02, 0.1 * i), 0.05, q, CAMERA, POSE) for i, q in enumerate(qualities)]


def test_without_exploration_the_best_left_is_chosen(surface):
    rng = np.random.default_rng(0)
    choice = choose(plan(0.9, 0.8, 0.7), 0.0, surface, GRIPPER, rng)
    assert (choice.rank, choice.probability, choice.exploration) == (0, 1.0, False)
    assert choose(plan(0.9, 0.8, 0.7), 0.0, surface, GRIPPER, rng, {0, 1}).rank == 2
    assert choose(plan(0.9), 0.0, surface, GRIPPER, rng, {0}) is None


def test_the_stored_probability_is_how_often_a_grasp_is_chosen(surface):
    rng = np.random.default_rng(0)
    grasps, share, draws = plan(0.9, 0.5, 0.1), 0.6, 4000
    chosen = [choose(grasps, share, surface, GRIPPER, rng) for _ in range(draws)]
    for rank in range(3):
        drawn = [choice for choice in chosen if choice.rank == rank]
        assert len(drawn) / draws == pytest.approx(drawn[0].probability, abs=0.03)
    own = [choice for choice in chosen if choice.rank is None]
    assert len(own) / draws == pytest.approx(share / 3, abs=0.03)
    assert own[0].probability == pytest.approx(share / 3 * random_probability(surface))
    assert all(choice.exploration for choice in own)


def test_a_planner_that_corrects_is_explored_by_offsets_of_known_density(surface):
    rng = np.random.default_rng(0)
    grasps = plan(0.9, 0.8)
    chosen = [choose(grasps, 0.5, surface, GRIPPER, rng, by_offset=True) for _ in range(400)]
    best = [each for each in chosen if each.strategy == "best"]
    offset = [each for each in chosen if each.strategy == "offset"]
    assert len(best) + len(offset) == 400
    assert 150 < len(offset) < 250
    assert {each.probability for each in best} == {0.5}
    assert {each.probability for each in offset} == {0.5 / 16}
    pose = np.array(grasps[0].pose_base)
    for each in offset:
        moved = np.linalg.inv(pose) @ np.array(each.grasp.pose_base)
        assert moved[:3, 3] == pytest.approx(0.02 * np.array(each.offset[:3]), abs=1e-9)
        assert math.atan2(moved[1, 0], moved[0, 0]) == pytest.approx(0.26 * each.offset[3], abs=1e-9)
        assert each.rank is None
