"""Success rates and their differences, always stated with an interval."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def wilson(successes: int, attempts: int) -> tuple[float, float]:
    """Wilson score interval of a rate, 95 %; (0, 1) without attempts."""
    if attempts == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # a second to load: not before it is needed

    interval = binomtest(successes, attempts).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def rate_with_interval(successes: int, attempts: int) -> dict[str, float]:
    """attempts, successes, rate, low, high: how a success rate is always stated. The rate is NaN-free: 0 without attempts."""
    low, high = wilson(successes, attempts)
    rate = successes / attempts if attempts else 0.0
    return {"attempts": attempts, "successes": successes, "rate": rate, "low": low, "high": high}


def paired_gain(before: Sequence[bool], after: Sequence[bool]) -> dict[str, float]:
    """points, low, high, n: the mean difference in points of success in the same scenes (two or more), with its 95 % interval
    (normal)."""
    differences = [float(new) - float(old) for old, new in zip(before, after, strict=True)]
    error, mean = 1.96 * stdev(differences) / math.sqrt(len(differences)), fmean(differences)
    points = {"points": mean, "low": mean - error, "high": mean + error}
    return {**{key: round(100 * value, 2) for key, value in points.items()}, "n": len(differences)}
