"""Figures against values known by hand or from the literature."""

import numpy as np
import pytest

from sim_worker.benchmark.statistics import (
    Interval,
    Round,
    bootstrap,
    brier,
    declutter_rate,
    grasp_success_rate,
    mean_picks_per_hour,
    percentiles,
    sign_test,
)


def test_gsr_and_dr_pool_all_rounds():
    rounds = [Round(attempts=5, removed=5, presented=5), Round(attempts=3, removed=1, presented=5)]
    assert grasp_success_rate(rounds) == pytest.approx(6 / 8)
    assert declutter_rate(rounds) == pytest.approx(6 / 10)
    assert grasp_success_rate([]) == declutter_rate([]) == 0.0


def test_the_bootstrap_covers_what_wilson_covers():
    rng = np.random.default_rng(0)
    rounds = [Round(1, int(hit), 1) for hit in rng.random(400) < 0.8]
    interval = bootstrap(rounds, grasp_success_rate)
    assert interval.low < interval.value < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 400), rel=0.15)
    assert bootstrap(rounds, grasp_success_rate) == interval, "seeded"
    drawn = np.random.default_rng(0)
    redrawn = [np.mean([rounds[i].removed for i in drawn.integers(400, size=400)]) for _ in range(2000)]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(redrawn, [2.5, 97.5])), abs=1e-9)
    assert bootstrap([], grasp_success_rate).high == 1
    assert bootstrap([Round(2, 1, 1)], grasp_success_rate) == Interval(0.5, 0.5, 0.5)


def test_related_attempts_widen_the_interval():
    alike = [Round(5, 5, 5) if i % 2 else Round(5, 0, 5) for i in range(40)]
    mixed = [Round(5, 2 + i % 2, 5) for i in range(40)]
    wide, narrow = (bootstrap(rounds, declutter_rate) for rounds in (alike, mixed))
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("wins", "losses", "p_value"), [(14, 2, 0.004181), (14, 3, 0.012726), (8, 2, 0.109375), (0, 0, 1.0)])
def test_the_sign_test_is_exact(wins, losses, p_value):
    first = [1] * wins + [0] * losses + [1] * 5
    second = [0] * wins + [1] * losses + [1] * 5
    result = sign_test(first, second)
    assert (result.first_only, result.second_only, result.ties) == (wins, losses, 5)
    assert result.p_value == pytest.approx(p_value, abs=1e-5)
    assert sign_test(second, first).p_value == result.p_value


def test_unpaired_results_are_refused():
    with pytest.raises(ValueError, match="paired"):
        sign_test([1, 0], [1])


def test_picks_per_hour_are_rate_times_speed():
    interval = mean_picks_per_hour([True, True, False, True], [0.5] * 4, sense_seconds=0.5, robot_seconds=5.0)
    assert interval.value == pytest.approx(0.75 * 3600 / 6)
    assert interval.low < interval.value < interval.high
    assert mean_picks_per_hour([], [], 1, 1).value == 0.0


def test_percentiles_and_brier():
    assert percentiles([]) == {}
    assert percentiles(list(range(101)))["p95"] == pytest.approx(95)
    assert brier([1.0, 0.5], [True, False]) == pytest.approx(0.125)
    assert brier([], []) == 0.0
