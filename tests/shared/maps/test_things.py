"""Middles of things, as far as heights tell them apart."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from shared.maps.things import Things, find_things

CELL = 0.002
CORNER = (-0.2, -0.15)


def seen(boxes: Sequence[tuple[float, float, float, float, float]], unknown: slice = slice(0)) -> Things:
    """Boxes (x, y, length, width, height), m, in a map of 0.4 x 0.3 m."""
    y, x = np.mgrid[0:150, 0:200] * CELL
    x, y = x + CORNER[0], y + CORNER[1]
    rise = np.zeros((150, 200), np.float32)
    for left, top, length, width, height in boxes:
        rise[(np.abs(x - left) <= length / 2) & (np.abs(y - top) <= width / 2)] = height
    known = np.ones(rise.shape, bool)
    known[:, unknown] = False
    return find_things(rise, known, CORNER, CELL)


def to_middle(things: Things, x: float, y: float) -> tuple[float, float]:
    cell = round((y - CORNER[1]) / CELL) * 200 + round((x - CORNER[0]) / CELL)
    away = things.to_middle(torch.tensor([cell]), torch.tensor([x]), torch.tensor([y]))
    return float(away[0]), float(away[1])


def test_the_middle_is_that_of_the_volume():
    """A block stands on one end of a bar: what is lifted is both."""
    bar, block = (0.0, 0.0, 0.19, 0.03, 0.02), (0.08, 0.0, 0.03, 0.03, 0.06)
    volumes = [0.19 * 0.03 * 0.02, 0.03 * 0.03 * 0.04]
    middle = 0.08 * volumes[1] / sum(volumes)
    assert to_middle(seen([bar, block]), 0.08, 0.0) == pytest.approx((middle - 0.08, 0.0), abs=0.003)


def test_things_that_touch_are_told_apart_at_their_cliffs():
    low, high = (-0.06, 0.0, 0.12, 0.1, 0.03), (0.06, 0.0, 0.12, 0.1, 0.05)
    things = seen([low, high])
    assert to_middle(things, -0.09, 0.02) == pytest.approx((0.03, -0.02), abs=0.004)
    assert to_middle(things, 0.03, 0.0) == pytest.approx((0.03, 0.0), abs=0.004)


def test_nothing_is_the_middle_of_the_table_and_each_of_two_things_has_its_own():
    things = seen([(-0.1, 0.0, 0.05, 0.05, 0.03), (0.1, 0.05, 0.05, 0.05, 0.03)])
    assert to_middle(things, 0.0, 0.0) == (0.0, 0.0)
    assert to_middle(things, 0.11, 0.05) == pytest.approx((-0.01, 0.0), abs=0.002)
    assert to_middle(things, -0.11, 0.0) == pytest.approx((0.01, 0.0), abs=0.002)
