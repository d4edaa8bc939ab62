"""The A/B test on served grasps: what counts for which version, its error rates, and that batches change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from shared.registry import asks_candidate
from shared.settings import TrainerSettings
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.promotion.served_ab_test import MIN_FOR_SILENCE, SHARE, ServedAbTest

PAIRS = TrainerSettings.model_fields["max_ab_pairs"].default
CHAMPION, CANDIDATE = 4, 7
KEY = "between trainer and server"


def reported(number: int, version: int, success: bool, shard: int) -> IndexEntry:
    made = ("dense", "dense", version, 0.9, 0, False, False, "grasp", "arm-3", True, f"plan-{number}")
    return IndexEntry(f"arm-3:{number}", f"shard-{shard:06d}", number, success, 0.0, None, *made, shard_number=shard)


def stream(champion: float, candidate: float, seed: int, count: int = 2_000) -> list[IndexEntry]:
    """What robots report while the server gives the candidate its share of the requests; ten outcomes a shard."""
    rng = np.random.default_rng(seed)
    entries = []
    for number in range(1_000_000 * seed, 1_000_000 * seed + count):
        version = CANDIDATE if asks_candidate(f"plan-{number}", SHARE, KEY) else CHAMPION
        success = bool(rng.random() < (candidate if version == CANDIDATE else champion))
        entries.append(reported(number, version, success, shard=2 + number % 1_000_000 // 10))
    return entries


def by_version(entries: list[IndexEntry]) -> dict[int, list[IndexEntry]]:
    return {version: [entry for entry in entries if entry.version == version] for version in (CHAMPION, CANDIDATE)}


def decide(entries: list[IndexEntry], batch: int) -> tuple[bool | None, ServedAbTest]:
    """The verdict on a stream that comes in batches; each look is a test of its own, as after a restart."""
    for end in range(batch, len(entries) + batch, batch):
        test = ServedAbTest("dense", CHAMPION, CANDIDATE, PAIRS, after=1, key=KEY)
        test.learn(by_version(entries[:end]))
        if (found := test.decided()) is not None:
            return found, test
    return None, test


@pytest.mark.parametrize(("champion", "worse", "better"), [(0.55, 0.45, 0.85), (0.8, 0.75, 0.97)])
def test_a_worse_version_is_never_promoted_and_a_much_better_one_always(champion: float, worse: float, better: float) -> None:
    assert [decide(stream(champion, worse, seed), 25)[0] for seed in range(20)] == [False] * 20
    assert [decide(stream(champion, better, seed), 25)[0] for seed in range(20)] == [True] * 20


def test_an_equal_version_is_rarely_promoted() -> None:
    assert sum(decide(stream(0.7, 0.7, seed), 100)[0] is True for seed in range(60)) <= 6


@pytest.mark.parametrize("rates", [(0.5, 0.8), (0.8, 0.5), (0.7, 0.7)])
def test_the_verdict_is_the_same_in_one_batch_and_in_many(rates: tuple[float, float]) -> None:
    entries = stream(*rates, seed=3)
    (found, whole), (again, bit_by_bit) = decide(entries, len(entries)), decide(entries, 1)
    assert found == again is not None
    assert whole.score() == bit_by_bit.score()
    assert whole.score().pairs <= PAIRS


def test_only_what_was_reported_since_by_the_version_that_the_request_should_meet_counts() -> None:
    numbers = {True: [], False: []}  # type: dict[bool, list[int]]
    for number in range(100):
        numbers[asks_candidate(f"plan-{number}", SHARE, KEY)].append(number)
    (theirs, other), (mine, pinned) = numbers[True][:2], numbers[False][:2]
    entries = [
        reported(theirs, CANDIDATE, True, shard=5),
        reported(mine, CHAMPION, False, shard=5),
        reported(other, CHAMPION, True, shard=5),  # a request that pinned the champion
        reported(pinned, CANDIDATE, False, shard=5),  # and one that pinned the candidate
        reported(numbers[True][2], CANDIDATE, True, shard=1),  # before the test
        reported(numbers[False][2], CHAMPION, False, shard=1),
        reported(numbers[False][3], 1, False, shard=5),
    ]
    test = ServedAbTest("dense", CHAMPION, CANDIDATE, PAIRS, after=1, key=KEY)
    test.learn({**by_version(entries), 1: entries[-1:]})
    assert test.successes == {CHAMPION: [False], CANDIDATE: [True]}
    assert test.text().startswith(
        "A/B test on served grasps, version 7 against 4: 1 of at most 400 pairs, won 1, lost 0, needs 13 "
    )
    assert test.record(True)["trial"]["outcomes"] == {"4": 1, "7": 1}
    assert test.until == 5


def test_a_candidate_that_never_answers_is_told() -> None:
    champion = [entry for entry in stream(0.5, 0.5, seed=1) if entry.version == CHAMPION]
    test = ServedAbTest("dense", CHAMPION, CANDIDATE, PAIRS, after=1, key=KEY)
    test.learn({CHAMPION: champion[: MIN_FOR_SILENCE - 1]})
    assert "CANDIDATE_SHARE" not in test.text()
    test.learn({CHAMPION: champion[:MIN_FOR_SILENCE]})
    assert "the candidate answers nothing: is CANDIDATE_SHARE set to 0" in test.text()
