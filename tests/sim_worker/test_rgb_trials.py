import math

import numpy as np
import pytest

from grasp_client.contract import Grasp, GraspPlan
from shared.maps.open_hand import AROUND
from shared.rgb_windows import CELL, UNTRIED, TriedGrasp
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS
from sim_worker.collect.window_capture import DISTANCE, SIDE, beside_a_thing, camera_over, fits_of, heights_of
from sim_worker.sampling.rgb_trials import MARGIN, try_best, try_grasps
from sim_worker.world import SceneSpec, World

CELLS = SIDE // CELL


def window_of(scene, rng):
    """A view of a window about some thing, and its nadir."""
    camera, nadir = camera_over(beside_a_thing(scene, rng), rng)
    return scene.observe_with(camera), nadir


@pytest.fixture(scope="module")
def world():
    return World()


def tried_at(world, seed, count=8, change=lambda answers: answers):
    scene, rng = world.build(SceneSpec(seed=seed, kind="single", profile="clean")), np.random.default_rng(seed)
    view, _ = window_of(scene, rng)
    heights = heights_of(view)
    answers = fits_of(heights, view.camera)
    return try_grasps(scene, view, DISTANCE, heights, change(answers), rng, count), answers


def test_most_hold_where_a_hand_fits_all_round_and_none_where_it_fits_nowhere(world):
    surely, nowhere = [], []
    for seed in range(14):
        rows, answers = tried_at(world, seed, 3, lambda answers: answers * (answers == AROUND))
        fits = answers.reshape(len(TIP_HEIGHTS), ROTATIONS, CELLS, CELLS)
        for u, v, angle, level, held in rows:
            turn = round(angle * ROTATIONS / math.pi) % ROTATIONS
            fit = fits[int(level), turn, int((v + 0.5) / CELL), int((u + 0.5) / CELL)]
            (surely if fit == AROUND else nowhere if fit == 0 else []).append(held)
        bare, _ = tried_at(world, seed, 2, np.zeros_like)
        nowhere.extend(bare[:, TriedGrasp.HELD])
    assert len(surely) >= 10
    assert np.mean(surely) > 0.75
    assert len(nowhere) >= 10
    assert np.mean(nowhere) < 0.25


def test_grasps_stay_so_far_from_the_rim_that_a_window_round_them_is_in_the_look(world):
    rows, _ = tried_at(world, 1, 30)
    assert set(rows[:, TriedGrasp.HELD]) <= {0.0, 1.0}
    assert rows[:, :2].min() >= MARGIN * CELL - 0.5
    assert rows[:, :2].max() <= SIDE - MARGIN * CELL - 0.5
    assert set(rows[:, TriedGrasp.LEVEL]) <= set(range(len(TIP_HEIGHTS)))


def test_where_nothing_stands_nothing_is_tried(world):
    scene, rng = world.build(SceneSpec(seed=1, kind="single", profile="clean")), np.random.default_rng(0)
    view, _ = window_of(scene, rng)
    empty = np.zeros((SIDE, SIDE), np.uint8)
    rows = try_grasps(scene, view, DISTANCE, empty, fits_of(empty, view.camera), rng, 3)
    assert (rows == UNTRIED).all()


def test_the_best_of_a_planner_are_tried_where_and_as_it_says(world):
    scene, rng = world.build(SceneSpec(seed=1, kind="single", profile="clean")), np.random.default_rng(0)
    view, _ = window_of(scene, rng)
    asked = []

    class Two:
        def plan(self, observation, request):
            asked.append((observation, request))
            grasps = [
                Grasp(kind="parallel_jaw", quality=0.5, center_px=[50.0 + 3 * at, 60.0], angle=0.3, depth=DISTANCE - height)
                for at, height in enumerate(TIP_HEIGHTS[1:3])
            ]
            return GraspPlan(planner="two", grasps=grasps)

    rows = try_best(scene, view, DISTANCE, Two(), 3)
    [(observation, request)] = asked
    assert observation.depth is None
    assert (request.n_grasps, request.table_depth) == (3, DISTANCE)
    np.testing.assert_allclose(rows[:2, :4], [[50, 60, 0.3, 1], [53, 60, 0.3, 2]], atol=1e-6)
    assert set(rows[:2, TriedGrasp.HELD]) <= {0.0, 1.0}
    assert (rows[2] == UNTRIED).all()
