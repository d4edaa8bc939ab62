"""What the server refuses a worker, as others are told of it."""

from shared.retrying import FIRST_PAUSE, LONGEST_PAUSE
from sim_worker.worker.refusals import Refusals


def test_refusals_end_with_an_answer_or_with_time_and_make_a_worker_wait_longer() -> None:
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    pauses = [refusals.note("dense", "a cup") for _ in range(2)]
    assert refusals.now() == {}, "one may be of a request that is odd"
    pauses += [refusals.note("dense", "a cup") for _ in range(10)]
    assert refusals.now() == {"dense": "a cup"}
    refusals.answered("auto")
    assert refusals.now() == {"dense": "a cup"}
    now[0] = 61.0
    assert refusals.now() == {}, "asked again"
    refusals.note("dense", "a cup")
    assert refusals.now() == {"dense": "a cup"}
    refusals.answered("dense")
    assert refusals.now() == {}
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)
