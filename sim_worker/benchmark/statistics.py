"""How results are stated: rates with intervals, paired comparisons, clearing metrics, times. Pure functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

BOOTSTRAP_DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Round:
    """What clearing one scene came to. removed: objects lifted and placed; presented: objects there at the start."""

    attempts: int
    removed: int
    presented: int


def grasp_success_rate(rounds: Sequence[Round]) -> float:
    """GSR: successful grasps over attempts, all rounds together (VGN's definition). 0 without attempts."""
    attempts = sum(r.attempts for r in rounds)
    return sum(r.removed for r in rounds) / attempts if attempts else 0.0


def declutter_rate(rounds: Sequence[Round]) -> float:
    """DR: objects removed over objects presented, all rounds together (VGN's definition). 0 without objects."""
    presented = sum(r.presented for r in rounds)
    return sum(r.removed for r in rounds) / presented if presented else 0.0


def bootstrap(
    rounds: Sequence[Round], figure: Callable[[Sequence[Round]], float], seed: int = 0, draws: int = BOOTSTRAP_DRAWS
) -> Interval:
    """`figure` of the rounds with its percentile interval; whole rounds are redrawn, since attempts within one are related."""
    if len(rounds) < 2:  # nothing to redraw
        return Interval(figure(rounds), figure(rounds), figure(rounds)) if rounds else Interval(0.0, 0.0, 1.0)
    interval = stats.bootstrap(
        (np.arange(len(rounds)),),
        lambda drawn: figure([rounds[i] for i in drawn]),
        vectorized=False,
        n_resamples=draws,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(figure(rounds), float(interval.low), float(interval.high))


@dataclass(frozen=True)
class PairedComparison:
    """Two planners on the same scenes: how often only the first, and only the second, was better, and the exact p-value."""

    first_only: int
    second_only: int
    ties: int
    p_value: float


def sign_test(first: Sequence[float], second: Sequence[float]) -> PairedComparison:
    """Exact two-sided sign test of paired results; for successes and failures this is McNemar's exact test.

    Raises ValueError when the two are not of the same length.
    """
    if len(first) != len(second):
        raise ValueError(f"expected paired results, got {len(first)} and {len(second)}")
    wins = sum(a > b for a, b in zip(first, second, strict=True))
    losses = sum(a < b for a, b in zip(first, second, strict=True))
    decided = wins + losses
    p_value = float(stats.binomtest(wins, decided, 0.5).pvalue) if decided else 1.0
    return PairedComparison(wins, losses, len(first) - decided, p_value)


def mean_picks_per_hour(
    successes: Sequence[bool], plan_seconds: Sequence[float], sense_seconds: float, robot_seconds: float
) -> Interval:
    """MPPH: expected successful picks per hour, success rate times attempts per hour (Mahler et al., Dex-Net 4.0).

    An attempt takes sensing, planning and robot time. The interval is a normal one on the mean over attempts of
    success / attempt time.
    """
    if not successes:
        return Interval(0.0, 0.0, 0.0)
    seconds = sense_seconds + robot_seconds + np.asarray(plan_seconds, dtype=float)
    hourly = 3600 * np.asarray(successes, dtype=float) / seconds
    half = 1.96 * float(hourly.std(ddof=1)) / np.sqrt(len(hourly)) if len(hourly) > 1 else float(hourly.mean())
    mean = float(hourly.mean())
    return Interval(mean, max(mean - half, 0.0), mean + half)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p95, p99 and the largest; empty without values."""
    if not values:
        return {}
    points = np.percentile(np.asarray(values, dtype=float), [50, 90, 95, 99, 100])
    return {name: float(value) for name, value in zip(("p50", "p90", "p95", "p99", "max"), points, strict=True)}


def brier(quality: Sequence[float], success: Sequence[bool]) -> float:
    """Mean squared difference between the quality that was predicted and what came of it; 0 is best."""
    if not quality:
        return 0.0
    return float(np.mean((np.asarray(quality, dtype=float) - np.asarray(success, dtype=float)) ** 2))
