"""The push-grasp task passes gymnasium's checker, shows what stands on the table, and is won by holding the goal."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim_worker.envs
from shared.maps.orthographic import CELLS, place_of_cell
from sim_worker.envs.push_grasp import GRASP, PUSH, PushGrasp

assert sim_worker.envs


@pytest.fixture
def lone_cube(tmp_path: Path) -> PushGrasp:
    path = tmp_path / "case.txt"
    path.write_text("4.obj 1 0 0 -0.45 -0.15 0.026 0 0 0\n")
    return PushGrasp(kind="case", case=path, profile="clean")


def cell(x: float, y: float) -> tuple[int, int]:
    return round((y + 0.224) / 0.002 - 0.5), round((x + 0.224) / 0.002 - 0.5)


def test_it_is_registered_and_keeps_gymnasiums_rules() -> None:
    environment = gymnasium.make("GraspLoop/PushGrasp-v0").unwrapped
    check_env(environment, skip_render_check=True)


def test_maps_lie_in_the_base_frame(lone_cube: PushGrasp) -> None:
    observation, info = lone_cube.reset(seed=0)
    assert info == {"goal": "block/4"}
    rows, columns = np.nonzero(observation["goal"][0])
    np.testing.assert_allclose(place_of_cell(rows.mean(), columns.mean()), [0.05, -0.05], atol=0.002)
    assert observation["height"][0][rows, columns].mean() == pytest.approx(50, abs=1.5)
    assert abs(len(rows) - 625) < 80
    assert observation["height"].shape == (1, CELLS, CELLS)


def test_a_push_moves_the_goal_on_the_map_and_a_grasp_wins(lone_cube: PushGrasp) -> None:
    lone_cube.reset(seed=0)
    row, column = cell(0.05, -0.11)
    seen, reward, ended, cut, info = lone_cube.step(np.array([PUSH, 4, row, column]))
    assert (reward, ended, cut) == (0.0, False, False)
    assert 0.03 < info["moved"] < 0.12
    rows, columns = np.nonzero(seen["goal"][0])
    x, y = place_of_cell(rows.mean(), columns.mean())
    assert y > -0.02
    _, reward, ended, cut, info = lone_cube.step(np.array([GRASP, 0, *cell(x, y)]))
    assert (reward, ended, cut, info["is_success"]) == (1.0, True, False, True)
    assert info["motions"] == 2


def test_it_is_cut_off_after_fifteen_motions(lone_cube: PushGrasp) -> None:
    lone_cube.reset(seed=0)
    for number in range(15):
        _, reward, ended, cut, _ = lone_cube.step(np.array([PUSH, 0, 5, 5]))
        assert (reward, ended, cut) == (0.0, False, number == 14)
    with pytest.raises(gymnasium.error.ResetNeeded, match="ended"):
        lone_cube.step(np.array([PUSH, 0, 5, 5]))
