"""The A/B test keeps its error rates, and needs nothing but stored outcomes."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import numpy as np
import pytest

from grasp_client.contract import SceneRef, SceneRequest
from shared.settings import TrainerSettings
from shared.streams.scene_mix import SceneMix
from trainer_job.data.outcome_index import IndexEntry
from trainer_job.promotion.ab_test import ARMS, LOST_SECONDS, LOWER, MAX_ASKED, UPPER, AbTest, Score, verdict
from trainer_job.promotion.evidence import RequestSigner
from trainer_job.promotion.rollback_monitor import LOOKS, is_regression, next_look

SIGNER = RequestSigner(bytes(32))
PAIRS = TrainerSettings.model_fields["max_ab_pairs"].default


def outcome_of(ticket: SceneRequest, success: bool) -> IndexEntry:
    where = {name: getattr(ticket, name) for name in ("seed", "kind", "object_set", "profile", "vary", "nonce")}
    scene = SceneRef(ticket=ticket.id, **where)
    made_by = (ticket.planner, "dense", ticket.model_version)
    return IndexEntry(f"w:{ticket.id}:0", "shard-000001", 0, success, 0.0, scene, *made_by, 0.9, 0, False, False, "grasp")


def decide(champion: float, candidate: float, seed: int, together: float = 0.6) -> tuple[bool, Score]:
    """A whole trial between versions of known success rates. together: share of scenes whose luck both versions share."""
    rng = np.random.default_rng(seed)
    trial = AbTest("dense", 1, 2, PAIRS, SIGNER, seed=seed)
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


def promoted(champion: float, candidate: float, runs: int, together: float = 0.6) -> float:
    """Share of trials, 16 pairs at a time, that end with the candidate promoted; as `decide`, by the verdict alone."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(runs):
        decided, score = None, Score()
        while decided is None:
            luck = rng.random((2, 16))
            luck[1] = np.where(rng.random(16) < together, luck[0], luck[1])
            first, second = luck[0] < champion, luck[1] < candidate
            counts = (16, int((first & second).sum()), int((second & ~first).sum()), int((first & ~second).sum()))
            score = Score(*(before + count for before, count in zip(astuple(score), counts, strict=True)))
            decided = verdict(score, PAIRS)
        found += decided
    return found / runs


@pytest.mark.parametrize("champion", [0.8, 0.88])
def test_a_worse_candidate_is_rejected_and_a_better_one_accepted(champion: float) -> None:
    assert promoted(champion, champion - 0.05, 200) <= 0.05
    assert promoted(champion, champion + 0.05, 200) >= 0.8


def test_an_equal_candidate_is_rarely_promoted() -> None:
    assert promoted(0.85, 0.85, 400) <= 0.1


def test_a_whole_trial_ends_as_its_verdict_says() -> None:
    decided, score = decide(0.8, 0.9, seed=1)
    assert decided
    assert verdict(score, PAIRS)


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
    tickets = AbTest("dense", 3, 7, 10, SIGNER, seed=1).missing(40)
    pairs = list(zip(tickets[::2], tickets[1::2], strict=True))
    assert len(pairs) == 10
    for champion, candidate in pairs:
        assert (champion.seed, champion.kind) == (candidate.seed, candidate.kind)
        assert (champion.model_version, candidate.model_version) == (3, 7)
        assert champion.exploration == candidate.exploration == 0
        assert champion.object_set == "validation"
    assert len({champion.seed for champion, _ in pairs}) == 10


def test_scenes_can_be_of_one_kind_and_of_ones_own_objects() -> None:
    tickets = AbTest("gqcnn-jaw", 1, 2, 10, SIGNER, seed=0, mix=SceneMix("single", "hard"), object_set="folder").missing(20)
    assert {(t.kind, t.object_set, t.profile, t.planner) for t in tickets} == {("single", "folder", "hard", "gqcnn")}


