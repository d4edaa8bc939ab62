"""The A/B test keeps its error rates, and needs nothing but stored outcomes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grasp_client.contract import SceneRef, SceneRequest
from shared.settings import TrainerSettings
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.promotion.ab_test import LOST_SECONDS, LOWER, MAX_ASKED, UPPER, AbTest, Score, verdict
from trainer_job.promotion.rollback_monitor import LOOKS, is_regression, next_look

PAIRS = TrainerSettings.model_fields["max_ab_pairs"].default


def outcome_of(ticket: SceneRequest, success: bool) -> IndexEntry:
    scene = SceneRef(seed=ticket.seed, kind=ticket.kind, ticket=ticket.id)
    made_by = ("dense", "dense", ticket.model_version)
    return IndexEntry(f"w:{ticket.id}:0", "shard-000001", 0, success, 0.0, scene, *made_by, 0.9, 0, False, False, "grasp")


def decide(champion: float, candidate: float, seed: int, together: float = 0.6) -> tuple[bool, Score]:
    """A whole trial between versions of known success rates. together: share of scenes whose luck both versions share."""
    rng = np.random.default_rng(seed)
    trial = AbTest("dense", 1, 2, PAIRS, seed=seed)
    luck: dict[int, tuple[float, float]] = {}
    while (decided := trial.decided()) is None:
        tickets = trial.missing(32)
        assert tickets
        for ticket in tickets:
            if ticket.seed not in luck:
                shared = rng.random()
                luck[ticket.seed] = (shared, shared) if rng.random() < together else (rng.random(), rng.random())
            mine = luck[ticket.seed][ticket.model_version == 2]
            trial.learn([outcome_of(ticket, mine < (candidate if ticket.model_version == 2 else champion))])
    return decided, trial.score()


@pytest.mark.parametrize("champion", [0.8, 0.88])
def test_a_worse_candidate_is_rejected_and_a_better_one_accepted(champion: float) -> None:
    worse = [decide(champion, champion - 0.05, seed)[0] for seed in range(40)]
    better = [decide(champion, champion + 0.05, seed)[0] for seed in range(40)]
    assert sum(worse) <= 2
    assert sum(better) >= 32


def test_an_equal_candidate_is_rarely_promoted() -> None:
    assert sum(decide(0.85, 0.85, seed)[0] for seed in range(100)) <= 10


def test_a_hopeless_candidate_is_found_out_early() -> None:
    decided, score = decide(0.9, 0.4, seed=0)
    assert not decided
    assert score.pairs < 60


def test_the_bounds_are_those_of_wald() -> None:
    assert pytest.approx(math.log(0.9 / 0.05)) == UPPER
    assert pytest.approx(math.log(0.1 / 0.95)) == LOWER
    assert verdict(Score(50, 20, 14, 0), PAIRS) is True
    assert verdict(Score(50, 20, 0, 9), PAIRS) is False
    assert verdict(Score(50, 20, 5, 5), PAIRS) is None
    assert verdict(Score(PAIRS, 380, 12, 5), PAIRS) is False
    assert verdict(Score(PAIRS, 380, 14, 3), PAIRS) is True


def test_both_versions_meet_the_same_scenes_and_nothing_is_explored() -> None:
    tickets = AbTest("dense", 3, 7, 10, seed=1).missing(40)
    pairs = list(zip(tickets[::2], tickets[1::2], strict=True))
    assert len(pairs) == 10
    for champion, candidate in pairs:
        assert (champion.seed, champion.kind) == (candidate.seed, candidate.kind)
        assert (champion.model_version, candidate.model_version) == (3, 7)
        assert champion.exploration == candidate.exploration == 0
        assert champion.object_set == "validation"
    assert len({champion.seed for champion, _ in pairs}) == 10


def test_scenes_can_be_of_one_kind_and_of_ones_own_objects() -> None:
    tickets = AbTest("gqcnn-jaw", 1, 2, 10, seed=0, profile="hard", kind="single", object_set="folder").missing(20)
    assert {(t.kind, t.object_set, t.profile, t.planner) for t in tickets} == {("single", "folder", "hard", "gqcnn")}


def test_a_restart_goes_on_where_it_was() -> None:
    first = AbTest("dense", 1, 2, 4, seed=0)
    done = [outcome_of(ticket, True) for ticket in first.missing(3)]
    again = AbTest("dense", 1, 2, 4, seed=0)
    again.learn(done)
    assert again.score().pairs == 1
    left = [ticket.id for ticket in again.missing(100)]
    assert len(left) == 5
    assert not set(left) & {record.scene.ticket for record in done if record.scene}


def test_of_a_trial_run_twice_the_first_counts_and_other_trials_do_not() -> None:
    trial = AbTest("dense", 1, 2, 4, seed=0)
    champion, candidate = trial.missing(2)
    other = candidate.model_copy(update={"id": candidate.id.replace("dense-2", "dense-21")})
    trial.learn(
        [outcome_of(champion, False), outcome_of(champion, True), outcome_of(other, False), outcome_of(candidate, True)]
    )
    assert trial.score() == Score(pairs=1, both=0, wins=1, losses=0)


def test_a_trial_without_an_answer_is_asked_for_again_and_then_void() -> None:
    now = [0.0]
    trial = AbTest("dense", 1, 2, 1, seed=0, clock=lambda: now[0])
    for _ in range(MAX_ASKED):
        assert len(trial.missing(10)) == 2
        assert trial.missing(10) == []
        assert trial.decided() is None
        now[0] += LOST_SECONDS
    assert trial.missing(10) == []
    assert trial.decided() is False


def test_no_more_than_wanted_are_under_way() -> None:
    trial = AbTest("dense", 1, 2, 100, seed=0)
    assert trial.under_way() == 0
    tickets = trial.missing(8)
    assert len(tickets) == trial.under_way() == 8
    assert trial.missing(8) == []
    trial.learn([outcome_of(ticket, True) for ticket in tickets[:3]])
    assert trial.under_way() == 5
    assert len(trial.missing(8)) == 3


def test_the_guard_sees_a_fall_and_leaves_equals_alone() -> None:
    rng = np.random.default_rng(0)
    before = list(rng.random(400) < 0.9)
    assert next_look(list(rng.random(200) < 0.55), before) is not None
    chance = sum(next_look(list(rng.random(LOOKS[-1]) < 0.9), list(rng.random(1000) < 0.9)) is not None for _ in range(200))
    assert chance <= 10


def test_the_guard_waits_for_evidence() -> None:
    assert next_look([False] * (LOOKS[0] - 1), [True] * 500) is None
    assert next_look([False] * 200, [True] * 10) is None
    assert not is_regression([True] * 50, [True] * 50)
    due = next_look([False] * LOOKS[0], [True] * 100)
    assert due is not None
    assert due["reason"] == "0.0% of 50 attempts against 100.0% of 100 before"
