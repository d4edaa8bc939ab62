"""What rolls on when it is pushed is told by its shape, and is not pushed to where it would roll off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from table_scenes import Box
from test_push_candidates import proposed, seen

from planning.push.candidates import ROLLED
from planning.push.rolling import rolls
from planning.scene.scene import PlanningScene

Surface = Callable[[np.ndarray, np.ndarray], np.ndarray]
RADIUS = 0.0224
SHAPES: dict[str, tuple[Surface, list[bool]]] = {
    "cylinder": (lambda x, y: np.where(abs(y) < 0.025, RADIUS + np.sqrt(RADIUS**2 - x**2), np.nan), [True, False]),
    "ball": (lambda x, y: RADIUS + np.sqrt(RADIUS**2 - x**2 - y**2), [True, True]),
    "half a cylinder": (lambda x, y: np.where(abs(y) < 0.025, np.sqrt(0.025**2 - x**2), np.nan), [False, False]),
    "cube": (lambda x, y: np.where(np.maximum(abs(x), abs(y)) < 0.025, 0.05, np.nan), [False, False]),
    "plate on edge": (lambda x, y: np.where((abs(x) < 0.008) & (abs(y) < 0.04), 0.06, np.nan), [False, False]),
    "wedge": (lambda x, y: np.where(np.maximum(abs(x), abs(y)) < 0.045, 0.047 - abs(x), np.nan), [False, False]),
    "flat": (lambda x, y: np.where(np.maximum(abs(x), abs(y)) < 0.02, 0.01, np.nan), [False, False]),
}
"""Heights over the table, m, of things about the middle, and whether they roll along x and along y."""


def scene_of(surface: Surface, noise: float = 0.001) -> tuple[PlanningScene, np.ndarray]:
    """With depths that are off by `noise`, m, and the thing's cells."""
    scene, _ = seen([Box(0.0, 0.0, 0.0, 0.05, 0.05, 0.05)])
    rows, columns = scene.map.height.shape
    x = scene.map.corner[0] + scene.map.resolution * np.arange(columns)[None]
    y = scene.map.corner[1] + scene.map.resolution * np.arange(rows)[:, None]
    with np.errstate(invalid="ignore"):
        height = surface(x, y) + np.random.default_rng(0).normal(0, noise, (rows, columns))
    own = np.isfinite(height)
    table = scene.map.table_map
    return replace(scene, map=replace(scene.map, height=np.where(own, height + table, table).astype(np.float32))), own


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_round_rolls_across(name: str) -> None:
    surface, expected = SHAPES[name]
    scene, goal = scene_of(surface)
    assert rolls(scene.map, goal, np.array([0.0, np.pi / 2])).tolist() == expected
    assert rolls(scene.map, goal, np.array([np.pi, -np.pi / 2])).tolist() == expected


def test_what_rolls_is_expected_to_roll_on() -> None:
    scene, goal = scene_of(SHAPES["ball"][0])
    found = proposed(scene, goal)
    row, column = np.nonzero(goal)
    middle = np.array(scene.map.corner) + scene.map.resolution * np.array([column.mean(), row.mean()])
    gone = np.hypot(*(found.goal_end - middle).T)
    assert len(found)
    assert ((gone == 0) | (gone > ROLLED)).all()
    assert (gone > ROLLED).any()
