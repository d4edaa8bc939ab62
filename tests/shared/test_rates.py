"""Rates and their intervals."""

from __future__ import annotations

import math

import pytest

from shared.rates import rate_with_interval, wilson

Z = 1.959963984540054
"""97.5 % of a normal distribution lie below."""


def test_wilson_interval() -> None:
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    for successes, attempts in ((0, 1), (1, 1), (3, 7), (350, 400), (0, 50), (9_000, 10_000)):
        rate, zz = successes / attempts, Z * Z / attempts
        half = Z * math.sqrt(rate * (1 - rate) / attempts + zz / (4 * attempts)) / (1 + zz)
        expected = (rate + zz / 2) / (1 + zz) - half, (rate + zz / 2) / (1 + zz) + half
        assert wilson(successes, attempts) == pytest.approx(expected, abs=1e-9)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == pytest.approx(1.0)
    assert rate_with_interval(0, 0)["rate"] == 0.0
