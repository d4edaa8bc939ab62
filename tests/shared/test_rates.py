"""Rates and their intervals."""

from __future__ import annotations

import pytest

from shared.rates import rate_with_interval, wilson


def test_wilson_interval() -> None:
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == pytest.approx(1.0)
    assert rate_with_interval(0, 0)["rate"] == 0.0
