"""The plane of the table among walls and heaps, from points alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.maps.table_plane import fit_table

TILT = 0.15


@pytest.mark.parametrize("seed", range(20))
def test_a_tilted_floor_of_which_a_fifth_is_seen_is_found(seed: int) -> None:
    """A full bin before a tilted camera: a fifth floor, the rest walls and things at all heights."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.25, 0.25, (2, 1500))
    rise = np.where(np.arange(1500) < 300, rng.normal(0, 0.0015, 1500), rng.uniform(0.01, 0.20, 1500))
    plane, share, noise = fit_table(np.column_stack([x, y, TILT * x - 0.82 + rise]), math.radians(45), 0.0045)
    # Some of the things lie within the tolerance of the floor, and only above it.
    np.testing.assert_allclose(plane, [TILT, 0, -0.82], atol=0.006)
    assert 0.18 < share < 0.25
    assert noise < 0.003


def test_without_points_or_with_few_the_plane_is_assumed() -> None:
    assert fit_table(np.zeros((0, 3)), 0.1, 0.004)[1] == 0
    plane, share, _ = fit_table(np.full((11, 3), -0.5), 0.1, 0.004)
    assert plane.tolist() == [0, 0, -0.5]
    assert share == 0