def test_a_restart_goes_on_where_it_was() -> None:
    first = AbTest("dense", 1, 2, 4, SIGNER, seed=0)
    done = [outcome_of(ticket, True) for ticket in first.missing(3)]
    again = AbTest("dense", 1, 2, 4, SIGNER, seed=0)
    again.learn(done)
    assert again.score().pairs == 1
    left = [ticket.id for ticket in again.missing(100)]
    assert len(left) == 5
    assert not set(left) & {record.scene.ticket for record in done if record.scene}


def test_of_a_trial_run_twice_the_first_counts_and_other_trials_do_not() -> None:
    trial = AbTest("dense", 1, 2, 4, SIGNER, seed=0)
    champion, candidate = trial.missing(2)
    other = AbTest("dense", 1, 21, 4, SIGNER, seed=0).scene_request(0, "candidate")
    trial.learn(
        [outcome_of(champion, False), outcome_of(champion, True), outcome_of(other, False), outcome_of(candidate, True)]
    )
    assert trial.score() == Score(pairs=1, both=0, wins=1, losses=0)


def forgeries(trial: AbTest) -> list[IndexEntry]:
    """What somebody may send who knows how trials are named, and who may even have seen the nonce of another one."""
    champion, candidate, other = trial.scene_request(0, "champion"), trial.scene_request(0, "candidate"), AbTest(
        "dense", 1, 2, 4, RequestSigner(bytes(31) + b"1"), seed=0
    ).scene_request(0, "candidate")  # fmt: skip
    right = outcome_of(candidate, True)
    assert right.scene

    def scene(**changes: object) -> IndexEntry:
        assert right.scene
        return replace(right, scene=right.scene.model_copy(update=changes))

    return [
        scene(nonce=None), scene(nonce=""), scene(nonce="0" * 32), scene(nonce="ä" * 32), scene(nonce=other.nonce),
        scene(nonce=champion.nonce), scene(nonce=trial.scene_request(1, "candidate").nonce),
        scene(ticket=trial.scene_request(1, "candidate").id), scene(ticket="judge-dense-2-0-٠"), scene(ticket=None),
        scene(seed=candidate.seed + 1), scene(kind="packed"), scene(profile="clean"), scene(object_set="train"),
        replace(right, version=1), replace(right, model="gqcnn-jaw"), replace(right, scene=None),
        replace(right, rank=1), replace(right, exploration=True),
    ]  # fmt: skip


def test_a_forged_outcome_of_a_trial_changes_nothing() -> None:
    trial = AbTest("dense", 1, 2, 4, SIGNER, seed=0)
    trial.learn([outcome_of(trial.scene_request(0, "champion"), False)])
    for forged in forgeries(trial):
        trial.learn([forged])
        assert trial.score() == Score(), forged
    trial.learn([outcome_of(trial.scene_request(0, "candidate"), True)])
    assert trial.score() == Score(pairs=1, wins=1)


def test_what_is_still_needed_is_told() -> None:
    trial = AbTest("dense", 1, 2, PAIRS, SIGNER, seed=0)
    for pair in range(10):
        trial.learn([outcome_of(trial.scene_request(pair, arm), arm == "candidate" and pair < 8) for arm in ARMS])
    expected = (
        "A/B test in simulation, version 2 against 1: 10 of at most 400 pairs, won 8, lost 0, needs 6 more won to promote"
    )
    assert trial.text() == expected
    assert verdict(Score(20, 6, 14, 0), PAIRS)
    assert verdict(Score(19, 6, 13, 0), PAIRS) is None


def test_a_trial_without_an_answer_is_asked_for_again_and_then_void() -> None:
    now = [0.0]
    trial = AbTest("dense", 1, 2, 1, SIGNER, seed=0, clock=lambda: now[0])
    for _ in range(MAX_ASKED):
        assert len(trial.missing(10)) == 2
        assert trial.missing(10) == []
        assert trial.decided() is None
        now[0] += LOST_SECONDS
    assert trial.missing(10) == []
    assert trial.decided() is False


def test_no_more_than_wanted_are_under_way() -> None:
    trial = AbTest("dense", 1, 2, 100, SIGNER, seed=0)
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
