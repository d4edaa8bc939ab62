"""Success rates, always stated with an interval."""

from __future__ import annotations

import math


def wilson(successes: int, attempts: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a rate (95 % by default); (0, 1) without attempts."""
    if attempts == 0:
        return 0.0, 1.0
    rate, zz = successes / attempts, z * z / attempts
    centre = (rate + zz / 2) / (1 + zz)
    half = z * math.sqrt(rate * (1 - rate) / attempts + zz / (4 * attempts)) / (1 + zz)
    return max(0.0, centre - half), min(1.0, centre + half)


def rate_with_interval(successes: int, attempts: int) -> dict[str, float]:
    """attempts, successes, rate, low, high: how a success rate is always stated. The rate is NaN-free: 0 without attempts."""
    low, high = wilson(successes, attempts)
    rate = successes / attempts if attempts else 0.0
    return {"attempts": attempts, "successes": successes, "rate": rate, "low": low, "high": high}
