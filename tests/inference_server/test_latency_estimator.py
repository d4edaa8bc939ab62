"""What waiting is expected to take, after what it took."""

from __future__ import annotations

import pytest

from inference_server.batching.latency_estimator import CAUTION, REMEMBERED, LatencyEstimator


def after_full_batches(seconds: float = 0.1) -> LatencyEstimator:
    estimator = LatencyEstimator()
    for _ in range(50):
        estimator.note_batch("g", seconds, full=True)
    return estimator


def test_before_anything_is_known_nothing_is_refused() -> None:
    estimator = LatencyEstimator()
    assert estimator.wait("x", 1000, 1000) == 0
    assert estimator.surely_within("x", 1000, 1e-9)
    assert not estimator.batch_limits


def test_jobs_ahead_cost_what_jobs_cost_in_full_batches() -> None:
    estimator = after_full_batches()
    estimator.note_batch("g", 5.0, full=False)
    assert estimator.wait("x", 10, 0) == pytest.approx(10 * 0.1)


def test_a_line_that_moves_slower_than_jobs_cost_is_known_to() -> None:
    """As beside others whose requests come later and are served first."""
    estimator = after_full_batches()
    for _ in range(50):
        estimator.note_wait("flood", 10, 3.0, answered=True)
    assert estimator.wait("flood", 10, 9) == pytest.approx(10 * 0.3)
    assert estimator.wait("other", 10, 9) == pytest.approx(10 * 0.1)


def test_a_client_of_whom_nothing_waits_is_let_in_whatever_was_before() -> None:
    estimator = after_full_batches()
    estimator.note_wait("x", 10, 1e6, answered=True)
    assert estimator.wait("x", 1, 0) == pytest.approx(0.1)


def test_what_waited_in_vain_makes_the_line_no_faster() -> None:
    estimator = LatencyEstimator()
    estimator.note_wait("x", 10, 3.0, answered=True)
    estimator.note_wait("x", 10, 0.1, answered=False)
    assert estimator.wait("x", 0, 9) == pytest.approx(10 * 0.3)
    estimator.note_wait("x", 10, 6.0, answered=False)
    assert estimator.wait("x", 0, 9) == pytest.approx(10 * 0.6)


def test_what_is_surely_in_time_is_never_late() -> None:
    estimator = after_full_batches(0.02)
    for _ in range(9):
        estimator.note_wait("x", 5, 0.6, answered=True)
    for waiting in (1, 5, 20, 100):
        for places in {0, 1, waiting}:
            most = CAUTION * estimator.wait("x", waiting, places)
            assert not estimator.surely_within("x", waiting, most * 0.999)


def test_batches_shrink_to_what_is_affordable() -> None:
    estimator = LatencyEstimator()
    for _ in range(50):
        estimator.note_batch("slow", 0.03, full=True)
        estimator.note_batch("quick", 0.001, full=True)
        estimator.note_batch("endless", 7.0, full=True)
    assert [estimator.batch_limits[group] for group in ("slow", "quick", "endless")] == [3, 100, 1]


def test_only_so_much_is_remembered() -> None:
    estimator = LatencyEstimator()
    for number in range(REMEMBERED + 5):
        estimator.note_wait(str(number), 2, 1.0, answered=True)
        estimator.note_batch(number, 1.0, full=True)
    assert estimator.batch_limits == dict.fromkeys(range(5, REMEMBERED + 5), 1)
    assert len(estimator._paces) == len(estimator._costs) == REMEMBERED
